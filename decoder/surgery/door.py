"""Whether smaller models of a model can be saved, said before anything is measured.

First without weights: some sets of layers are left out of the configuration alone, and what it
makes is held against what is meant. Then with weights: the same sets are left out in memory, and
logits, cached decoding and generation are held against the measured ones, as an export is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from decoder.errors import UnsupportedModel
from decoder.model.loading import first_line
from decoder.model.structure import find_stack
from decoder.players import Unit
from decoder.surgery.apply import applied
from decoder.surgery.check import Agreement, compare, logits, masked_logits
from decoder.surgery.edit import Remove
from decoder.surgery.probe import probe_tokens
from decoder.surgery.settings import fit_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Unexportable", "check_structure", "rehearse"]


class Unexportable(UnsupportedModel):
    """The model can be measured, but what is found cannot be saved in its stock architecture."""


def check_structure(model: PreTrainedModel) -> tuple[int, ...]:
    """Refuse a model whose configuration cannot say what smaller models are made of.

    Args:
        model: with weights or without.

    Returns:
        Layers that must stay, for no configuration makes the others without them: the first or
        the last of families that build it in another way than the rest.

    Raises:
        UnsupportedModel: its layers cannot be found.
        Unexportable: no configuration makes the layers that would remain.
    """
    last = len(find_stack(model)) - 1
    first_trouble = None
    for stays in ((), (0,), (last,), (0, last)):
        trouble = _trouble(model, stays)
        if trouble is None:
            return stays
        first_trouble = first_trouble or trouble
    raise _unexportable(
        model, f"its configuration cannot describe it without some layers ({first_trouble})"
    )


def _trouble(model: PreTrainedModel, stays: tuple[int, ...]) -> str | None:
    stack = find_stack(model)
    for kept in _kept_sets(model, stays):
        trouble = fit_settings(model, [stack.layers[i] for i in kept], kept).trouble
        if trouble is not None:
            return trouble
    return None


def rehearse(model: PreTrainedModel, stays: tuple[int, ...] = ()) -> None:
    """Refuse a model whose smaller ones do not compute in stock code what was measured.

    Args:
        model: with its weights; it is as before afterwards.
        stays: layers that must stay (see `check_structure`).

    Raises:
        UnsupportedModel: its layers cannot be left out.
        Unexportable: some difference was found, or stock code raised.
    """
    ids_BT = probe_tokens(model, 2)
    whole = _compare(model, range(len(find_stack(model))), ids_BT, "the whole model's own")
    # Some models' forward says other than what their `generate` does; smaller ones can only follow.
    generates = whole.generated <= whole.allowed
    _believed(model, whole, "the whole model's own", generates)
    for kept in islice(_kept_sets(model, stays), 2):  # every other layer, then the others
        found = _compare(model, kept, ids_BT, "the smaller model's")
        _believed(model, found, "the smaller model's", generates)


def _compare(model: Any, kept: Any, ids_BT: Any, whose: str) -> Agreement:
    depth = len(find_stack(model))
    wanted_BTV = masked_logits(model, [Unit(i, "layer") for i in kept], ids_BT)
    gone = [Remove(i) for i in range(depth) if i not in kept]
    try:
        with applied(model, gone):
            return compare(model, logits(model, ids_BT), wanted_BTV, ids_BT)
    except UnsupportedModel:
        raise
    except Exception as error:  # whatever stock code raises over a model that it cannot run
        raise _unexportable(model, f"{whose} decoding fails ({_kind(error)})") from None


def _believed(model: Any, agreement: Agreement, whose: str, generates: bool) -> None:
    found = {"logits are": agreement.logits, "cached decoding is": agreement.cached}
    found |= {"generation is": agreement.generated} if generates else {}
    for what, by in found.items():
        if not by <= agreement.allowed:
            raise _unexportable(model, f"{whose} {what} off by {by:.1e} in this transformers")


def _kept_sets(model: PreTrainedModel, stays: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """A few sets of layers to keep: each kind of layer stays, and each place is left out once."""
    depth = len(find_stack(model))
    kinds, half = _kinds(model, depth), depth // 2
    single = [(0,), (half - 1,), (half,), (depth - 1,)]
    for gone in (range(0, depth, 2), range(1, depth, 2), *single):
        kept = {*range(depth)} - {*gone} | {*stays}
        for kind in dict.fromkeys(kinds):  # a hybrid without any attention cannot generate
            if kind not in [kinds[i] for i in kept]:
                kept.add(kinds.index(kind))
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
        f"model type {model.config.model_type}: can be measured, cannot be exported, because "
        f"{why}; use layershap measure, values and search, which export nothing"
    )
