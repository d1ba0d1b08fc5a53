"""A run directory as a Python object: its frames, its surrogate, its real model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layershap.api.answers import answers_frame
from layershap.api.asking import load_surrogate, measure_sets, predict_sets
from layershap.api.exporting import SmallerModels
from layershap.api.ledger import RunLedger, Text
from layershap.api.sets import Sets, read_sets
from layershap.errors import UserError
from layershap.results.recommendations import RECOMMENDATIONS, Recommendations
from layershap.results.values import VALUES, Values
from layershap.runs.command_line import run_command
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.utilities import parse_utilities

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType
    from transformers import PreTrainedModel

    from decoder.surgery.export import Export
    from layershap.api.notebook import Card
    from layershap.results.repairs import KeptRepair
    from layershap.status.run_status import RunStatus
    from surrogate import SurrogateRegressor

__all__ = ["OpenedRun"]


@dataclass(frozen=True, eq=False, repr=False)
class OpenedRun:
    """What a run has found so far; get it from :func:`layershap.open`.

    Frames are read anew each time, so they follow a run that goes on. What a stage has not written
    yet raises a `UserError` that names the command to run.

    Attributes:
        directory: paths of the run.
        config: its configuration.
    """

    directory: RunDirectory
    config: RunConfig

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    @property
    def players(self) -> tuple[str, ...]:
        """Names of the players in depth order."""
        return self._ledger.players

    @property
    def unit(self) -> str:
        """What the utility and the predictions are counted in; values may be shares."""
        return parse_utilities(self.config.utilities)[0].unit

    @property
    def values(self) -> pd.DataFrame:
        """Shapley values with standard errors and 95 % intervals, one row a player.

        They are shares of the whole model's quality, 0.021 for 2.1 %, unless the run was asked for
        the raw loss; `attrs["value_of"]` says which. The columns are those of
        :func:`layershap.api.frames.values_frame`.
        """
        from layershap.api.frames import values_frame

        return values_frame(self._read_values())

    @property
    def interactions(self) -> pd.DataFrame:
        """Pairwise Shapley interactions, players by players; see also `pairs`."""
        from layershap.api.frames import interactions_frame

        return interactions_frame(self._read_values())

    @property
    def pairs(self) -> pd.DataFrame:
        """Every pair of players once, the strongest interaction first."""
        from layershap.api.frames import pairs_frame

        return pairs_frame(self._read_values())

    @property
    def recommendations(self) -> pd.DataFrame:
        """The best verified set for each number of players removed, measured on held-out text.

        The columns are those of :func:`layershap.api.frames.recommendations_frame`.
        """
        from layershap.api.frames import recommendations_frame

        return recommendations_frame(self._read_recommendations())

    @property
    def baselines(self) -> pd.DataFrame:
        """What published methods remove, measured on the same held-out text."""
        from layershap.api.frames import baselines_frame

        return baselines_frame(self._read_recommendations())

    @cached_property
    def surrogate(self) -> SurrogateRegressor:
        """The fitted surrogate: `predict` of boolean coalitions gives utilities, higher is better.

        It stays as it was when first asked for; open the run again after another fit.

        Raises:
            UserError: nothing was fitted yet.
        """
        return load_surrogate(self.directory)

    @property
    def command(self) -> str:
        """The `layershap run` command that made the run, and that goes on with it."""
        return run_command(self.config, self.path)

    @property
    def status(self) -> RunStatus:
        """Where the run stands, what `layershap status` prints; printed, it says it in a sentence.

        Raises:
            UserError: nothing was measured yet.
        """
        self._ledger.check()
        from layershap.status.run_status import standing

        return standing(self.directory)

    def predict(self, remove: Any = None, *, keep: Any = None, level: float = 0.95) -> Any:
        """Predict what the model measures without any set of players, on the calibration text.

        Args:
            remove: one set (``[4, 6]``, ``"4,6"``, ``["L4.attn"]``), or a list of sets
                (``[[4], [4, 6]]``). Numbers are layers, as on the command line.
            keep: what stays instead; also boolean coalitions ``[n]`` or ``[B, n]``, True = kept,
                which is the quickest way to ask for very many.
            level: of the prediction interval, 0.5 to 0.999.

        Returns:
            A `Prediction`; for many sets a frame with its attributes as columns.

        Raises:
            UserError: the set names no players, the level is out of range, or nothing was fitted.
        """
        if not isinstance(level, int | float) or not 0.5 <= level <= 0.999:
            raise UserError(f"level {level}: must be a number from 0.5 to 0.999, as 0.95")
        sets = self._sets(remove, keep)
        answers = predict_sets(self._ledger, self.surrogate, sets.rows, level)
        return answers_frame(answers) if sets.many else answers[0]

    def measure(
        self,
        remove: Any = None,
        *,
        keep: Any = None,
        text: Text = "calibration",
        progress: bool = True,
    ) -> Any:
        """Measure sets on the real model; what the ledger has already is not measured again.

        Args:
            remove: one set or a list of sets, as `predict` takes them.
            keep: what stays instead.
            text: the calibration text, or the held-out text that the search never saw.
            progress: whether to show progress on standard error.

        Returns:
            A `Measurement`; for many sets a frame with its attributes as columns.

        Raises:
            UserError: the set names no players, or the text is unknown.
            cluster.LedgerLocked: another process is measuring in this directory.
        """
        if text not in ("calibration", "heldout"):
            raise UserError(f"text {text}: unknown; choose calibration or heldout")
        sets = self._sets(remove, keep)
        answers = measure_sets(self._ledger, sets.rows, text, progress=progress)
        return answers_frame(answers) if sets.many else answers[0]

    def repair(
        self,
        remove: Any,
        *,
        method: str = "auto",
        text: str | os.PathLike[str] | None = None,
        tokens: int = 16_384,
        module: bool = False,
        progress: bool = True,
    ) -> KeptRepair:
        """Fit the weights that stay without some players to the whole model, as layershap repair.

        What was fitted is kept in the run directory, where `export` and `load` find it.

        Args:
            remove: one set, as `predict` takes it.
            method: "auto" compares all methods that a stock checkpoint can hold, "fast" two cheap
                ones; a name fits one.
            text: file to fit on; the run's calibration text when omitted.
            tokens: at most so many of it.
            module: compare the methods too whose matrices no stock checkpoint can hold.
            progress: whether to show progress on standard error.

        Returns:
            What was found: `cost` and `deleted` are nats per token above the whole model with and
            without it, on the held-out text, and `cost.gain` is the paired difference.

        Raises:
            UserError: the set names no players or all of them, or the text will not do.
            RepairError: no method can be fitted, or not the one that was asked for.
        """
        source = None if text is None else os.fspath(text)
        models = SmallerModels(self.directory, self.config, progress=progress)
        return models.repair(self._one(remove), method, source, tokens, module)

    def export(
        self,
        remove: Any,
        *,
        to: str | os.PathLike[str],
        repair: bool | str | None = None,
        module: bool = False,
        progress: bool = True,
    ) -> Export:
        """Write the model without some players as a stock Hugging Face checkpoint.

        The checkpoint is loaded again and compared with what was measured before it gets its name.

        Args:
            remove: one set, as `predict` takes it.
            to: directory to make; must be new or empty.
            repair: True writes the weights of the newest repair of the set, which is fitted first
                where there is none; a method's name those of that method.
            module: with `repair`, write one with matrices at the cuts: `layershap.load` puts them
                there, and stock loaders get the model without them.
            progress: whether to show progress on standard error.

        Returns:
            What was written and how well it agrees.

        Raises:
            UserError: the set names no players, or all of them, or the repair is unknown.
            ModelError: the directory is taken, or the checkpoint does not agree.
        """
        models = SmallerModels(self.directory, self.config, progress=progress)
        return models.export(self._one(remove), Path(to), repair, module)

    def load(
        self,
        remove: Any,
        *,
        repair: bool | str | None = None,
        module: bool = False,
        progress: bool = True,
    ) -> PreTrainedModel:
        """Load the model without some players: what `export` writes, from a temporary directory.

        Args:
            remove: one set, as `predict` takes it.
            repair: as for `export`.
            module: as for `export`.
            progress: whether to show progress on standard error.

        Returns:
            The smaller model, in the run's precision and on its device.

        Raises:
            UserError: the set names no players, or all of them, or the repair is unknown.
            ModelError: the disk is too small, or the checkpoint does not agree.
        """
        models = SmallerModels(self.directory, self.config, progress=progress)
        return models.load(self._one(remove), repair, module)

    def plot_values(self, ax: Any = None) -> Any:
        """Draw the values with their intervals, a bar a player; needs `layershap[plots]`.

        Args:
            ax: matplotlib axes to draw into; a new figure when omitted.

        Returns:
            The matplotlib figure.
        """
        from layershap.api.plots import values_figure

        return values_figure(self.values, self.config.noun, ax)

    def plot_frontier(self, ax: Any = None) -> Any:
        """Draw what removing costs on held-out text, beside published methods' sets.

        Args:
            ax: matplotlib axes to draw into; a new figure when omitted.

        Returns:
            The matplotlib figure; needs `layershap[plots]`.
        """
        from layershap.api.plots import frontier_figure

        return frontier_figure(self.recommendations, self.baselines, self.config.noun, ax)

    def __repr__(self) -> str:
        return f"layershap.open({str(self.path)!r})  # {self.config.title}"

    def __rich__(self) -> RenderableType:
        return self._card().rich()

    def _repr_html_(self) -> str:
        return self._card().html()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What IPython shows: HTML in notebooks, text in terminals."""
        return self._card().bundle(include, exclude)

    def _card(self) -> Card:
        from layershap.api.notebook import run_card

        return run_card(self.directory, self.config)

    @cached_property
    def _ledger(self) -> RunLedger:
        return RunLedger(self.directory, self.config)

    def _sets(self, remove: Any, keep: Any) -> Sets:
        return read_sets(self.players, lambda text: self._ledger.roster.find(text), remove, keep)

    def _one(self, remove: Any) -> list[int]:
        """The players of one set that is to go."""
        sets = self._sets(remove, None)
        if sets.many:
            raise UserError("remove: a smaller model is of one set; give one, as [4, 6]")
        return np.flatnonzero(~sets.rows[0]).tolist()

    def _read_values(self) -> Values:
        return VALUES.read(self.path)

    def _read_recommendations(self) -> Recommendations:
        return RECOMMENDATIONS.read(self.path)
