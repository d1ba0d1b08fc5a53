"""What each entry of a configuration may become where some layers go.

Entries are known by what they are: a list of one entry a layer, a dictionary with one key a layer,
layer numbers, a pattern that repeats, a count of first layers.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig

from decoder.model.structure import depth_names

__all__ = ["derived_patterns", "readings"]

# Lists that may be as long as the model is deep and have nothing to do with its layers.
_NOT_PER_LAYER = {"architectures", "eos_token_id", "bos_token_id", "suppress_tokens", "id2label"}
# What a layer's MLP is made by; all other entries are the attention's.
_MLP_NAMES = re.compile("mlp|moe|expert|dense|ffn|feed_forward|intermediate|activation|swiglu")
_NUMBERS = re.compile("layer|idx|indices|_ids")
_COUNTS = re.compile("first|dense|hash|window_layers|start|layers$")
_SHARES = re.compile("scale")


def readings(
    text: Any, depth: int, attention: Sequence[int], mlp: Sequence[int]
) -> dict[str, list[Any]]:
    """List what each entry of a configuration may become, the likeliest value first.

    Args:
        text: the decoder's configuration.
        depth: layers of the whole model.
        attention: the layer that each remaining layer has its attention from, in depth order.
        mlp: the same for the MLP.
    """
    found: dict[str, list[Any]] = {n: [len(attention)] for n in depth_names(text, depth)}
    fixed = set(_told(text, depth, attention, mlp))
    for name, value in vars(text).items():
        if name in found or name in _NOT_PER_LAYER or name in fixed:
            continue
        kept = mlp if _MLP_NAMES.search(name) else attention
        values = [] if value is None else list(_read(name, value, depth, kept, attention, mlp))
        if values and (len(values) > 1 or values[0] != value):
            found[name] = values
    return found | {n: [v] for n, v in _told(text, depth, attention, mlp).items()}


def _read(
    name: str,
    value: Any,
    depth: int,
    kept: Sequence[int],
    attention: Sequence[int],
    mlp: Sequence[int],
) -> Iterator[Any]:
    """What one entry may become."""
    if isinstance(value, list | tuple):
        yield from _read_list(name, value, depth, kept)
    elif isinstance(value, dict):
        if value and _layer_keys(value, depth):
            yield _renumbered(value, attention, mlp)
            yield value
    elif isinstance(value, float) and _SHARES.search(name):  # by the root of the depth, say
        yield value
        yield value * math.sqrt(len(attention) / depth)
    elif _is_count(name, value, depth):
        count = sum(i < value for i in kept)
        yield from (count, value) if name.startswith("first") else (value, count)
    elif dataclasses.is_dataclass(value) and not hasattr(value, "model_type"):
        yield _within(value, depth, attention, mlp)


def _is_count(name: str, value: Any, depth: int) -> bool:
    known = not name.startswith("_") and _COUNTS.search(name)
    return type(value) is int and 0 < value <= depth and bool(known)


def _read_list(name: str, value: Any, depth: int, kept: Sequence[int]) -> Iterator[Any]:
    kind = type(value)
    if len(value) == depth:
        yield kind(value[i] for i in kept)
        yield value
    elif _layer_numbers(value, depth):
        from_zero = kind(new for new, old in enumerate(kept) if old in set(value))
        from_one = kind(new + 1 for new, old in enumerate(kept) if old + 1 in set(value))
        meant = [from_one, from_zero] if max(value) == depth else [from_zero, from_one]
        yield from [*meant, value] if _NUMBERS.search(name) else [value, *meant]
    elif len(value) > depth and _NUMBERS.search(name):
        yield kind([*(value[i] for i in kept), *value[depth:]])
        yield value
    elif 1 < len(value) < depth and all(isinstance(item, str | bool) for item in value):
        yield value
        yield kind(value[i % len(value)] for i in kept)


def _layer_numbers(value: Sequence[Any], depth: int) -> bool:
    return (
        0 < len(value) <= depth
        and all(type(item) is int for item in value)
        and len(set(value)) == len(value)
        and min(value) >= 0
        and max(value) <= depth
    )


def _layer_keys(value: Mapping[Any, Any], depth: int) -> bool:
    keys = [str(key) for key in value]
    return all(key.isdecimal() and int(key) < depth for key in keys)


def _renumbered(
    value: Mapping[Any, Any], attention: Sequence[int], mlp: Sequence[int]
) -> dict[Any, Any]:
    """A dictionary keyed by layer numbers, whose entries may be dictionaries of overrides."""
    kind = type(next(iter(value)))
    by_number = {int(key): item for key, item in value.items()}
    found: dict[Any, Any] = {}
    for new, (first, second) in enumerate(zip(attention, mlp, strict=True)):
        one, other = by_number.get(first), by_number.get(second)
        if isinstance(one, dict) or isinstance(other, dict):
            own = {k: v for k, v in (one or {}).items() if not _MLP_NAMES.search(str(k))}
            own |= {k: v for k, v in (other or {}).items() if _MLP_NAMES.search(str(k))}
            if own:
                found[kind(new)] = own
        elif first in by_number:
            found[kind(new)] = one
    return found


def _within(value: Any, depth: int, attention: Sequence[int], mlp: Sequence[int]) -> Any:
    """A nested object with its dictionaries of layers renumbered."""
    inner = copy.copy(value)
    for name, item in vars(value).items():
        if isinstance(item, dict) and item and _layer_keys(item, depth):
            object.__setattr__(inner, name, _renumbered(item, attention, mlp))
    return inner


def _told(text: Any, depth: int, attention: Sequence[int], mlp: Sequence[int]) -> dict[str, Any]:
    """Rules whose other form is known: a list of exceptions, a span, a compressed list."""
    found: dict[str, Any] = {}
    if hasattr(text, "decoder_sparse_step") and hasattr(text, "mlp_only_layers"):
        step, dense = text.decoder_sparse_step, set(text.mlp_only_layers or ())
        found["decoder_sparse_step"] = 1
        found["mlp_only_layers"] = [
            new for new, old in enumerate(mlp) if old in dense or (old + 1) % step
        ]
    if hasattr(text, "moe_layer_start_index") and hasattr(text, "moe_layer_interval"):
        found |= _expert_span(text, depth, mlp)
    if hasattr(text, "attention_types") and hasattr(text, "attention_layers"):
        types = [text.attention_layers[i] for i in attention]
        found |= {"attention_types": [[types, 1]], "attention_layers": types}
    return found


def _expert_span(text: Any, depth: int, mlp: Sequence[int]) -> dict[str, Any]:
    """Ernie's rule for these layers, where it can say them: experts from one layer to another."""
    first, last = text.moe_layer_start_index, text.moe_layer_end_index
    last = last if last >= 0 else depth - 1
    experts = [
        new
        for new, old in enumerate(mlp)
        if first <= old <= last and (old + 1) % text.moe_layer_interval == 0
    ]
    if not experts or len(experts) != experts[-1] - experts[0] + 1:
        return {}
    return {
        "moe_layer_start_index": experts[0],
        "moe_layer_end_index": experts[-1],
        "moe_layer_interval": 1,
    }


def derived_patterns(
    text: Any, depth: int, attention: Sequence[int], mlp: Sequence[int]
) -> dict[str, list[Any]]:
    """Lists of one entry a layer that a configuration derives from others, as they must become."""
    found: dict[str, list[Any]] = {}
    for name in sorted(set(dir(type(text))) - set(dir(PreTrainedConfig))):
        if isinstance(getattr(type(text), name, None), property) and not name.startswith("_"):
            try:
                value = getattr(text, name)
            except Exception:  # a property that does not apply to this configuration
                continue
            if (
                isinstance(value, list | tuple)
                and len(value) == depth
                and all(isinstance(item, str | int | float | None) for item in value)
            ):
                kept = mlp if _MLP_NAMES.search(name) else attention
                found[name] = [value[i] for i in kept]
    return found
