"""The README is short and begins with what can be typed; the packages are what it says."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_two_screens_with_the_two_commands_first():
    assert len(README.splitlines()) <= 120
    first = re.search(r"^```sh\n(.*?)^```", README, flags=re.S | re.M)
    assert first
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == [
        "make run",
        "make test",
    ]


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_all_public_names_exist():
    import importlib

    for room in ("decoder", "cluster", "surrogate", "shapley", "sampling"):
        module = importlib.import_module(room)
        assert sorted(set(module.__all__)) == sorted(module.__all__)
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_packages_come_from_one_place():
    from layershap.status.doctor import package_homes

    assert len(package_homes()) == 1
