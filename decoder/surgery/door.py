"""Whether smaller models of a model can be saved, said before anything is measured.

First without weights: some sets of layers are left out of the configuration alone, and what it
makes is held against what is meant. Then with weights: the same sets are left out in memory, and
logits, cached decoding and generation are held against the measured ones, as an export is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from decoder.errors import UnsupportedModel
from decoder.model.loading import first_line
from decoder.model.structure import find_stack
from decoder.players import Unit
from decoder.surgery.apply import applied
from decoder.surgery.check import compare, logits, masked_logits
from decoder.surgery.edit import Remove
from decoder.surgery.probe import probe_tokens
from decoder.surgery.settings import fit_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Unexportable", "check_structure", "rehearse"]


class Unexportable(UnsupportedModel):
    """The model can be measured, but what is found cannot be saved in its stock architecture."""


def check_structure(model: PreTrainedModel) -> None:
    """Refuse a model whose configuration cannot say what smaller models are made of.

    Args:
        model: with weights or without.

    Raises:
        UnsupportedModel: its layers cannot be found.
        Unexportable: no configuration makes the layers that would remain.
    """
    stack = find_stack(model)
    for kept in _kept_sets(model, len(stack)):
        fit = fit_settings(model, [stack.layers[i] for i in kept], kept)
        if fit.trouble is not None:
            raise _unexportable(
                model, f"its configuration cannot describe it without some layers ({fit.trouble})"
            )


def rehearse(model: PreTrainedModel) -> None:
    """Refuse a model whose smaller ones do not compute in stock code what was measured.

    Args:
        model: with its weights; it is as before afterwards.

    Raises:
        UnsupportedModel: its layers cannot be left out.
        Unexportable: some difference was found, or stock code raised.
    """
    depth = len(find_stack(model))
    ids_BT = probe_tokens(model, 2)
    _compare(model, range(depth), ids_BT, "the whole model's own")
    for kept in _kept_sets(model, depth):
        _compare(model, kept, ids_BT, "the smaller model's")


def _compare(model: Any, kept: Any, ids_BT: Any, whose: str) -> None:
    depth = len(find_stack(model))
    wanted_BTV = masked_logits(model, [Unit(i, "layer") for i in kept], ids_BT)
    gone = [Remove(i) for i in range(depth) if i not in kept]
    try:
        with applied(model, gone):
            agreement = compare(model, logits(model, ids_BT), wanted_BTV, ids_BT)
    except UnsupportedModel:
        raise
    except Exception as error:  # whatever stock code raises over a model that it cannot run
        raise _unexportable(model, f"{whose} decoding fails ({_kind(error)})") from None
    found = {
        "logits are": agreement.logits,
        "cached decoding is": agreement.cached,
        "generation is": agreement.generated,
    }
    for what, by in found.items():
        if not by <= agreement.allowed:
            raise _unexportable(model, f"{whose} {what} off by {by:.1e} in this transformers")


def _kept_sets(model: PreTrainedModel, depth: int) -> Iterator[tuple[int, ...]]:
    """A few sets of layers to keep: each kind of layer stays, and each place is left out once."""
    kinds = _kinds(model, depth)
    for gone in (range(0, depth, 2), range(1, depth, 2), (0,), (depth - 1,)):
        kept = [i for i in range(depth) if i not in set(gone)]
        for kind in dict.fromkeys(kinds):  # a hybrid without any attention cannot generate
            if kind not in [kinds[i] for i in kept]:
                kept.append(kinds.index(kind))
        if 0 < len(kept) < depth:
            yield tuple(sorted(kept))


def _kinds(model: PreTrainedModel, depth: int) -> list[str]:
    text = model.config.get_text_config(decoder=True)
    kinds = getattr(text, "layer_types", None)
    return list(map(str, kinds)) if kinds and len(kinds) == depth else ["layer"] * depth


def _kind(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _unexportable(model: Any, why: str) -> Unexportable:
    return Unexportable(
        f"model type {model.config.model_type}: can be measured, cannot be exported, because {why}; "
        "use layershap measure, values and search, which export nothing"
    )
