"""A language model as a game of smaller models that are repaired before they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int

from decoder.data.workload import Metric, Workload
from decoder.errors import RepairError
from decoder.evaluate.evaluator import MaskedModel
from decoder.evaluate.worker import MeasureOptions
from decoder.model.loading import ModelSpec, load_model
from decoder.model.structure import find_stack
from decoder.players import Roster, make_roster
from decoder.recovery.quick import QuickRepair
from decoder.surgery.plan import plan_edits
from decoder.surgery.weights import changed
from sampling.coalitions import lexicographic_order

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["REPAIRED_VERSION", "RepairedModel", "build_repaired"]

REPAIRED_VERSION = 1
"""Goes up when measured numbers may change: old and new measurements are never mixed."""


class RepairedModel:
    """A causal language model as a game: players go, what is left is fitted, then it is measured.

    Args:
        model: the original, in evaluation mode on its device; it is left as it is.
        workload: what to measure on.
        fitted_ST: the text that weights are fitted on, none of what is measured on.
        roster: who plays; every layer when omitted.
        memory: most GiB to use in all; by what is free when omitted.

    Attributes:
        players: names in depth order.
        metrics: what is measured, in order.
        failed: sets so far that could not be repaired.

    Raises:
        ModelError: as of `decoder.evaluate.evaluator.MaskedModel`.
        RepairError: the text is too short or the memory too small to fit a projection.
        TextError: a text is not the model's.
        UnsupportedModel: its layers or their halves cannot be told.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        workload: Workload,
        fitted_ST: Int[np.ndarray, "S T"],
        *,
        roster: Roster | None = None,
        memory: float | None = None,
    ) -> None:
        self._model = model
        self._quick = QuickRepair(model, fitted_ST, memory=memory)
        self._plain = MaskedModel(model, workload, roster=roster, memory=memory)
        self._parameters = dict(model.named_parameters(remove_duplicate=False))
        self.players = self._plain.players
        self.metrics: tuple[Metric, ...] = workload.metrics
        self.failed = 0
        middle = np.ones(len(self.players), dtype=bool)
        middle[len(middle) // 2] = False
        self._measure(middle)  # what no set can be repaired for is said at once

    def measure(
        self, coalitions: Bool[np.ndarray, "B n"]
    ) -> Mapping[str, Float32[np.ndarray, "B W"]]:
        """Metrics of each repaired smaller model, one number a sequence or a task's item.

        Args:
            coalitions: rows of kept players (True = kept), in any order.

        Returns:
            as of `decoder.evaluate.evaluator.MaskedModel.measure`, divergence and agreement against
            the whole model; NaN in all metrics of a set that cannot be repaired.
        """
        found: dict[int, Mapping[str, Float32[np.ndarray, "1 W"]]] = {}
        for row in lexicographic_order(coalitions).tolist():
            try:
                found[row] = self._measure(coalitions[row])
            except RepairError:
                self.failed += 1
                found[row] = {
                    metric.name: np.full((1, len(metric.weights)), np.nan, np.float32)
                    for metric in self.metrics
                }
        return {
            metric.name: np.concatenate([found[row][metric.name] for row in range(len(found))])
            for metric in self.metrics
        }

    def _measure(self, row: Bool[np.ndarray, "n"]) -> Mapping[str, Float32[np.ndarray, "1 W"]]:
        removed = np.flatnonzero(~row).tolist()
        if not removed:
            return self._plain.measure(row[None])
        edits = plan_edits(self._plain.roster, removed, lambda: self._model).edits
        patches = self._quick.repair(edits).patches
        with changed(
            (self._parameters[name], partial(_like, value, self._parameters[name]))
            for name, value in patches.items()
        ):
            return self._plain.measure(row[None])


def build_repaired(
    spec: ModelSpec,
    workload: Workload,
    fitted_ST: Int[np.ndarray, "S T"],
    options: MeasureOptions | None = None,
) -> RepairedModel:
    """Load a model and make it measurable with what is left repaired.

    Args:
        spec: which model, in which type and on which device.
        workload: what to score.
        fitted_ST: the text that weights are fitted on.
        options: players and memory; the defaults when omitted.

    Raises:
        ModelError: it cannot be loaded.
        RepairError: as of `RepairedModel`.
        TextError: a text does not fit the model.
    """
    options = options or MeasureOptions()
    model = load_model(spec)
    roster = make_roster(options.players, len(find_stack(model)), options.protect)
    return RepairedModel(model, workload, fitted_ST, roster=roster, memory=options.memory)


def _like(value: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
    return value.to(device=parameter.device, dtype=parameter.dtype)
