"""What makes a model smaller: a tuple of edits, which is data and fits any copy of the model.

Layers are always numbered as in the original model. `decoder.surgery.apply.applied` makes the
smaller model for as long as a context lasts, `decoder.surgery.export.write` makes a checkpoint of
it; nothing else makes one. Merges come first, in their order; the order of all other edits does not
matter. A patch names its values by their digest; the values themselves lie beside the edits.
"""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

__all__ = [
    "Edit",
    "EditError",
    "Edits",
    "Merge",
    "Patch",
    "Remove",
    "Repack",
    "ZeroHalf",
    "canonical",
    "check_edits",
    "edits_from_json",
    "edits_to_json",
    "fingerprint",
]

Half = Literal["attention", "mlp"]

_DIGEST = re.compile("[0-9a-f]{32}")

MOST_LAYERS = 100_000
"""No decoder is so deep: larger numbers in a file are mistakes."""


class EditError(ValueError):
    """An edit is not one, contradicts another, or does not fit the model."""


@dataclass(frozen=True)
class Remove:
    """Delete a whole layer.

    Attributes:
        layer: which.
    """

    kind: ClassVar[str] = "remove"
    layer: int

    def __post_init__(self) -> None:
        _check_layer("layer", self.layer)


@dataclass(frozen=True)
class ZeroHalf:
    """Make all weights of one half of a layer zero, so that it adds nothing; the layer stays.

    Attributes:
        layer: which.
        part: "attention" or "mlp".
    """

    kind: ClassVar[str] = "zero_half"
    layer: int
    part: Half

    def __post_init__(self) -> None:
        _check_layer("layer", self.layer)
        if self.part not in ("attention", "mlp"):
            raise EditError(f"part must be attention or mlp, got {_shown(self.part)}")


@dataclass(frozen=True)
class Repack:
    """Make one layer of the attention of a layer and the MLP of a later one; the rest of both goes.

    Every layer between them must be gone by other edits.

    Attributes:
        attention: the layer whose attention half stays.
        mlp: the later layer whose MLP half stays.
    """

    kind: ClassVar[str] = "repack"
    attention: int
    mlp: int

    def __post_init__(self) -> None:
        _check_layer("attention", self.attention)
        _check_layer("mlp", self.mlp)
        if self.mlp <= self.attention:
            raise EditError(
                f"mlp {self.mlp} must be a layer after the attention's, which is {self.attention}"
            )


@dataclass(frozen=True)
class Merge:
    """Add what layers have more than an earlier one to that one, and delete them (LaCo).

    Attributes:
        into: the layer that takes the others' weights and stays.
        layers: those that are merged into it and go, all of them deeper.
    """

    kind: ClassVar[str] = "merge"
    into: int
    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        _check_layer("into", self.into)
        if not isinstance(self.layers, tuple):
            raise EditError(f"layers must be a list of layers, got {_shown(self.layers)}")
        for layer in self.layers:
            _check_layer("layers", layer)
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise EditError(f"layers must name distinct layers to merge into {self.into}")
        if min(self.layers) <= self.into:
            raise EditError(
                f"layers: {min(self.layers)} is not deeper than {self.into}; merge deeper layers "
                "into an earlier one"
            )


@dataclass(frozen=True)
class Patch:
    """Give parameters of the original other values, which `decoder.surgery.patch` stores.

    Attributes:
        parameters: names in the original model, sorted.
        digest: of the values, 32 hexadecimal digits (see `decoder.surgery.patch.digest_of`).
    """

    kind: ClassVar[str] = "patch"
    parameters: tuple[str, ...]
    digest: str

    def __post_init__(self) -> None:
        names = self.parameters
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise EditError(f"parameters must be a list of names, got {_shown(names)}")
        if not names or list(names) != sorted(set(names)):
            raise EditError("parameters must name distinct parameters in alphabetical order")
        if not isinstance(self.digest, str) or not _DIGEST.fullmatch(self.digest):
            raise EditError(f"digest must be 32 hexadecimal digits, got {_shown(self.digest)}")


Edit = Remove | ZeroHalf | Repack | Merge | Patch
Edits = tuple[Edit, ...]

_ALL = (Remove, ZeroHalf, Repack, Merge, Patch)
_KINDS: Mapping[str, Callable[..., Edit]] = {one.kind: one for one in _ALL}
_FIELDS = {one.kind: tuple(field.name for field in fields(one)) for one in _ALL}


def canonical(edits: Iterable[Edit]) -> Edits:
    """Sort edits so that equal smaller models have equal tuples.

    Args:
        edits: in any order, save for merges, which are done one after the other.

    Returns:
        Merges in their order, then all others by layer.
    """
    found = tuple(edits)
    merges = [edit for edit in found if isinstance(edit, Merge)]
    others = [edit for edit in found if not isinstance(edit, Merge)]
    return (*merges, *sorted(others, key=lambda edit: (_layers(edit), edit.kind, str(edit))))


