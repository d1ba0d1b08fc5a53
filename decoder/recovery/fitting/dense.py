"""The dense model's residual stream over the calibration text, a position at a time.

Text goes through in batches of whole sequences and layer by layer, so that the streams of all
batches stand at one position at once and no layer runs twice; where memory allows, positions that
were reached are kept, and every method and every set that is fitted on the same text shares them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from decoder.data.text import TokenText
from decoder.data.workload import Workload
from decoder.errors import RepairError
from decoder.evaluate.admission import check_tokens
from decoder.evaluate.memory import default_bound, used_bytes
from decoder.model.branches import State
from decoder.model.trace import LayerCall, record_calls
from decoder.recovery.fitting.anatomy import Anatomy

__all__ = ["DenseBatch", "DenseStream"]

_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
_GIB = 2**30


@dataclass(frozen=True)
class DenseBatch:
    """Some sequences of the text.

    Attributes:
        first: number of the first of them.
        tokens_BT: their token ids, on the device.
        calls: how each layer is called for them.
    """

    first: int
    tokens_BT: Tensor
    calls: tuple[LayerCall, ...]


class DenseStream:
    """Lends the dense model's states at any position.

    Args:
        anatomy: of the model.
        tokens_ST: sequences of the calibration text.
        memory: most GiB to use in all; a share of what is free when omitted.

    Attributes:
        anatomy: the same.
        batches: the text.
        tokens: how many tokens it has.
        bound: most bytes to use in all.
        bytes: that the states of all tokens take at one position.

    Raises:
        RepairError: the tokens are no whole numbers [S, T], or their states do not fit in memory.
        TextError: they are outside the vocabulary, or longer than the model's context.
    """

    def __init__(
        self, anatomy: Anatomy, tokens_ST: Int[np.ndarray, "S T"], *, memory: float | None = None
    ) -> None:
        ids = np.asarray(tokens_ST)
        if ids.ndim != 2 or not ids.size or not np.issubdtype(ids.dtype, np.integer):
            raise RepairError(
                f"tokens must be whole numbers [sequences, tokens], got {ids.dtype} "
                f"{list(ids.shape)}; cut the text into sequences of one length"
            )
        model = anatomy.model
        check_tokens(model, Workload(TokenText(ids.astype(np.int64), "tokens")))
        self.anatomy = anatomy
        self.tokens = ids.size
        self.bound = default_bound(model.device) if memory is None else int(memory * _GIB)
        self.bytes = ids.size * anatomy.width * model.dtype.itemsize
        free = self.free
        if 4 * self.bytes > free:
            raise RepairError(
                f"memory: the states of {ids.size:,} tokens take "
                f"{4 * self.bytes / _GIB:.2f} GiB and {max(free, 0) / _GIB:.2f} are left; "
                "give more memory or fewer tokens"
            )
        self._keeps = self.bytes * (2 * anatomy.depth + 1) <= 0.5 * free
        rows = max(1, _BATCH_TOKENS.get(model.device.type, 2048) // ids.shape[1])
        self.batches: list[DenseBatch] = []
        self._states: dict[int, list[State]] = {0: []}
        with torch.inference_mode():
            for first in range(0, len(ids), rows):
                tokens_BT = torch.from_numpy(ids[first : first + rows]).long().to(model.device)
                hidden_BTD, calls = record_calls(model, anatomy.stack, tokens_BT, anatomy.returns)
                self.batches.append(DenseBatch(first, tokens_BT, calls))
                self._states[0].append((hidden_BTD,))

    @property
    def free(self) -> int:
        """Bytes that may still be used."""
        return self.bound - used_bytes(self.anatomy.model.device)

    def at(self, position: int) -> list[State]:
        """The states of all batches at a position, one a batch; they must not be changed.

        The model must be the dense one while this runs.

        Args:
            position: see `decoder.recovery.fitting.anatomy`.
        """
        start = max(p for p in self._states if p <= position)
        while start < position:
            whole = start % 2 == 0 and start + 2 <= position
            after = [
                self.anatomy.run(start, batch.calls[start // 2], state, whole=whole)
                for batch, state in zip(self.batches, self._states[start], strict=True)
            ]
            if not self._keeps and start:
                del self._states[start]
            start += 2 if whole else 1
            self._states[start] = after
        return self._states[position]

    def hidden(self, position: int) -> list[Tensor]:
        """The first member of each state: hidden states [B, T, D]."""
        return [state[0] for state in self.at(position)]
