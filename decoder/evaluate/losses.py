"""From hidden states to losses: NLL, KL to the dense model and top-1 agreement from one pass.

With dense probabilities p and a linear head z = W h + b, the cross term of the divergence is
sum_v p_v z_v = (W' p) . h + p . b, so W' p is kept from the dense pass (D numbers a token) and the
logits of a coalition are needed only for their log-sum-exp, maximum and two gathered entries.
They are made a chunk of rows at a time and never leave that chunk's buffer, whose size depends on
neither tokens nor coalitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from decoder.data.workload import TEXT_METRICS, Batch
from decoder.model.lm_head import LinearLMHead

__all__ = ["Head", "LinearHead", "LogitsHead", "ScoredPositions", "buffer_rows"]

_BUFFER = {"cpu": 2**22, "cuda": 2**27}  # logits a chunk: near the caches of a core, of a GPU
_VOCABULARY_PART = 8192
_FEWEST_ROWS = 256  # below this a matrix product reads the whole head for too little work


@dataclass(frozen=True)
class ScoredPositions:
    """A batch's scored places on the device."""

    index_N: Tensor
    targets_N: Tensor
    row_N: Tensor
    rows: int

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> ScoredPositions:
        """Move a batch's places to a device."""
        rows = np.repeat(np.arange(len(batch.rows)), batch.counts)
        index, targets, row = (
            torch.from_numpy(part).to(device) for part in (batch.places, batch.targets, rows)
        )
        return cls(index, targets, row, len(batch.rows))

    def pick(self, hidden_STD: Tensor) -> Tensor:
        """Hidden states at the places: [M * B, T, D] -> [M, N, D], M coalitions stacked.

        D may be several dimensions, where layers pass on several streams.
        """
        width = hidden_STD.shape[2:]
        return hidden_STD.reshape(-1, self.rows * hidden_STD.shape[1], *width)[:, self.index_N]

    def sums(self, values_KMN: Tensor) -> Tensor:
        """Sums over each row's places: [K, M, N] -> float64 [K, M, B]."""
        shape = (*values_KMN.shape[:2], self.rows)
        out = torch.zeros(shape, dtype=torch.float64, device=values_KMN.device)
        return out.index_add_(2, self.row_N, values_KMN.double())


class Head(Protocol):
    """Scores final hidden states of one batch against its targets and the dense model."""

    def __call__(self, hidden_STD: Tensor) -> Tensor:
        """Sums over the scored places of each row, for M coalitions stacked along the batch.

        Args:
            hidden_STD: [M * B, T, D].

        Returns:
            float64 [K, M, B]: NLL alone (K = 1), or NLL, divergence and agreement (K = 3) where
            the head was made with dense hidden states.
        """
        ...


