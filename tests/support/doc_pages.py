"""The pages of the documentation and what stands in them as code; for tests."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["BESIDE", "PAGES", "ROOMS", "ROOT", "spoken", "without_blocks"]

ROOT = Path(__file__).parents[2]
ROOMS = ("layershap", "decoder", "cluster", "surrogate", "shapley", "sampling")
PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if not page.is_relative_to(ROOT / "docs/_build")
)
BESIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "cluster/examples/README.md")]


def without_blocks(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def spoken(page: Path) -> list[str]:
    """Return what a page writes as code within its sentences."""
    return re.findall(r"`([^`\n]+)`", without_blocks(page))
