"""A language model as a game: many coalitions of its layers measured in one call."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int

from decoder.data.text import TokenText
from decoder.data.workload import TEXT_METRICS, Metric, Workload
from decoder.errors import ModelError
from decoder.evaluate.memory import default_bound, is_out_of_memory
from decoder.evaluate.preparation import EvaluationContext, PreparedBatch
from decoder.evaluate.steps import LayerSource, Node, Steps, joined
from decoder.evaluate.walk import Kept, kept_lists, sweep, walk
from decoder.evaluate.walk_plan import GIB, WalkChoice, make_plan, shrunk
from decoder.model.structure import find_stack
from decoder.players import Roster, make_roster

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["EVALUATOR_VERSION", "MaskedModel"]

Result = TypeVar("Result")

EVALUATOR_VERSION = 2
"""Goes up when measured numbers may change: old and new measurements are never mixed."""


class MaskedModel:
    """A causal language model whose layers can be left out; skipped parts are really skipped.

    Args:
        model: the model, in evaluation mode on its device.
        workload: what to measure on; token ids Int[S, T] stand for all their next tokens.
        roster: who plays; every layer when omitted.
        walk: "depth", "breadth" or "auto" (see `decoder.evaluate.walk_plan`).
        micro_batch: tokens that go through a layer at once; default by device.
        memory: most GiB to use in all: of resident memory on a CPU, of allocations on a GPU;
            default by what is free.
        source: brings layers in one at a time, for a model that does not fit.
        compiled: run layers through `torch.compile`.

    Attributes:
        roster: who plays.
        players: their names, in depth order.
        metrics: what is measured, in order.
        plan: how the model is walked.
        layer_evaluations: steps run so far, one a distinct prefix and batch of rows.
        recoveries: times that memory ran out and the plan was halved.

    Raises:
        ModelError: the dense model's own numbers are not finite, or too little memory.
        TextError: sequences longer than the model's context, or ids outside its vocabulary.
        UnsupportedModel: its layers cannot be found, or calling them does not give its results.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        workload: Workload | Int[np.ndarray, "S T"],
        *,
        roster: Roster | None = None,
        walk: WalkChoice = "auto",
        micro_batch: int | None = None,
        memory: float | None = None,
        source: LayerSource | None = None,
        compiled: bool = False,
    ) -> None:
        if not isinstance(workload, Workload):
            workload = Workload(TokenText(np.asarray(workload), "tokens"))
        self.model = model
        self.stack = find_stack(model)
        self.roster = roster or make_roster("layers", len(self.stack))
        self.players = self.roster.names
        self.workload = workload
        self.metrics: tuple[Metric, ...] = workload.metrics
        self.layer_evaluations = 0
        self.recoveries = 0
        self._steps = Steps(self.roster, source, compiled)
        self._bound = default_bound(model.device) if memory is None else int(memory * GIB)
        with torch.inference_mode():
            self._preparation = EvaluationContext(
                model, self.stack, workload, self._steps, self._bound
            )
            self.plan = make_plan(
                self._preparation.needs,
                self._bound,
                model.device.type,
                walk=walk,
                micro_batch=micro_batch,
            )
            self._batches: list[PreparedBatch] = []
            self._survive(self._prepare)

    @property
    def batches(self) -> int:
        """Batches of rows; each is walked on its own."""
        return len(self._batches)

    def measure(
        self, coalitions: Bool[np.ndarray, "B n"]
    ) -> Mapping[str, Float32[np.ndarray, "B W"]]:
        """Metrics of each coalition, one number a sequence or a task's item.

        Args:
            coalitions: rows of kept players (True = kept), in any order.

        Returns:
            by metric: "nll" and "kl" (to the dense model), means over a sequence's scored tokens
            in nats per token, and "top1", the share of them whose most likely next token is the
            dense model's; of each task "acc" and "acc_norm" (0 or 1) and "margin" (nats).
            float32, NaN where the model's numbers overflow.

        Raises:
            ValueError: the coalitions are not boolean rows of one column a player.
            ModelError: memory runs out however little is done at once.
        """
        sums, rows = self._sums(coalitions)
        return {name: values[rows] for name, values in self._finish(sums).items()}

    def log_likelihoods(
        self, coalitions: Bool[np.ndarray, "B n"]
    ) -> dict[str, Float64[np.ndarray, "B R"]]:
        """Log-likelihood of every choice of every task, in nats, one row a coalition."""
        sums, rows = self._sums(coalitions)
        return {
            task.name: -sums[section + 1][0][rows]
            for section, task in enumerate(self.workload.tasks)
        }

    def _sums(
        self, coalitions: Bool[np.ndarray, "B n"]
    ) -> tuple[list[Float64[np.ndarray, "K C R"]], Int[np.ndarray, "B"]]:
        """Sums over scored places of the distinct coalitions, and which of them each row is."""
        lists = kept_lists(self.roster.slots_kept(coalitions))
        distinct = sorted(set(lists))
        place = {kept: row for row, kept in enumerate(distinct)}
        with torch.inference_mode():
            sums = self._survive(partial(self._run, distinct))
        return sums, np.array([place[kept] for kept in lists], dtype=np.int64)

    def _run(self, lists: Sequence[Kept]) -> list[Float64[np.ndarray, "K C R"]]:
        """Sums over scored places, for the text and for each task, of sorted kept lists."""
        sums = self._preparation.empty_sums(len(lists))
        if self.plan.breadth:
            self._breadth(lists, sums)
        else:
            self._depth(lists, sums)
        return sums

    def _depth(self, lists: Sequence[Kept], sums: list[np.ndarray]) -> None:
        for batch in self._batches:
            calls = batch.calls(1)

            def step(number: int, node: Node, calls: Sequence = calls) -> Node:
                self.layer_evaluations += 1
                for unit in self.roster.slots[number].units:
                    node = self._steps.run(unit, calls, node)
                return node

            scores = [batch.head(node.state[0]) for node in walk(lists, batch.start, step)]
            if scores:
                batch.store(sums, slice(0, len(lists)), torch.cat(scores, dim=1))

    def _breadth(self, lists: Sequence[Kept], sums: list[np.ndarray]) -> None:
        start = tuple(batch.start for batch in self._batches)
        carried: dict[Kept, tuple[Node, ...]] = {}
        for first in range(0, len(lists), self.plan.chunk):
            chunk = lists[first : first + self.plan.chunk]
            states, carried = sweep(
                chunk,
                len(self.roster.slots),
                start,
                self._step_all,
                carried,
                carry=self.plan.carry,
            )
            for number, batch in enumerate(self._batches):
                for low in range(0, len(states), self.plan.stack):
                    group = [s[number].state[0] for s in states[low : low + self.plan.stack]]
                    rows = slice(first + low, first + low + len(group))
                    batch.store(sums, rows, batch.head(joined(group)))

    def _step_all(self, number: int, before: deque[tuple[Node, ...]]) -> list[tuple[Node, ...]]:
        """One step of every prefix of a chunk, its layers brought in once."""
        self.layer_evaluations += len(before) * len(self._batches)
        for unit in self.roster.slots[number].units:
            after: list[tuple[Node, ...]] = []
            with self._steps.brought_in(unit.layer):
                while before:
                    size = _power(min(self.plan.stack, len(before)), self.plan.stack)
                    group = [before.popleft() for _ in range(size)]
                    columns = [
                        batch.step(self._steps, unit, [nodes[place] for nodes in group])
                        for place, batch in enumerate(self._batches)
                    ]
                    after.extend(zip(*columns, strict=True))
            before.extend(after)
        return list(before)

    def _finish(self, sums: Sequence[np.ndarray]) -> dict[str, Float32[np.ndarray, "C W"]]:
        found: dict[str, Float32[np.ndarray, "C W"]] = {}
        if self.workload.text is not None:
            counts = np.array([len(places) for places in self.workload.scored_places()])
            means = (sums[0] / counts).astype(np.float32)
            found |= dict(zip(TEXT_METRICS, means, strict=True))
        for task, total in zip(self.workload.tasks, sums[1:], strict=True):
            found |= task.score(-total[0])
        return found

    def _prepare(self) -> None:
        self._batches = []
        self._batches = self._preparation.batches(self.plan.tokens_a_batch)

    def _survive(self, work: Callable[[], Result]) -> Result:
        """Do it again with half the memory for as long as allocations fail."""
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                smaller = shrunk(self.plan, self.workload.longest)
            if smaller is None:
                raise ModelError(
                    f"model type {self.model.config.model_type}: memory ran out with a single row "
                    "and coalition at a time; use fewer workers, shorter sequences or --dtype "
                    "bfloat16"
                )
            self.recoveries += 1
            again = smaller.tokens_a_batch != self.plan.tokens_a_batch
            self.plan = smaller
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()
            if again and work != self._prepare:
                self._survive(self._prepare)


def _power(size: int, most: int) -> int:
    """The whole stack, or the largest power of two: few batch sizes need few recorded calls."""
    return size if size == most else 1 << (size.bit_length() - 1)
