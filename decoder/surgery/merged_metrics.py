"""How good a smaller model is that no coalition of the original can tell of: a merged one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from decoder.data.workload import Workload
from decoder.evaluate.evaluator import MaskedModel
from decoder.model.structure import find_stack
from decoder.surgery.apply import applied
from decoder.surgery.edit import Edit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["merged_metrics"]

_BYTES_KEPT = 256 * 2**20


def merged_metrics(
    model: PreTrainedModel, workload: Workload, edits: Sequence[Edit]
) -> Mapping[str, Float32[np.ndarray, "1 W"]]:
    """Measure of a smaller model what a campaign measures of a coalition, a number an item.

    Args:
        model: the original; it is left as it is.
        workload: what to measure on.
        edits: what makes the smaller model.

    Returns:
        by metric, one row; KL and top-1 agreement are to the original.

    Raises:
        ValueError: the edits do not fit the model.
    """
    with applied(model, edits):
        whole = MaskedModel(model, workload)
        found = dict(whole.measure(np.ones((1, len(find_stack(model))), dtype=bool)))
    if workload.text is not None:
        found["kl"], found["top1"] = _against_original(
            model, workload.text.tokens, workload.scored_places(), edits
        )
    return found


def _against_original(
    model: PreTrainedModel,
    tokens: Int[np.ndarray, "S T"],
    places: Sequence[Int[np.ndarray, "P"]],
    edits: Sequence[Edit],
) -> tuple[Float32[np.ndarray, "1 S"], Float32[np.ndarray, "1 S"]]:
    """KL divergence in nats per token and share of equal predictions, by sequence."""
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    group = max(1, _BYTES_KEPT // (4 * vocabulary * max(map(len, places))))
    divergences, shares = [], []
    for first in range(0, len(tokens), group):
        rows = range(first, min(first + group, len(tokens)))
        originals = [_log_probabilities(model, tokens[row], places[row]) for row in rows]
        with applied(model, edits):
            for row, dense_PV in zip(rows, originals, strict=True):
                other_PV = _log_probabilities(model, tokens[row], places[row])
                divergence = (dense_PV.exp() * (dense_PV - other_PV)).sum(-1).mean()
                divergences.append(float(divergence))
                shares.append(float((dense_PV.argmax(-1) == other_PV.argmax(-1)).float().mean()))
    return np.array([divergences], np.float32), np.array([shares], np.float32)


@torch.inference_mode()
def _log_probabilities(
    model: PreTrainedModel, row: Int[np.ndarray, "T"], places: Int[np.ndarray, "P"]
) -> Tensor:
    ids_BT = torch.from_numpy(np.asarray(row, dtype=np.int64)[None]).to(model.device)
    logits_TV = model(input_ids=ids_BT, use_cache=False).logits[0]
    return torch.log_softmax(logits_TV[torch.from_numpy(places)].float(), dim=-1).cpu()
