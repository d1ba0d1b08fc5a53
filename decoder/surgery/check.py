"""Whether a checkpoint that was written is the model that was measured."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from decoder.evaluate.steps import Node, Steps
from decoder.model.lm_head import injected
from decoder.model.structure import find_stack
from decoder.model.trace import record
from decoder.players import Unit, make_roster

__all__ = [
    "Agreement",
    "allowed",
    "cached_difference",
    "compare",
    "difference",
    "generated_difference",
    "logits",
    "masked_logits",
]

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
_NEW_TOKENS = 8


@dataclass(frozen=True)
class Agreement:
    """Differences as a share of the largest logit, and what is allowed.

    Attributes:
        logits: largest difference between the written model's logits and those measured with the
            players left out.
        cached: the same where the second half is decoded a token at a time with a cache; where
            only `generate` can use the cache, as `generated`.
        generated: between the logits that `generate` decodes by and those without a cache; or by
            how much a token that it chose, greedily, falls short of the likeliest, if that is more.
        allowed: the most that each may be.
        saved_again: between the written model and itself saved and loaded once more; NaN until
            that is known.
    """

    logits: float
    cached: float
    generated: float
    allowed: float
    saved_again: float = math.nan

    @property
    def holds_but_in_generation(self) -> bool:
        """The same, for a model whose original does not generate what its forward says."""
        return replace(self, generated=0.0).holds

    @property
    def holds(self) -> bool:
        """Whether all of them are within what is allowed; no number is not."""
        found = (self.logits, self.cached, self.generated, self.saved_again)
        return all(value <= self.allowed for value in found)

    def __str__(self) -> str:
        return (
            f"logits {self.logits:.1e}, cached decoding {self.cached:.1e}, generate "
            f"{self.generated:.1e}, saved again {self.saved_again:.1e}, allowed {self.allowed:.0e}"
        )


@torch.inference_mode()
def compare(model: Any, found_BTV: Tensor, wanted_BTV: Tensor, ids_BT: Tensor) -> Agreement:
    """Hold a reloaded model against what was measured; saving it again is left to do.

    Args:
        model: the reloaded model.
        found_BTV: its `logits`.
        wanted_BTV: what `masked_logits` said of the model it was made from.
        ids_BT: the tokens of both.
    """
    generated = generated_difference(model, ids_BT)
    cached = cached_difference(model, wanted_BTV, ids_BT)
    return Agreement(
        difference(found_BTV, wanted_BTV),
        generated if cached is None else cached,
        generated,
        allowed(model),
    )


@torch.inference_mode()
def generated_difference(model: Any, ids_BT: Tensor) -> float:
    """Difference between the logits that `generate` decodes by and those of a plain forward.

    Or by how much a token that it chose, greedily, falls short of the likeliest, if that is more.
    """
    ids, generated_BNV = _generated(model, ids_BT)
    new = generated_BNV.shape[1]
    plain_BNV = logits(model, ids)[:, -new - 1 : -1].float()
    chosen = plain_BNV.gather(2, ids[:, -new:, None])[..., 0]
    for token in _padding(model):
        plain_BNV[..., token] = generated_BNV[..., token] = chosen
    gap = float((plain_BNV.amax(2) - chosen).max() / _scale(plain_BNV))
    return max(gap, difference(generated_BNV, plain_BNV))


def allowed(model: Any) -> float:
    """The most that differences may be, by the model's type."""
    return _TOLERANCE.get(model.dtype, 0.05)


@torch.inference_mode()
def masked_logits(model: Any, units: Sequence[Unit], ids_BT: Tensor) -> Tensor:
    """Run some layers and halves alone, as a model is measured that the others are left out of.

    Args:
        model: the whole model.
        units: what runs, in depth order.
        ids_BT: token ids.

    Returns:
        Logits [B, T, V].
    """
    stack = find_stack(model)
    halves = any(unit.part != "layer" for unit in units)
    steps = Steps(make_roster("sublayers" if halves else "layers", len(stack)), None)
    trace = record(model, stack, ids_BT)
    node = Node(trace.inputs[:1])
    for unit in units:
        node = steps.run(unit, trace.calls, node)
    with injected(model, stack, trace.returns) as lm_head:
        return lm_head(ids_BT, node.state[0])


@torch.inference_mode()
def logits(model: Any, ids_BT: Tensor) -> Tensor:
    """Logits of one plain forward."""
    return model(input_ids=ids_BT, use_cache=False).logits


def difference(found: Tensor, wanted: Tensor) -> float:
    """Largest difference as a share of the largest wanted logit."""
    return float((found.float() - wanted.float()).abs().max() / _scale(wanted))


def cached_difference(model: Any, wanted_BTV: Tensor, ids_BT: Tensor) -> float | None:
    """Difference of logits whose second half is decoded a token at a time with a cache.

    None where the model has a cache of another kind (as Mamba), that only `generate` can use.
    """
    cached_BTV = _cached_logits(model, ids_BT, told=False)
    if cached_BTV is None:
        return None
    found = difference(cached_BTV, wanted_BTV)
    if found > allowed(model):
        # Hybrids whose first layer has no keys cannot tell how long the cache is, and some models
        # choose among keys by the mask; `generate` and serving engines tell them.
        told_BTV = _cached_logits(model, ids_BT, told=True)
        found = min(found, difference(cached_BTV if told_BTV is None else told_BTV, wanted_BTV))
    return found


@torch.inference_mode()
def _cached_logits(model: Any, ids_BT: Tensor, *, told: bool) -> Tensor | None:
    half, steps = ids_BT.shape[1] // 2, torch.arange(ids_BT.shape[1], device=ids_BT.device)
    known = inspect.signature(model.forward).parameters
    parts, cache = [], None
    for start, stop in [(0, half), *((i, i + 1) for i in range(half, ids_BT.shape[1]))]:
        ids = ids_BT[:, start:stop]
        more = {
            "position_ids": steps[start:stop].expand_as(ids),
            "attention_mask": torch.ones_like(ids_BT[:, :stop]),
        }
        more = {name: value for name, value in more.items() if told and name in known}
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, **more)
        cache = getattr(out, "past_key_values", None)
        if cache is None:
            return None
        parts.append(out.logits)
    return torch.cat(parts, dim=1)


@torch.inference_mode()
def _generated(model: Any, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
    """What `generate` says greedily after half of the first sequence: its tokens and logits."""
    from transformers import GenerationConfig

    own = model.generation_config
    # Without the model's own sampling and stopping rules, which greedy decoding is not about.
    model.generation_config = GenerationConfig(
        max_new_tokens=_NEW_TOKENS,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
        suppress_tokens=_padding(model) or None,
    )
    try:
        prompt = ids_BT[:1, : max(1, ids_BT.shape[1] - _NEW_TOKENS)]
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            return_dict_in_generate=True,
            output_logits=True,
        )
    finally:
        model.generation_config = own
    return out.sequences, torch.stack(out.logits, dim=1)


def _padding(model: Any) -> list[int]:
    """The token of padding, which is never generated: some models count positions without it."""
    pad = getattr(model.config.get_text_config(decoder=True), "pad_token_id", None)
    return [] if pad is None or pad < 0 else [pad]


def _scale(values: Tensor) -> Tensor:
    return values.float().abs().max().clamp_min(1.0)
