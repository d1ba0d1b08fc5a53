"""The run directory: where each stage puts what the next one needs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.config_file import to_toml

__all__ = ["RunDirectory", "write_whole"]


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / "run.toml"

    @property
    def ledger(self) -> Path:
        """Every measured coalition."""
        return self.path / "ledger.sqlite"

    @property
    def design(self) -> Path:
        """The coalitions that were chosen for measuring, round by round."""
        return self.path / "design.json"

    @property
    def surrogate(self) -> Path:
        """Weights and scores of the surrogate."""
        return self.path / "surrogate"

    @property
    def values(self) -> Path:
        """Shapley values and interactions."""
        return self.path / "values.json"

    @property
    def candidates(self) -> Path:
        """The sets that the search settled on, and the baselines' sets."""
        return self.path / "candidates.json"

    @property
    def baselines(self) -> Path:
        """The sets of published methods."""
        return self.path / "baselines.json"

    @property
    def recommendations(self) -> Path:
        """Verified sets."""
        return self.path / "recommendations.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    def create(self) -> None:
        """Make the directory.

        Raises:
            UserError: it cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--output {self.path}: cannot be made ({error.strerror}); name another directory"
            ) from None
        if not os.access(self.path, os.W_OK):
            raise UserError(f"--output {self.path}: not writable; name another directory")

    def write_config(self, config: RunConfig) -> None:
        """Write `run.toml`."""
        write_whole(self.config, to_toml(config))

    def write_json(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write one of the JSON files; numbers that are not finite become null."""
        write_whole(path, json.dumps(_finite(content), indent=2) + "\n")

    def read_json(self, path: Path, stage: str) -> dict[str, Any]:
        """Read a stage's JSON file.

        Raises:
            UserError: the stage has not been run, or the file is damaged.
        """
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{path}: not there yet; run layershap {stage} {self.path} first"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: damaged ({error}); run layershap {stage} {self.path} again"
            ) from None


def write_whole(path: Path, text: str) -> None:
    """Write a file so that readers see the old or the new one, never a part."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
