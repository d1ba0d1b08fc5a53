"""Why a set was chosen where it is not simply the least valuable players."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from layershap.results.value_text import percent_text
from layershap.results.values import Values

__all__ = ["MeasuredCosts", "PairReason", "SetReason", "why_set"]

_Pairs = list[tuple[int, int]]

MOST_ERRORS = 2.0
"""Standard errors that an interaction must be from zero to explain anything."""


@dataclass(frozen=True)
class PairReason:
    """A pair of players that speaks against the least valuable ones, or for the chosen ones.

    Attributes:
        first: a player's name.
        second: another's.
        interaction: theirs, in units of the values.
        kind: ``cover`` where each covers for the other, so that removing both costs more than the
            two alone suggest; ``break`` where the one is worth less without the other, so that
            removing both costs less.
    """

    first: str
    second: str
    interaction: float
    kind: Literal["cover", "break"]


@dataclass(frozen=True)
class SetReason:
    """What explains a set beside the least valuable players.

    Attributes:
        least: as many players of least value, the least valuable first.
        same: whether they are the set.
        pairs: what tells the two sets apart, the strongest first; at most one of each kind.
        cheaper: by how much the set was measured to cost less than the least valuable players, in
            units of the utility; None where one of them was not measured.
        sentence: all of it for people, one line.
    """

    least: tuple[str, ...]
    same: bool
    pairs: tuple[PairReason, ...]
    cheaper: float | None
    sentence: str


class MeasuredCosts:
    """What sets were measured to cost, by the players that they remove."""

    def __init__(
        self, coalitions: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"]
    ) -> None:
        """Keeps measurements; those that are not finite are left out."""
        self._known = {
            frozenset(np.flatnonzero(~row).tolist()): float(utility)
            for row, utility in zip(coalitions, utilities, strict=True)
            if math.isfinite(utility)
        }

    def __call__(self, removed: Sequence[int]) -> float | None:
        """Returns how far a set is below the whole model; None where it was not measured."""
        whole, found = self._known.get(frozenset()), self._known.get(frozenset(removed))
        return None if whole is None or found is None else whole - found


def why_set(
    values: Values,
    removed: Sequence[int],
    cost_of: Callable[[Sequence[int]], float | None],
    unit: str,
    noun: str = "layer",
) -> SetReason:
    """Returns why a set was chosen, from the values, the interactions and what was measured.

    Args:
        values: of the run.
        removed: players of the set.
        cost_of: what a set was measured to cost on the text that decided, such as
            :class:`MeasuredCosts`.
        unit: what costs are counted in.
        noun: what a player is called.
    """
    k = len(removed)
    players = values.headline.players
    order = values.headline.ranking()[:k].tolist()
    least = tuple(players[player] for player in order)
    if set(order) == set(removed):
        these = f"the {noun} of least value" if k == 1 else f"the {k} {noun}s of least value"
        return SetReason(least, True, (), 0.0, f"{_upper(these)} {_is(k)} what the search chose.")
    pairs = _pairs(values, set(order), set(removed))
    costs = cost_of(order), cost_of(removed)
    cheaper = None if costs[0] is None or costs[1] is None else costs[0] - costs[1]
    reasons = [_of_pair(pair, values) for pair in pairs] or [
        f"a single {noun}’s value does not decide alone"
        if k == 1
        else "no single pair tells the two sets apart"
    ]
    start = f"Not the {k} least values" if k > 1 else "Not the least value"
    sentence = f"{start} ({', '.join(least)}): {', and '.join(reasons)}; {_told(cheaper, unit)}."
    return SetReason(least, False, tuple(pairs), cheaper, sentence)


def _pairs(values: Values, least: set[int], chosen: set[int]) -> list[PairReason]:
    """The strongest pair against the one set and the strongest for the other.

    A pair counts only where no pair of the other set is as strong: retention of players that have
    nothing to do with each other multiplies, which gives all pairs a small interaction above 0.
    """
    matrix = np.array(values.interactions, dtype=float)
    errors = values.interaction_standard_errors
    spread = np.zeros_like(matrix) if errors is None else np.array(errors, dtype=float)
    sure = np.abs(matrix) > MOST_ERRORS * np.nan_to_num(spread)
    players = values.headline.players
    against, for_it = _only(least, chosen), _only(chosen, least)
    found: list[PairReason] = []
    kinds: tuple[tuple[_Pairs, _Pairs, int, Literal["cover", "break"]], ...] = (
        (against, for_it, -1, "cover"),
        (for_it, against, 1, "break"),
    )
    for pairs, others, sign, kind in kinds:
        rest = max((sign * float(matrix[pair]) for pair in others), default=0.0)
        strong = [pair for pair in pairs if sure[pair] and sign * matrix[pair] > max(0.0, rest)]
        if strong:
            i, j = max(strong, key=lambda pair: sign * float(matrix[pair]))
            found.append(PairReason(players[i], players[j], float(matrix[i, j]), kind))
    return sorted(found, key=lambda pair: -abs(pair.interaction))


def _only(inside: set[int], other: set[int]) -> _Pairs:
    """Pairs of one set that are not both in the other."""
    pairs = itertools.combinations(sorted(inside), 2)
    return [pair for pair in pairs if not set(pair) <= other]


def _of_pair(pair: PairReason, values: Values) -> str:
    size = abs(pair.interaction)
    much = f"{size:.3f} {values.unit}"
    if values.value_of != "loss":
        much = percent_text(size)
        much += " points of retention" if values.value_of == "retention" else " points of the score"
    names = f"{pair.first} and {pair.second}"
    if pair.kind == "cover":
        return (
            f"{names} each cover for the other, so removing both costs {much} more than the two "
            "alone suggest"
        )
    return f"{names} break together, so removing both costs {much} less than the two alone suggest"


def _told(cheaper: float | None, unit: str) -> str:
    if cheaper is None:
        return "the set of the least values was not measured"
    size = f"{abs(cheaper):.3f} {unit}"
    if cheaper >= 0:
        return f"the chosen set was measured {size} cheaper"
    return (
        f"the set of the least values was measured {size} cheaper, but keeps to no limit of the "
        "search or was measured after it"
    )


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
