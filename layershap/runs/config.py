"""The one typed configuration behind `run.toml` and the command line's flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from layershap.demo import MODEL_DIRECTORY
from layershap.errors import UserError
from layershap.results.set_text import parse_counts
from layershap.runs.config_tables import (
    ClusterConfig,
    MeasureConfig,
    ModelConfig,
    RepairConfig,
    SearchConfig,
    Setting,
    TextConfig,
    ValuesConfig,
    VerifyConfig,
)

__all__ = ["SETTINGS", "Option", "RunConfig", "nested"]


class RunConfig(BaseModel):
    """Everything that decides a run, in the tables of `run.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelConfig = ModelConfig()
    text: TextConfig = TextConfig()
    measure: MeasureConfig = MeasureConfig()
    values: ValuesConfig = ValuesConfig()
    search: SearchConfig = SearchConfig()
    verify: VerifyConfig = VerifyConfig()
    repair: RepairConfig = RepairConfig()
    cluster: ClusterConfig = ClusterConfig()

    @classmethod
    def of(cls, **settings: Any) -> RunConfig:
        """Build a configuration from settings by the names of their options.

        Args:
            settings: by option, dashes as underscores: ``model="gpt2", budget=400``.

        Raises:
            KeyError: a setting is unknown.
            pydantic.ValidationError: a value is wrong.
        """
        return cls.model_validate(nested(settings))

    def settings(self) -> dict[str, Any]:
        """Return every value by the name of its option."""
        return {name: getattr(getattr(self, o.section), o.field) for name, o in SETTINGS.items()}

    def changed(self, **settings: Any) -> RunConfig:
        """Return a configuration with other values, by the names of their options."""
        return RunConfig.of(**{**self.settings(), **settings})

    @property
    def model_name(self) -> str:
        """Directory or hub id of the model."""
        return self.model.name or str(MODEL_DIRECTORY)

    @property
    def utilities(self) -> tuple[str, ...]:
        """What is measured; the first decides."""
        return self.measure.utility or ("nll",)

    @property
    def noun(self) -> str:
        """What a player is called."""
        return "layer" if self.measure.players == "layers" else "player"

    @property
    def title(self) -> str:
        """What a person calls the model."""
        return (
            "layershap demo"
            if self.model.name is None
            else self.model.name.rstrip("/").split("/")[-1]
        )

    def default_output(self) -> Path:
        """`runs/<name>` for this model."""
        name = "demo" if self.model.name is None else re.sub(r"[^\w.-]+", "-", self.title)
        return Path("runs") / name

    def counts(self, n: int) -> list[int]:
        """Numbers of removed players asked for.

        Raises:
            UserError: a count is not a number, or leaves no player.
        """
        if self.search.count is None:
            if self.measure.players == "sublayers" and not self.search.zero_halves and n >= 2:
                return list(range(2, max(2, n // 3) + 1, 2))
            return list(range(1, max(1, n // 3) + 1))
        try:
            counts = parse_counts(self.search.count)
        except ValueError:
            raise UserError(
                f"--count {self.search.count}: not a list of counts; write 3, 1-4 or 2,4,8"
            ) from None
        if not counts or counts[0] < 1 or counts[-1] >= n:
            raise UserError(
                f"--count {self.search.count}: there are {n} {self.noun}s; remove 1 to {n - 1}"
            )
        return counts

    def at_most(self, n: int) -> int | None:
        """Most removed players of the values that are shown; None for the Shapley values.

        Raises:
            UserError: there are not so many players.
        """
        most = self.values.at_most
        if most is not None and most > n:
            raise UserError(f"--at-most {most}: there are {n} {self.noun}s; give 1 to {n}")
        return most

    def evaluations(self, n: int) -> int:
        """Distinct coalitions that the design and the search may measure together.

        Raises:
            UserError: the budget cannot hold the coalitions that every run needs.
        """
        everything = 2**n
        budget = self.measure.budget if self.measure.budget is not None else 40 * n
        least = min(everything, 2 * n + 4)
        if budget < least:
            raise UserError(
                f"--budget {budget}: {n} {self.noun}s need at least {least} evaluations"
            )
        return min(budget, everything)

    def repaired_evaluations(self, n: int) -> int:
        """Distinct sets that the search may measure repaired; 0 where none is repaired."""
        if not self.repair.enabled or self.search.rounds == 0:
            return 0
        if self.repair.budget is not None:
            return self.repair.budget
        return max(self.evaluations(n) // 8, 4 * len(self.counts(n)))


@dataclass(frozen=True)
class Option:
    """Where a setting is: its table, its field there, and what is known of the field."""

    section: str
    field: str
    info: FieldInfo

    @property
    def metavar(self) -> str:
        """The unit that the command line shows."""
        return self._setting.metavar

    @property
    def sizes(self) -> bool:
        """Whether a number may be written as 6B or 500M."""
        return self._setting.sizes

    @property
    def _setting(self) -> Setting:
        return next(m for m in self.info.metadata if isinstance(m, Setting))


_RENAMED = {
    ("model", "name"): "model",
    ("repair", "enabled"): "repair",
    ("repair", "method"): "repair_method",
    ("repair", "tokens"): "repair_tokens",
    ("repair", "budget"): "repair_budget",
}


def _options() -> dict[str, Option]:
    sections = {name: info.annotation for name, info in RunConfig.model_fields.items()}
    return {
        _RENAMED.get((section, field), field): Option(section, field, info)
        for section, table in sections.items()
        if isinstance(table, type) and issubclass(table, BaseModel)
        for field, info in table.model_fields.items()
    }


SETTINGS = _options()
"""Every setting, by the name of its option."""


def nested(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Sort settings by the names of their options into the tables of the configuration.

    Raises:
        KeyError: a setting is unknown.
    """
    tables: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        option = SETTINGS[name]
        tables.setdefault(option.section, {})[option.field] = value
    return tables