def buffer_rows(vocabulary: int, device: torch.device, most_bytes: float) -> int:
    """Returns how many rows of float32 logits to make at once; few where memory is short.

    Args:
        vocabulary: logits a row.
        device: that holds the logits.
        most_bytes: memory that they may take.
    """
    share = min(1.0, most_bytes / (4 * vocabulary * _FEWEST_ROWS))
    entries = int(_BUFFER.get(device.type, _BUFFER["cpu"]) * share)
    return max(max(1, int(_FEWEST_ROWS * share)), entries // vocabulary)


class LinearHead:
    """The fast head, for models whose logits are a linear map of normed hidden states.

    Args:
        tail: the map.
        places: what is scored.
        buffer_RV: float32 work space for logits, shared by all heads of a model.
        dense_BTD: the dense model's last hidden states, for divergence and agreement.
    """

    def __init__(
        self,
        lm_head: LinearLMHead,
        places: ScoredPositions,
        buffer_RV: Tensor,
        dense_BTD: Tensor | None,
    ) -> None:
        self._lm_head = lm_head
        self._places = places
        self._buffer_RV = buffer_RV
        self._reference = None
        if dense_BTD is not None:
            rows_ND = lm_head.rows(places.pick(dense_BTD)[0])
            parts = [self._dense(rows_ND[part]) for part in self._parts(len(rows_ND))]
            self._reference = tuple(torch.cat(column) for column in zip(*parts, strict=True))

    def __call__(self, hidden_STD: Tensor) -> Tensor:
        """See `Head`."""
        picked_MND = self._places.pick(hidden_STD)
        stacked, each = picked_MND.shape[:2]
        rows_RD = self._lm_head.rows(picked_MND.reshape(-1, picked_MND.shape[2]))
        targets_R = self._places.targets_N.repeat(stacked)
        kinds = 1 if self._reference is None else len(TEXT_METRICS)
        out_KR = torch.empty((kinds, len(rows_RD)), dtype=torch.float32, device=rows_RD.device)
        for part in self._parts(len(rows_RD)):
            logits_RV = self._logits(rows_RD[part])
            target_R = logits_RV.gather(1, targets_R[part, None])[:, 0]
            peak_R = logits_RV.amax(1)
            if self._reference is not None:
                dense_R, cross_RD, constant_R = self._expected(part, each)
                top_R = logits_RV.gather(1, dense_R[:, None])[:, 0]
                out_KR[1, part] = constant_R - (cross_RD * rows_RD[part]).sum(1)
                out_KR[2, part] = _agreement(top_R, peak_R)
            lse_R = logits_RV.sub_(peak_R[:, None]).exp_().sum(1).log_() + peak_R
            out_KR[0, part] = lse_R - target_R
            out_KR[1:2, part] += lse_R
        return self._places.sums(out_KR.view(kinds, stacked, each))

    def _expected(self, part: slice, each: int) -> tuple[Tensor, ...]:
        """The dense model's numbers for a part of the stacked places, copied only if they wrap."""
        first, last = part.start // each, (part.stop - 1) // each
        where: slice | Tensor = slice(part.start - first * each, part.stop - first * each)
        if first != last:
            device = self._places.index_N.device
            where = torch.arange(part.start, part.stop, device=device) % each
        return tuple(column[where] for column in self._reference or ())

    def _parts(self, rows: int) -> list[slice]:
        chunk = len(self._buffer_RV)
        return [slice(start, min(start + chunk, rows)) for start in range(0, rows, chunk)]

    def _logits(self, rows_RD: Tensor) -> Tensor:
        weight, bias, scale = self._lm_head.weight_VD, self._lm_head.bias_V, self._lm_head.scale
        out_RV = self._buffer_RV[: len(rows_RD)]
        if weight.dtype == torch.float32:
            torch.mm(rows_RD, weight.T, out=out_RV)
        else:
            out_RV.copy_(rows_RD @ weight.T)
        if bias is not None:
            out_RV += bias
        return out_RV.mul_(scale) if scale != 1.0 else out_RV

    def _dense(self, rows_RD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Dense top-1, W' p and the part of the divergence that no coalition changes."""
        weight, bias, scale = self._lm_head.weight_VD, self._lm_head.bias_V, self._lm_head.scale
        logits_RV = self._logits(rows_RD)
        top_R = logits_RV.argmax(1)
        log_RV = logits_RV.log_softmax(1)
        p_RV = log_RV.exp()
        constant_R = (p_RV * log_RV).sum(1)
        cross_RD = torch.zeros_like(rows_RD, dtype=torch.float32)
        # By parts of the vocabulary, so that no float32 copy of a half-precision head is made.
        for p_RC, weight_CD in zip(
            p_RV.split(_VOCABULARY_PART, 1), weight.split(_VOCABULARY_PART), strict=True
        ):
            cross_RD.addmm_(p_RC, weight_CD.float(), alpha=scale)
        if bias is not None:
            constant_R -= (p_RV @ bias.float()) * scale
        return top_R, cross_RD, constant_R


class LogitsHead:
    """The general head, for logits that are computed in any other way (soft caps, say).

    Args:
        logits: the model's own head, hidden states [R, D] -> logits [R, V].
        places: what is scored.
        most: rows of logits made at once.
        dense_BTD: the dense model's last hidden states, for divergence and agreement. Its logits
            are made anew for every chunk: keeping them would take tokens x vocabulary.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        places: ScoredPositions,
        most: int,
        dense_BTD: Tensor | None,
    ) -> None:
        self._logits = logits
        self._places = places
        self._most = most
        self._dense_ND = None if dense_BTD is None else places.pick(dense_BTD)[0]

    def __call__(self, hidden_STD: Tensor) -> Tensor:
        """See `Head`."""
        picked_MND = self._places.pick(hidden_STD)
        stacked, each = picked_MND.shape[:2]
        kinds = 1 if self._dense_ND is None else len(TEXT_METRICS)
        shape = (kinds, stacked, each)
        out_KMN = torch.empty(shape, dtype=torch.float32, device=hidden_STD.device)
        for start in range(0, each, self._most):
            part = slice(start, start + self._most)
            targets = self._places.targets_N[part, None]
            dense_RV = None if self._dense_ND is None else self._log(self._dense_ND[part])
            for copy in range(stacked):
                log_RV = self._log(picked_MND[copy, part])
                out_KMN[0, copy, part] = -log_RV.gather(1, targets)[:, 0]
                if dense_RV is not None:
                    top_R1 = dense_RV.argmax(1, keepdim=True)
                    agree_R = _agreement(log_RV.gather(1, top_R1)[:, 0], log_RV.amax(1))
                    out_KMN[1, copy, part] = (dense_RV.exp() * (dense_RV - log_RV)).sum(1)
                    out_KMN[2, copy, part] = agree_R
        return self._places.sums(out_KMN)

    def _log(self, rows_RD: Tensor) -> Tensor:
        return self._logits(rows_RD).float().log_softmax(-1)


def _agreement(top_R: Tensor, peak_R: Tensor) -> Tensor:
    """1 where the dense model's choice has the highest logit, 0 elsewhere, NaN without numbers."""
    return (top_R >= peak_R).float().masked_fill_(~peak_R.isfinite(), torch.nan)
