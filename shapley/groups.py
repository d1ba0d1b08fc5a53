"""Groups of players: the game between groups, and sums of their members' values.

The two answer different questions. In :func:`grouped` a group is one player that is kept or removed
whole: its value tells what the group is worth as a unit, whatever its members do for each other.
:func:`group_sums` adds up what the members are worth when each may be kept or removed alone. Both
share out ``v(N) - v(empty)`` for Shapley values; they differ by the interactions between members
of a group and members of others (a group of substitutes is worth more as a unit).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from shapley.game import FunctionGame, Game
from shapley.values import Values

__all__ = ["group_sums", "grouped"]


def grouped(game: Game, groups: Mapping[str, Sequence[int]]) -> Game:
    """Returns the game whose players are the groups (the quotient game, Owen 1977).

    Any estimator gives the values of groups; one evaluation of the result is one of ``game``.

    Args:
        game: the game between single players.
        groups: names of the groups and the indices of their members; each player in one group.

    Raises:
        ValueError: if a player is in no group or in several, or a group is empty.
    """
    group_of = _group_of(groups, game.players)

    def utilities(coalitions: Bool[np.ndarray, "B G"]) -> Float[np.ndarray, "B"]:
        return game(coalitions[:, group_of])

    return FunctionGame(utilities, tuple(groups))


def group_sums(
    values: Values,
    groups: Mapping[str, Sequence[int]],
    covariance: Float[np.ndarray, "n n"] | None = None,
) -> Values:
    """Returns the sum of the members' values for each group.

    Args:
        values: of the single players.
        groups: names of the groups and the indices of their members; each player in one group.
        covariance: of the values' errors. When omitted, errors count as independent; errors of
            values that add up to a known total are not quite, and the sums' are then too wide.

    Raises:
        ValueError: if a player is in no group or in several, a group is empty, or the covariance
            does not fit.
    """
    n = len(values.players)
    group_of = _group_of(groups, values.players)
    members = (group_of == np.arange(len(groups))[:, None]).astype(np.float64)
    if covariance is None:
        # A sum over each group's own members: a NaN must not reach the other groups.
        variance = np.bincount(group_of, values.standard_errors**2, minlength=len(groups))
    else:
        spread = np.asarray(covariance, dtype=np.float64)
        if spread.shape != (n, n):
            raise ValueError(f"covariance must be [{n}, {n}], got shape {list(spread.shape)}")
        variance = np.maximum(np.einsum("gi,ij,gj->g", members, spread, members), 0.0)
    return Values.build(
        tuple(groups),
        members @ values.values,
        np.sqrt(variance),
        method=f"{values.method}, sums of groups",
        status=values.status,
        spent=values.spent,
        budget=values.budget,
        kind=values.kind,
        quantile=values.quantile,
        diagnostics=values.diagnostics,
    )


def _group_of(groups: Mapping[str, Sequence[int]], players: Sequence[str]) -> Int[np.ndarray, "n"]:
    """Returns the place of each player's group."""
    n = len(players)
    group_of = np.full(n, -1)
    for at, (name, members) in enumerate(groups.items()):
        if not len(members):
            raise ValueError(f"groups has {name!r} without members; leave it out")
        for member in members:
            if not 0 <= member < n:
                raise ValueError(
                    f"groups has player {member} in {name!r}; players are 0 to {n - 1}"
                )
            if group_of[member] >= 0:
                raise ValueError(f"groups has {players[member]} twice; put it in one group")
            group_of[member] = at
    if (group_of < 0).any():
        missing = players[int(np.argmin(group_of))]
        raise ValueError(f"groups must hold every player, {missing} is in none; add it to one")
    return group_of
