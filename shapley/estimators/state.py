"""What a state has measured and what it lacks: shared by all estimators."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import empty, enumerate_all, full, keys
from shapley.estimator import State
from shapley.game import TableGame
from shapley.indices.exact import MOST_PLAYERS, exact_values
from shapley.values import Values

__all__ = ["ends", "exact_if_complete", "is_complete", "known_ends", "rest", "unmeasured"]


def ends(n: int) -> Bool[np.ndarray, "2 n"]:
    """Returns the full and the empty coalition, which every estimator measures first."""
    return np.stack([full(n), empty(n)])


def unmeasured(state: State, rows: Bool[np.ndarray, "B n"], count: int) -> Bool[np.ndarray, "k n"]:
    """Returns the first ``count`` of distinct rows that the state has not measured.

    Args:
        state: what is measured so far.
        rows: distinct coalitions, True = kept.
        count: most rows to return.
    """
    known = set(keys(state.coalitions))
    fresh = np.array([key not in known for key in keys(rows)], dtype=bool)
    return rows[fresh][:count]


def rest(state: State, count: int) -> Bool[np.ndarray, "k n"]:
    """Returns up to ``count`` coalitions that were not measured, in order of enumeration.

    Games too large to be enumerated have no rest.
    """
    if state.n > MOST_PLAYERS:
        return np.empty((0, state.n), dtype=bool)
    return unmeasured(state, enumerate_all(state.n), count)


def is_complete(state: State) -> bool:
    """Tells whether all ``2^n`` coalitions are measured."""
    return state.spent == 1 << state.n


def exact_if_complete(state: State, method: str) -> Values | None:
    """Returns the exact values under an estimator's name, or None if coalitions are missing."""
    if not is_complete(state):
        return None
    table = np.empty(1 << state.n)
    table[state.coalitions @ (1 << np.arange(state.n, dtype=np.int64))] = state.utilities
    return dataclasses.replace(exact_values(TableGame(table, state.players)), method=method)


def known_ends(state: State) -> Float[np.ndarray, "2"]:
    """Returns the utilities of the full and the empty coalition.

    Raises:
        ValueError: if one of them was not measured.
    """
    sizes = state.coalitions.sum(axis=1)
    places = [np.flatnonzero(sizes == size) for size in (state.n, 0)]
    for place, name in zip(places, ("full", "empty"), strict=True):
        if not len(place):
            raise ValueError(
                f"state must contain the {name} coalition, {state.spent} others are measured;"
                " allow a budget of at least 2"
            )
    return np.array([state.utilities[place[0]] for place in places])