def fingerprint(edits: Iterable[Edit]) -> str:
    """Tell smaller models of one model apart by their content, the same in every process.

    Args:
        edits: what makes the smaller model.

    Returns:
        32 hexadecimal digits.
    """
    text = json.dumps(edits_to_json(canonical(edits)), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def edits_to_json(edits: Iterable[Edit]) -> list[dict[str, Any]]:
    """Write edits as JSON values: one object each, its `kind` and its fields.

    Args:
        edits: in the order to write.
    """
    return [
        {
            "kind": edit.kind,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(edit).items()},
        }
        for edit in edits
    ]


def edits_from_json(content: object) -> Edits:
    """Read edits from what a JSON file holds, trusting none of it.

    Args:
        content: a list of edits as `edits_to_json` writes them, or an object that has it as
            `edits`, as `layershap.json` beside an export does.

    Raises:
        EditError: it is something else; the message names the edit and the rule.
    """
    listed = content.get("edits") if isinstance(content, Mapping) else content
    if not isinstance(listed, list):
        raise EditError(
            "holds no list of edits; name a layershap.json of an export, or such a list"
        )
    found = []
    for number, one in enumerate(listed, 1):
        try:
            found.append(_read(one))
        except EditError as error:
            raise EditError(f"edit {number}: {error}") from None
    return tuple(found)


def check_edits(edits: Sequence[Edit], depth: int) -> None:
    """Refuse edits that contradict each other or that a model has not the layers for.

    Args:
        edits: what makes the smaller model.
        depth: decoder layers of the original.

    Raises:
        EditError: they do; the message names the edit.
    """
    there, whole = set(range(depth)), set(range(depth))
    edits = canonical(edits)
    merged_into: set[int] = set()
    for edit in edits:
        for layer in _layers(edit):
            if layer >= depth:
                raise EditError(
                    f"{edit}: there is no layer {layer}; the model has layers 0 to {depth - 1}"
                )
        if isinstance(edit, Merge):
            _take(edit, (edit.into, *edit.layers), there)
            there -= set(edit.layers)
            merged_into.add(edit.into)
    for edit in edits:
        if isinstance(edit, Remove):
            _take(edit, (edit.layer,), there)
            if edit.layer in merged_into:
                raise EditError(f"{edit}: others were merged into it; leave out one of the two")
            there.remove(edit.layer)
    if sum(isinstance(edit, Patch) for edit in edits) > 1:
        raise EditError("more than one patch; give all new values in a single one")
    if not there:
        raise EditError("removing every layer leaves no model; keep at least one")
    for edit in edits:
        if isinstance(edit, Repack):
            between = there.intersection(range(edit.attention + 1, edit.mlp))
            if between:
                raise EditError(f"{edit}: layer {min(between)} between them stays; remove it too")
        if isinstance(edit, Repack | ZeroHalf):
            # Two edits of one layer's halves would leave it without any, or are the same.
            _take(edit, _layers(edit), there & whole)
            whole -= set(_layers(edit))


def _take(edit: Edit, layers: Iterable[int], there: set[int]) -> None:
    gone = [layer for layer in layers if layer not in there]
    if gone:
        raise EditError(
            f"{edit}: layer {gone[0]} is gone or changed by another edit; name each layer once, "
            "and remove a layer whose halves both go"
        )


def _layers(edit: Edit) -> tuple[int, ...]:
    if isinstance(edit, Merge):
        return (edit.into, *edit.layers)
    if isinstance(edit, Patch):
        return ()
    return (edit.attention, edit.mlp) if isinstance(edit, Repack) else (edit.layer,)


def _read(one: object) -> Edit:
    if not isinstance(one, Mapping):
        raise EditError(f"must be an object with a kind, got {_shown(one)}")
    kind = one.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise EditError(f"unknown kind {_shown(kind)}; kinds are {', '.join(_KINDS)}")
    wanted, given = {"kind", *_FIELDS[kind]}, set(one)
    if given != wanted:
        raise EditError(
            f"{kind} needs {' and '.join(_FIELDS[kind])} and nothing else, got "
            f"{_shown(sorted(map(str, given - {'kind'})))}"
        )
    values = {name: one[name] for name in _FIELDS[kind]}
    for name in ("layers", "parameters"):
        if isinstance(values.get(name), list):
            values[name] = tuple(values[name])
    return _KINDS[kind](**values)


def _check_layer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_LAYERS:
        raise EditError(f"{name} must be a layer's number, counted from 0, got {_shown(value)}")


def _shown(value: object) -> str:
    """A value on one line, whatever it is, cut where it is long."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # an integer of too many digits to be written
        return "a number of too many digits"
