"""From hidden states to losses: NLL, KL to the dense model and top-1 agreement from one pass.

With dense probabilities p and a linear head z = W h + b, the cross term of the divergence is
sum_v p_v z_v = (W' p) . h + p . b, so W' p is kept from the dense pass (D numbers a token) and the
logits of a coalition are needed only for their log-sum-exp, maximum and two gathered entries.
They are made a chunk of rows at a time and never leave that chunk's buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from llm.trace import Trace

__all__ = ["METRICS", "Head", "LinearHead", "LogitsHead", "linear_head"]

METRICS = ("nll", "kl", "top1")
_BUFFER = 2**22  # logits a chunk: 16 MB of float32, near the caches of a core
_FEWEST_ROWS = 256  # below this a matrix product reads the whole head for too little work


class Head(Protocol):
    """Scores final hidden states of one batch against its targets and the dense model."""

    def __call__(self, hidden_BTD: Tensor) -> Tensor:
        """Means over the predicted tokens of each sequence: float64[3, B], ordered as METRICS."""
        ...


@dataclass(frozen=True)
class _Linear:
    """A tail that is a chain of modules and one linear map, times a constant."""

    chain: tuple[nn.Module, ...]
    weight_VD: Tensor
    bias_V: Tensor | None
    scale: float


class LinearHead:
    """The fast head, for models whose logits are a linear map of normed hidden states."""

    def __init__(self, linear: _Linear, trace: Trace) -> None:
        self._linear = linear
        self._targets_N = trace.tokens_BT[:, 1:].reshape(-1)
        self._sequences = len(trace.tokens_BT)
        rows_ND = self._rows(trace.inputs[-1])
        vocabulary = len(linear.weight_VD)
        self._chunk = max(_FEWEST_ROWS, _BUFFER // vocabulary)
        self._buffer = torch.empty(
            (min(self._chunk, len(rows_ND)), vocabulary), dtype=torch.float32, device=rows_ND.device
        )
        parts = [self._reference(rows_ND[i : i + self._chunk]) for i in self._starts(rows_ND)]
        self._top_N = torch.cat([top for top, _, _ in parts])
        self._cross_ND = torch.cat([cross for _, cross, _ in parts])
        self._constant_N = torch.cat([constant for _, _, constant in parts])

    def __call__(self, hidden_BTD: Tensor) -> Tensor:
        """See `Head`."""
        rows_ND = self._rows(hidden_BTD)
        out_3N = torch.empty((3, len(rows_ND)), dtype=torch.float64, device=rows_ND.device)
        for start in self._starts(rows_ND):
            part = slice(start, start + self._chunk)
            logits_RV = self._logits(rows_ND[part])
            target_R = logits_RV.gather(1, self._targets_N[part, None])[:, 0]
            top_R = logits_RV.gather(1, self._top_N[part, None])[:, 0]
            peak_R = logits_RV.amax(1)
            lse_R = logits_RV.sub_(peak_R[:, None]).exp_().sum(1).log_() + peak_R
            cross_R = (self._cross_ND[part] * rows_ND[part]).sum(1)
            out_3N[0, part] = lse_R - target_R
            out_3N[1, part] = lse_R - cross_R + self._constant_N[part]
            out_3N[2, part] = _agreement(top_R, peak_R)
        return out_3N.view(3, self._sequences, -1).mean(2)

    def _rows(self, hidden_BTD: Tensor) -> Tensor:
        hidden = hidden_BTD[:, :-1]
        for module in self._linear.chain:
            hidden = module(hidden)
        return hidden.reshape(-1, hidden.shape[-1])

    def _starts(self, rows_ND: Tensor) -> range:
        return range(0, len(rows_ND), self._chunk)

    def _logits(self, rows_RD: Tensor) -> Tensor:
        weight, bias, scale = self._linear.weight_VD, self._linear.bias_V, self._linear.scale
        out_RV = self._buffer[: len(rows_RD)]
        if weight.dtype == torch.float32:
            torch.mm(rows_RD, weight.T, out=out_RV)
        else:
            out_RV.copy_(rows_RD @ weight.T)
        if bias is not None:
            out_RV += bias
        return out_RV.mul_(scale) if scale != 1.0 else out_RV

    def _reference(self, rows_RD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Dense top-1, W' p and the part of the divergence that no coalition changes."""
        weight, bias, scale = self._linear.weight_VD, self._linear.bias_V, self._linear.scale
        logits_RV = self._logits(rows_RD)
        top_R = logits_RV.argmax(1)
        log_RV = logits_RV.log_softmax(1)
        p_RV = log_RV.exp()
        cross_RD = (p_RV @ weight.float()) * scale
        constant_R = (p_RV * log_RV).sum(1)
        if bias is not None:
            constant_R -= (p_RV @ bias.float()) * scale
        return top_R, cross_RD, constant_R


