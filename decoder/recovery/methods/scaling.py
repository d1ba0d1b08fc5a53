"""A scalar on the residual stream before a cut, folded into everything that writes there.

Blocks that read the stream through a norm do not see its scale. A tied head would, and is scaled
with the embedding; the final norm takes that back. Whether a model's weights are those that this
takes for the writers is tried out on the model itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.norm import offset
from decoder.surgery.patch import make_patch, patched

__all__ = ["norm_for_scale", "scaled_names", "scales"]

_TRIED = 2.0
_CLOSE = 2e-3  # of the largest logit: the norm's epsilon is seen differently at another scale


def scaled_names(anatomy: Anatomy, position: int, halves: tuple[int, ...]) -> list[str] | None:
    """Names of the parameters that write into the stream before a position.

    Args:
        anatomy: of the model.
        position: of the stream.
        halves: the kept halves.

    Returns:
        None where a half does not write linearly.
    """
    names = list(anatomy.embeddings)
    for half in halves:
        if half < position:
            outputs = anatomy.outputs(half)
            if not outputs:
                return None
            names += [output.name for output in outputs]
    return names


def norm_for_scale(anatomy: Anatomy, scale: float) -> dict[str, Tensor] | None:
    """New weights of the final norm that take a scale back where the head is tied.

    Args:
        anatomy: of the model.
        scale: that the embedding was given, and the head with it.

    Returns:
        By name; empty where the head is not tied, None where there is no such norm.
    """
    if not anatomy.tied:
        return {}
    if anatomy.head is None or not anatomy.head.chain:
        return None
    norm: Any = anatomy.head.chain[-1]
    names = {id(module): name for name, module in anatomy.model.named_modules()}
    weight = getattr(norm, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.ndim != 1:
        return None
    path = names[id(norm)]
    found = {f"{path}.weight": (weight.float() + offset(norm)) / scale - offset(norm)}
    bias = getattr(norm, "bias", None)
    if isinstance(bias, nn.Parameter):
        found[f"{path}.bias"] = bias.float() / scale
    return found


def scales(anatomy: Anatomy) -> bool:
    """Whether scaling the writers scales the stream and leaves the model's logits as they are.

    Args:
        anatomy: of the model.
    """
    end = 2 * anatomy.depth
    names = scaled_names(anatomy, end, tuple(range(end)))
    norm = norm_for_scale(anatomy, _TRIED)
    if not names or norm is None:
        return False
    own = dict(anatomy.model.named_parameters(remove_duplicate=False))
    values = {name: own[name].detach().float() * _TRIED for name in names} | norm
    with patched(anatomy.model, [make_patch(values)], values), torch.inference_mode():
        found = anatomy.model(input_ids=anatomy.tokens_BT, use_cache=False).logits.float()
    wanted = anatomy.trace.logits_BTV.float()
    return bool((found - wanted).abs().max() <= _CLOSE * wanted.abs().max().clamp_min(1.0))
