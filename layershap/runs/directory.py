"""The run directory: where each stage puts what the next one needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from layershap.errors import UserError
from layershap.files import write_whole
from layershap.results.baseline_sets import BASELINE_SETS
from layershap.results.candidates import CANDIDATES
from layershap.results.design import DESIGN
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.values import VALUES
from layershap.runs.config import RunConfig
from layershap.runs.config_file import to_toml
from layershap.trust import Wish

__all__ = ["RunDirectory"]


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
        return DESIGN.path(self.path)

    @property
    def surrogate(self) -> Path:
        """Weights and scores of the surrogate."""
        return self.path / "surrogate"

    @property
    def values(self) -> Path:
        """Shapley values and interactions."""
        return VALUES.path(self.path)

    @property
    def candidates(self) -> Path:
        """The sets that the search settled on, and the baselines' sets."""
        return CANDIDATES.path(self.path)

    @property
    def baselines(self) -> Path:
        """The sets of published methods."""
        return BASELINE_SETS.path(self.path)

    @property
    def recommendations(self) -> Path:
        """Verified sets."""
        return RECOMMENDATIONS.path(self.path)

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    def wish(self, config: RunConfig) -> Wish:
        """What a run of this directory wants that must have been typed here."""
        model = config.model
        return Wish(
            self.path,
            config.model_name,
            (model.revision, model.tokenizer),
            model.trust_remote_code,
            config.cluster.address,
        )

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
