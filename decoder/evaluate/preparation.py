"""A workload made ready for one model: batches on its device, how layers are called, heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from decoder.data.workload import TEXT_METRICS, Batch, Workload, task_batches
from decoder.errors import ModelError, UnsupportedModel
from decoder.evaluate.admission import check_tokens, check_whole, in_parts
from decoder.evaluate.losses import Head, LinearHead, LogitsHead, ScoredPositions, buffer_rows
from decoder.evaluate.memory import peak_bytes, used_bytes
from decoder.evaluate.steps import Node, Steps, joined, parts_of
from decoder.evaluate.walk_plan import Needs
from decoder.model.lm_head import injected, linear_lm_head
from decoder.model.structure import Stack, context_length
from decoder.model.trace import LayerCall, record, record_calls
from decoder.players import Unit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["EvaluationContext", "PreparedBatch"]

_PROBE_TOKENS = 32
_SMALL_BUFFER = 1 / 32  # of the bound: what the work space for logits may take


@dataclass(eq=False)
class PreparedBatch:
    """One batch on the device.

    Attributes:
        section: 0 for the text, then one a task.
        batch: its rows.
        tokens_BT: their ids.
        start: hidden states that enter the first layer.
        head: its scores.
    """

    section: int
    batch: Batch
    tokens_BT: Tensor
    start: Node
    head: Head
    record: Any = field(repr=False)
    _calls: dict[int, tuple[LayerCall, ...]] = field(default_factory=dict, repr=False)

    def calls(self, stacked: int) -> tuple[LayerCall, ...]:
        """How layers are called for this many coalitions stacked along the batch."""
        if stacked not in self._calls:
            self._calls[stacked] = self.record(self.tokens_BT.repeat(stacked, 1))[1]
        return self._calls[stacked]

    def step(self, steps: Steps, unit: Unit, nodes: Sequence[Node]) -> list[Node]:
        """Runs a unit on several coalitions' nodes at once.

        Args:
            steps: of the model.
            unit: the part of a layer to run.
            nodes: where the coalitions are, one each.
        """
        states = [steps.pending(unit, node) for node in nodes]
        after: dict[int, Node] = {}
        for size in dict.fromkeys(map(len, states)):
            where = [place for place, state in enumerate(states) if len(state) == size]
            columns = zip(*(states[place] for place in where), strict=True)
            stacked = tuple(joined(column) for column in columns)
            layer = unit.layer if size > 1 else -1
            done = steps.run(unit, self.calls(len(where)), Node(stacked, layer))
            parts = zip(*(parts_of(part, len(self.tokens_BT)) for part in done.state), strict=True)
            after |= {
                place: Node(state, done.layer) for place, state in zip(where, parts, strict=True)
            }
        return [after[place] for place in range(len(nodes))]

    def store(self, sums: Sequence[Float64[np.ndarray, "K C R"]], rows: slice, found: Any) -> None:
        """Puts the head's sums [K, M, B] where these coalitions and rows belong.

        Args:
            sums: of each section, to be filled in place.
            rows: places of the coalitions.
            found: what the head gave for them.
        """
        sums[self.section][:, rows, self.batch.rows] = found.cpu().numpy()


class EvaluationContext:
    """What a model needs to be measured on a workload, probed on the model itself.

    Args:
        model: the model.
        stack: its layers.
        workload: what to measure on.
        steps: runs its layers.
        bound: most bytes to use.

    Attributes:
        needs: measured memory needs.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        stack: Stack,
        workload: Workload,
        steps: Steps,
        bound: int,
    ) -> None:
        self._model = model
        self._stack = stack
        self._workload = workload
        self._steps = steps
        check_tokens(model, workload)
        tokens_1T = self._longest_row()
        with in_parts(self._kind):
            self._look(tokens_1T, bound)

    def _look(self, tokens_1T: Tensor, bound: int) -> None:
        self._returns = self._probe(tokens_1T[:, :_PROBE_TOKENS])
        hidden_1TD, calls = record_calls(self._model, self._stack, tokens_1T, self._returns)
        layer_bytes = self._layer_peak(calls, hidden_1TD)
        few_1TD = self._through(tokens_1T[:, :_PROBE_TOKENS])
        self._lm_head = linear_lm_head(
            self._model, self._stack, self._returns, tokens_1T[:, :_PROBE_TOKENS], few_1TD
        )
        self._vocabulary = self._text_config.vocab_size
        self._rows = buffer_rows(self._vocabulary, self._model.device, bound * _SMALL_BUFFER)
        if self._lm_head is None:
            self._check_own_head(tokens_1T[:, :_PROBE_TOKENS], few_1TD)
        else:
            shape = (self._rows, self._vocabulary)
            self._buffer_RV = torch.empty(shape, dtype=torch.float32, device=self._model.device)
        self.needs = self._needs(hidden_1TD, layer_bytes)

    def batches(self, tokens_a_batch: int) -> list[PreparedBatch]:
        """All rows in batches; the dense model runs once for their references."""
        found = [(0, batch) for batch in self._workload.text_batches(tokens_a_batch)]
        for number, task in enumerate(self._workload.tasks, start=1):
            found += [(number, batch) for batch in task_batches(task, tokens_a_batch)]
        tokens = [torch.from_numpy(b.tokens).to(self._model.device) for _, b in found]
        recorded = [self._record(ids_BT) for ids_BT in tokens]
        text = [place for place, (section, _) in enumerate(found) if section == 0]
        heads = {p: self._head(b, None) for p, (_, b) in enumerate(found) if p not in text}
        # Where layers are brought in, each comes in once for all batches; else one batch after
        # the other, so that one batch's states are all that is held.
        for group in [text] if self._steps.streamed else [[place] for place in text]:
            dense = self._dense([recorded[place] for place in group])
            for place in group:
                heads[place] = self._head(found[place][1], dense.pop(0))
        return [
            PreparedBatch(
                section, batch, ids_BT, Node((start,)), heads[place], self._record, {1: calls}
            )
            for place, ((section, batch), ids_BT, (start, calls)) in enumerate(
                zip(found, tokens, recorded, strict=True)
            )
        ]

    def empty_sums(self, coalitions: int) -> list[Float64[np.ndarray, "K C R"]]:
        """Room for the sums of the text (no rows where there is none) and of each task."""
        text = self._workload.text
        kinds = [(len(TEXT_METRICS), 0 if text is None else len(text.tokens))]
        kinds += [(1, len(task.rows)) for task in self._workload.tasks]
        return [np.empty((kind, coalitions, rows)) for kind, rows in kinds]

    def _record(self, tokens_BT: Tensor) -> tuple[Tensor, tuple[LayerCall, ...]]:
        return record_calls(self._model, self._stack, tokens_BT, self._returns)

    def _longest_row(self) -> Tensor:
        rows = [row[:-1] for task in self._workload.tasks for row in task.rows]
        rows += [] if self._workload.text is None else list(self._workload.text.tokens[:1])
        return torch.from_numpy(np.array(max(rows, key=len))[None]).long().to(self._model.device)

    def _probe(self, tokens_1T: Tensor) -> int:
        """The length of the tuple that layers return; calling them is compared with the model."""
        if self._steps.streamed:
            hidden, calls = record_calls(self._model, self._stack, tokens_1T, 0, first_only=True)
            with self._steps.brought_in(0):
                output = calls[0].output(hidden)
            return 0 if isinstance(output, Tensor) else len(output)
        trace = record(self._model, self._stack, tokens_1T)
        hidden, calls = record_calls(self._model, self._stack, tokens_1T, trace.returns)
        for call in calls:
            hidden = call(hidden)
        own, wanted = hidden.float(), trace.inputs[-1].float()
        precision = 100 * torch.finfo(self._model.dtype).eps
        if trace.logits_BTV.isnan().any():
            raise self._no_numbers()
        if not torch.allclose(
            own, wanted, rtol=precision, atol=precision * float(wanted.abs().max())
        ):
            raise UnsupportedModel(
                f"model type {self._kind}: calling its layers one by one does not give what its "
                "own forward gives; leaving layers out cannot be measured"
            )
        check_whole(self._model, self._stack, trace, tokens_1T, hidden)
        return trace.returns

    def _through(self, tokens_1T: Tensor) -> Tensor:
        """Hidden states that leave the last layer; the halves of layers are found on the way."""
        hidden, calls = self._record(tokens_1T)
        for number, call in enumerate(calls):
            with self._steps.brought_in(number):
                self._steps.probe(number, call, hidden)
                hidden = call(hidden)
        return hidden

    def _layer_peak(self, calls: Sequence[LayerCall], hidden_1TD: Tensor) -> int:
        peaks = []
        for number in sorted({0, len(calls) // 2, len(calls) - 1}):
            with self._steps.brought_in(number):
                peaks.append(peak_bytes(lambda call=calls[number]: call.output(hidden_1TD)))
        return max(peaks)

    def _needs(self, hidden_1TD: Tensor, layer_bytes: int) -> Needs:
        row = hidden_1TD.shape[1]
        one = Batch(
            np.zeros((1, row), dtype=np.int64),
            np.arange(row - 1),
            np.zeros(row - 1, dtype=np.int64),
            np.zeros(1, dtype=np.int64),
            np.array([row - 1]),
        )
        head = self._head(one, hidden_1TD)
        head_bytes = peak_bytes(lambda: head(hidden_1TD))
        chunk = 4 * self._rows * self._vocabulary
        # A linear head works in one buffer, and in two more while it takes the dense model's
        # reference; the model's own head makes its logits anew, whatever their number.
        work = 3 * chunk if self._lm_head is not None else head_bytes
        state = hidden_1TD[0, 0].nbytes
        scored = 4 * hidden_1TD[0, 0].numel() + 24 if self._workload.text is not None else 24
        return Needs(
            state=state * self._steps.most_components,
            layer=-(-layer_bytes // row),
            head=-(-head_bytes // row) if self._lm_head is not None else 0,
            held=state * (2 if self._steps.streamed else 1) + scored,
            fixed=used_bytes(self._model.device) + work,
            tokens=self._tokens(),
            row=self._workload.longest,
            steps=len(self._steps.roster.slots),
            streamed=self._steps.streamed,
        )

    def _tokens(self) -> int:
        text = 0 if self._workload.text is None else self._workload.text.tokens.size
        return text + sum(len(row) - 1 for task in self._workload.tasks for row in task.rows)

    def _dense(self, recorded: Sequence[tuple[Tensor, Sequence[LayerCall]]]) -> list[Tensor]:
        """The dense model's last hidden states of some batches."""
        now = [start for start, _ in recorded]
        for number in range(len(self._stack) if now else 0):
            with self._steps.brought_in(number):
                for place, (_, calls) in enumerate(recorded):
                    now[place] = calls[number](now[place])
        if any(not state.isfinite().all() for state in now):
            raise self._no_numbers()
        return now

    def _head(self, batch: Batch, dense_BTD: Tensor | None) -> Head:
        places = ScoredPositions.of(batch, self._model.device)
        if self._lm_head is not None:
            return LinearHead(self._lm_head, places, self._buffer_RV, dense_BTD)
        return LogitsHead(self._own_logits, places, self._own_rows, dense_BTD)

    @property
    def _own_rows(self) -> int:
        """Rows for the model's own head, which takes them for one sequence."""
        context = context_length(self._text_config) or self._rows
        return min(self._rows, context)

    def _own_logits(self, rows_RD: Tensor) -> Tensor:
        ids_1R = torch.zeros((1, len(rows_RD)), dtype=torch.long, device=rows_RD.device)
        with injected(self._model, self._stack, self._returns) as logits:
            return logits(ids_1R, rows_RD[None])[0]

    def _check_own_head(self, tokens_1T: Tensor, hidden_1TD: Tensor) -> None:
        """Logits of a position must depend on its own last hidden states only."""
        half = max(1, hidden_1TD.shape[1] // 2)
        with injected(self._model, self._stack, self._returns) as logits:
            whole = logits(tokens_1T, hidden_1TD)[0].float()
        limit = 1e-2 * float(whole.abs().max())
        if not all(
            torch.allclose(whole[start:], part, rtol=1e-2, atol=limit)
            for start in (0, half)
            for part in [self._own_logits(hidden_1TD[0, start:]).float()]
        ):
            raise UnsupportedModel(
                f"model type {self._kind}: its logits depend on more than its last layer's output; "
                "leaving layers out cannot be measured"
            )

    @property
    def _text_config(self) -> Any:
        return self._model.config.get_text_config(decoder=True)

    @property
    def _kind(self) -> str:
        return self._model.config.model_type

    def _no_numbers(self) -> ModelError:
        return ModelError(
            f"model type {self._kind}: the whole model's logits are not numbers in "
            f"{self._model.dtype}; check the checkpoint or choose another --dtype"
        )
