"""The configuration of a smaller model: every entry that counts layers, told anew.

Where an entry may be read in several ways (`decoder.surgery.readings`), the readings are tried
until the configuration makes the very layers that are meant (`decoder.surgery.blueprint`); so
nothing is believed for its name. Periods and offsets are found by what they make.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import nn

from decoder.model.structure import find_stack
from decoder.surgery.blueprint import Blueprint, blueprint, differences, rebuilt
from decoder.surgery.readings import derived_patterns, readings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Fit", "fit_settings"]

_RHYTHMS = re.compile("period|offset|interval|step|every|frequency|pattern")
_TRIES = 80  # models without weights that are made before an answer is given up


@dataclass(frozen=True)
class Fit:
    """What a configuration must say, and whether it can.

    Attributes:
        settings: values of the decoder's configuration.
        slices: weights outside the layers that hold a part for each layer: their names, each with
            the dimension along which the parts lie.
        trouble: why no configuration makes these layers; None where this one does.
    """

    settings: Mapping[str, Any]
    slices: Mapping[str, int]
    trouble: str | None


_KNOWN: WeakKeyDictionary[nn.Module, dict[Any, Fit]] = WeakKeyDictionary()
"""What was found for a model, by its configuration and the layers that remain."""


def fit_settings(
    model: PreTrainedModel,
    layers: Sequence[nn.Module],
    attention: Sequence[int],
    mlp: Sequence[int] | None = None,
) -> Fit:
    """Find the configuration of a model that has these layers.

    Args:
        model: the whole model, with weights or without.
        layers: modules of the smaller model, in depth order.
        attention: the layer that each has its attention from.
        mlp: the same for the MLP; from the same layers when omitted.
    """
    mlp = attention if mlp is None else mlp
    text = model.config.get_text_config(decoder=True)
    known = _KNOWN.setdefault(model, {})
    key = (model.config.to_json_string(use_diff=False), tuple(attention), tuple(mlp))
    if key not in known:
        search = _Search(model, text, blueprint(model, layers), attention, mlp)
        known[key] = search.best(readings(text, len(find_stack(model)), attention, mlp))
    return known[key]


class _Search:
    """Tries configurations until one makes the layers that are meant."""

    def __init__(
        self,
        model: PreTrainedModel,
        text: Any,
        wanted: Blueprint,
        attention: Sequence[int],
        mlp: Sequence[int],
    ) -> None:
        self._model = model
        self._text = text
        self._wanted = wanted
        self._patterns = derived_patterns(text, len(find_stack(model)), attention, mlp)
        self._tries = 0
        self._made: Blueprint | None = None

    def best(self, choices: Mapping[str, list[Any]]) -> Fit:
        """The configuration that makes the layers, or what is wrong with the nearest one."""
        settings = {name: values[0] for name, values in choices.items()}
        settings |= self._rhythm(settings)
        said = self._differences(settings)
        better = True
        while said and better:
            better = False
            for name, values in choices.items():
                for value in values[1:]:
                    if self._tries >= _TRIES:
                        break
                    other = {**settings, name: value}
                    now = self._differences(other)
                    if len(now) < len(said):
                        settings, said, better = other, now, True
        if said:
            return Fit(settings, {}, said[0])
        return self._outside(settings)

    def _differences(self, settings: Mapping[str, Any]) -> list[str]:
        self._tries += 1
        try:
            self._made = blueprint(rebuilt(self._model, settings))
        except Exception as error:  # whatever a configuration's own checks raise
            return [" ".join(str(error).split())[:200]] * 10_000
        return differences(self._made, self._wanted)

    def _outside(self, settings: Mapping[str, Any]) -> Fit:
        """Weights outside the layers must be the same, or hold an equal part for each layer."""
        assert self._made is not None
        depth, now = len(find_stack(self._model)), len(self._wanted.layers)
        own, made, slices = self._wanted.outside, self._made.outside, {}
        for name in dict.fromkeys((*own, *made)):
            one, other = own.get(name), made.get(name)
            if one == other:
                continue
            changed = [
                d for d, (a, b) in enumerate(zip(one or (), other or (), strict=False)) if a != b
            ]
            if (
                one is None
                or other is None
                or len(one) != len(other)
                or len(changed) != 1
                or one[changed[0]] * now != other[changed[0]] * depth
            ):
                return Fit(settings, {}, f"{name} {one} would be {other}")
            slices[name] = changed[0]
        return Fit(settings, slices, None)

    def _rhythm(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Periods and offsets that make the patterns which the configuration derives from them."""
        if not self._patterns or self._follows(settings, self._patterns):
            return {}
        own = vars(self._text)
        names = [n for n, v in own.items() if type(v) is int and _RHYTHMS.search(n)]
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(name.rpartition("_")[0], []).append(name)
        found: dict[str, Any] = {}
        for pattern, wanted in self._patterns.items():
            if not self._follows({**settings, **found}, {pattern: wanted}):
                found |= self._beat({**settings, **found}, groups.values(), pattern, wanted)
        return found

    def _beat(
        self, settings: dict[str, Any], groups: Iterable[list[str]], pattern: str, wanted: list[Any]
    ) -> dict[str, Any]:
        """The first period with its offset that makes one pattern; nothing where none does."""
        for group in groups:
            if len(group) > 2:
                continue
            for values in product(range(len(wanted) + 2), repeat=len(group)):
                told = dict(zip(group, values, strict=True))
                if self._follows({**settings, **told}, {pattern: wanted}):
                    return told
        return {}

    def _follows(self, settings: Mapping[str, Any], patterns: Mapping[str, Any]) -> bool:
        trial = copy.copy(self._text)
        vars(trial).update(settings)
        try:
            return all(list(getattr(trial, n)) == wanted for n, wanted in patterns.items())
        except Exception:  # a period of nought, say
            return False
