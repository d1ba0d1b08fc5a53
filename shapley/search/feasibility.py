"""Whether sets of a given size can save enough, decided exactly."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import Bounds, LinearConstraint, milp

__all__ = ["most_saved", "nearest_share", "some_set"]

TOLERANCE = 1e-9


def most_saved(amounts: Float[np.ndarray, "f"], count: int) -> float:
    """Returns the most that ``count`` distinct players can save together."""
    return float(np.sort(amounts)[::-1][:count].sum())


def some_set(
    amounts: Float[np.ndarray, "s f"], least: Float[np.ndarray, "s"], count: int
) -> Bool[np.ndarray, "f"] | None:
    """Returns a set of ``count`` players that saves enough of everything, None if there is none.

    The set saves the largest multiple of what is asked (see :func:`nearest_share`).

    Args:
        amounts: what each player saves, a row for each kind of saving.
        least: the least that must be saved of each kind.
        count: players in the set.
    """
    chosen, _ = _best_share(amounts, least, count)
    if chosen is None or not saves_enough(chosen[None], amounts, least)[0]:
        return None
    return chosen


def nearest_share(
    amounts: Float[np.ndarray, "s f"], least: Float[np.ndarray, "s"], count: int
) -> float:
    """Returns the largest share of all the savings that one set of ``count`` players reaches.

    A share of 1 or more means that the savings can be reached; ``-inf`` that a saving which asks
    for nothing positive cannot be met.

    Args:
        amounts: what each free player saves, one row a saving.
        least: what is asked for of each saving.
        count: size of the set.
    """
    return _best_share(amounts, least, count)[1]


def saves_enough(
    chosen: Bool[np.ndarray, "B f"],
    amounts: Float[np.ndarray, "s f"],
    least: Float[np.ndarray, "s"],
) -> Bool[np.ndarray, "B"]:
    """Returns which sets of chosen players save at least ``least``, up to rounding (1e-9).

    Args:
        chosen: rows over the free players, True = removed.
        amounts: what each free player saves, one row a saving.
        least: what is asked for of each saving.
    """
    slack = TOLERANCE * np.maximum(np.abs(least), np.abs(amounts).max(axis=1, initial=0.0))
    return np.asarray((chosen @ amounts.T >= least - slack).all(axis=1))


def _best_share(
    amounts: Float[np.ndarray, "s f"], least: Float[np.ndarray, "s"], count: int
) -> tuple[Bool[np.ndarray, "f"] | None, float]:
    """Maximises the share t: sums >= t * least where that is positive, sums >= least elsewhere."""
    players = amounts.shape[1]
    if count > players:
        return None, -np.inf
    scale = np.maximum(np.abs(amounts).max(axis=1, initial=0.0), np.abs(least))
    scale[scale == 0] = 1.0
    scaled, asked = amounts / scale[:, None], least / scale
    positive = asked > 0
    sums = np.column_stack([scaled, np.where(positive, -asked, 0.0)])
    cardinality = np.append(np.ones(players), 0.0)
    lowest, highest = np.append(np.zeros(players), -1e9), np.append(np.ones(players), 1e3)
    solved = milp(
        np.append(np.zeros(players), -1.0),
        constraints=[
            LinearConstraint(cardinality[None], count, count),
            LinearConstraint(sums, np.where(positive, 0.0, asked)),  # pyright: ignore[reportArgumentType]
        ],
        integrality=np.append(np.ones(players), 0),
        bounds=Bounds(lowest, highest),  # pyright: ignore[reportArgumentType]
        options={"mip_rel_gap": 0.0, "time_limit": 10.0},
    )
    if solved.x is None:
        return None, -np.inf
    return solved.x[:players] > 0.5, float(solved.x[-1])