class LogitsHead:
    """The general head, for logits that are computed in any other way (soft caps, say).

    Args:
        logits: the model's own head, (tokens_BT, hidden_BTD) -> logits_BTV.
        trace: the dense forward.
    """

    def __init__(self, logits: Callable[[Tensor, Tensor], Tensor], trace: Trace) -> None:
        self._logits = logits
        self._tokens_BT = trace.tokens_BT
        self._dense_BTD = trace.inputs[-1]

    def __call__(self, hidden_BTD: Tensor) -> Tensor:
        """See `Head`."""
        columns = []
        for row in range(len(hidden_BTD)):
            tokens_1T, part = self._tokens_BT[row : row + 1], slice(row, row + 1)
            log_TV = self._log_probabilities(tokens_1T, hidden_BTD[part])
            dense_TV = self._log_probabilities(tokens_1T, self._dense_BTD[part])
            top_T = dense_TV.argmax(1, keepdim=True)
            nll = -log_TV.gather(1, tokens_1T[0, 1:, None]).double().mean()
            kl = (dense_TV.exp() * (dense_TV - log_TV)).sum(1).double().mean()
            agree = _agreement(log_TV.gather(1, top_T)[:, 0], log_TV.amax(1)).double().mean()
            columns.append(torch.stack([nll, kl, agree]))
        return torch.stack(columns, dim=1)

    def _log_probabilities(self, tokens_1T: Tensor, hidden_1TD: Tensor) -> Tensor:
        return self._logits(tokens_1T, hidden_1TD)[0, :-1].float().log_softmax(-1)


def linear_head(trace: Trace) -> _Linear | None:
    """The tail of a recorded forward as a linear head, or None where it is something else.

    The chain is found by following the last hidden states through the recorded modules and is
    believed only if it gives the model's own logits.
    """
    current, chain = trace.inputs[-1], []
    for module, given, returned in trace.tail:
        same = given.data_ptr() == current.data_ptr() and given.shape == current.shape
        if same and not isinstance(module, nn.Dropout | nn.Identity):
            chain.append(module)
            current = returned
    if not chain or not isinstance(chain[-1], nn.Linear):
        return None
    *norms, head = chain
    own, model = current.float(), trace.logits_BTV.float()
    if own.shape != model.shape:
        return None
    if torch.equal(own, model):
        scale = 1.0
    else:
        scale = float((own * model).sum() / (own * own).sum().clamp_min(1e-30))
        precision = 4 * torch.finfo(trace.logits_BTV.dtype).eps
        # A soft cap on small logits looks like a constant just below one.
        if abs(scale - 1) < 0.02 or not torch.allclose(own * scale, model, rtol=precision, atol=0):
            return None
    bias = None if head.bias is None else head.bias.detach()
    return _Linear(tuple(norms), head.weight.detach(), bias, scale)


def _agreement(top_R: Tensor, peak_R: Tensor) -> Tensor:
    """1 where the dense model's choice has the highest logit, 0 elsewhere, NaN without numbers."""
    return (top_R >= peak_R).float().masked_fill_(~peak_R.isfinite(), torch.nan)
