"""Games and values to and from shapiq (Muschalik et al., NeurIPS 2024), versions 1.4 to 1.8.

shapiq is imported when something of its own is made, and nothing else needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float

from shapley.game import FunctionGame, Game, default_players
from shapley.indices.interactions import Interactions
from shapley.values import Status, Values

__all__ = ["from_interaction_values", "from_shapiq", "to_interaction_values", "to_shapiq"]

ORDER_ONE = {"SV": "shapley", "BV": "banzhaf"}


class _ShapiqGame(Protocol):
    @property
    def n_players(self) -> int: ...

    def __call__(self, coalitions: Any, /) -> Any: ...


class _InteractionValues(Protocol):
    index: str
    max_order: int
    n_players: int
    estimated: bool
    estimation_budget: int | None

    @property
    def dict_values(self) -> dict[tuple[int, ...], float]: ...


def from_shapiq(game: _ShapiqGame) -> Game:
    """Returns a game that asks a game of shapiq.

    Args:
        game: a ``shapiq.Game``, or any function of a boolean matrix that has ``n_players``. Its
            player names are taken over, if it has them. Utilities are what it answers: those of
            a normalised game of shapiq are shifted so that the empty coalition has none.

    Raises:
        ValueError: if it does not tell how many players it has.
    """
    n = getattr(game, "n_players", None)
    if not callable(game) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(
            "game must be callable and have n_players of at least 1; pass a shapiq.Game or set it"
        )
    lookup: Mapping[str, int] = getattr(game, "player_name_lookup", None) or {}
    named = sorted(lookup, key=lookup.__getitem__) if len(lookup) == n else default_players(int(n))

    def answer(rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        # shapiq refuses an empty matrix, and hands one row's utility back in any shape.
        return np.asarray(game(rows), dtype=np.float64).reshape(-1) if len(rows) else np.zeros(0)

    return FunctionGame(answer, [str(name) for name in named])


def to_shapiq(game: Game) -> Any:
    """Returns a ``shapiq.Game`` that asks a game, with its names and its utilities unshifted.

    Raises:
        ImportError: if shapiq is not installed.
    """
    base: Any = _shapiq().Game

    class AskedByShapiq(base):
        """A game of this project, asked by shapiq."""

        def value_function(self, coalitions: Any) -> Float[np.ndarray, "B"]:
            rows = np.atleast_2d(np.asarray(coalitions)).astype(bool)
            return np.array(game(rows), dtype=np.float64)  # a copy: callers write into it

    return AskedByShapiq(
        n_players=len(game.players), normalize=False, player_names=list(game.players)
    )


def to_interaction_values(
    found: Values | Interactions,
    values: Values | None = None,
    *,
    index: Literal["SII", "k-SII"] = "SII",
    baseline: float = 0.0,
) -> Any:
    """Returns values or interactions as ``shapiq.InteractionValues``, for its plots and tools.

    Values become index ``SV`` (``BV`` for Banzhaf values) of order 1. Interactions become order 2
    of the Shapley interaction index, or of ``k-SII``, whose order 1 is
    ``phi_i - 1/2 sum_j I_ij`` (Bordt & von Luxburg, AISTATS 2023). Standard errors have no place
    there and are left behind.

    Args:
        found: what to convert.
        values: Shapley values of the same players, the order 1 of interactions. Without them an
            ``SII`` has pairs only.
        index: of interactions.
        baseline: utility of the empty coalition, which results do not hold.

    Raises:
        ImportError: if shapiq is not installed.
        ValueError: if the values are size-restricted, are not of the same players, or are
            missing for ``k-SII``.
    """
    n = len(found.players)
    if isinstance(found, Values):
        if found.kind not in ORDER_ONE.values():
            raise ValueError(
                f"values of kind {found.kind!r} have no index in shapiq; pass Shapley or Banzhaf"
                " values"
            )
        name = next(name for name, kind in ORDER_ONE.items() if kind == found.kind)
        entries = {(i,): float(value) for i, value in enumerate(found.values)}
        return _interaction_values(entries, found, name, 1, baseline)
    entries = {
        (i, j): float(found.values[i, j]) for i in range(n) for j in range(i + 1, n)
    }  # shapiq keeps one entry a pair, in ascending order
    if index not in ("SII", "k-SII"):
        raise ValueError(f'index must be "SII" or "k-SII", got {index!r}')
    if values is None and index == "k-SII":
        raise ValueError("values must be given for k-SII, whose order 1 is made from them")
    if values is not None:
        if values.players != found.players or values.kind != "shapley":
            raise ValueError("values must be Shapley values of the players of the interactions")
        half = found.values.sum(axis=1) / 2 if index == "k-SII" else np.zeros(n)
        entries |= {(i,): float(values.values[i] - half[i]) for i in range(n)}
    return _interaction_values(entries, found, index, 2, baseline)


def from_interaction_values(
    found: _InteractionValues, players: Sequence[str] | None = None, *, order: int | None = None
) -> Values | Interactions:
    """Returns what ``shapiq.InteractionValues`` hold, which shapiq need not be there for.

    Args:
        found: of index ``SV``, ``BV``, ``SII``, or ``k-SII`` of order 2.
        players: names; ``p0, p1, ...`` when omitted.
        order: 1 for values, 2 for interactions; the highest that there is, up to 2, when
            omitted.

    Returns:
        Values or interactions without standard errors (zero if shapiq calls them exact), with
        the budget that shapiq names as their spend.

    Raises:
        ValueError: if the index or the order is none of these, or the names do not fit.
    """
    names = default_players(found.n_players) if players is None else tuple(players)
    if len(names) != found.n_players:
        raise ValueError(f"players must name all {found.n_players} players, got {len(names)}")
    pairs = found.index == "SII" or (found.index == "k-SII" and found.max_order == 2)
    if found.index not in ORDER_ONE and not pairs:
        raise ValueError(
            f"index {found.index} of order {found.max_order} has no counterpart here; compute SV,"
            " BV, SII, or k-SII of order 2"
        )
    wanted = min(found.max_order, 2) if order is None else order
    if wanted not in (1, 2) or wanted > found.max_order:
        raise ValueError(f"order must be 1 or 2 and at most {found.max_order}, got {order}")
    entries = found.dict_values
    n = len(names)
    singles = np.array([entries.get((i,), 0.0) for i in range(n)])
    matrix = np.zeros((n, n))
    for key, value in entries.items():
        if len(key) == 2:
            matrix[key[0], key[1]] = matrix[key[1], key[0]] = value
    spent = int(found.estimation_budget or (0 if found.estimated else 1 << n))
    if wanted == 2:
        status = Status.ESTIMATED if found.estimated else Status.EXACT
        errors = np.full((n, n), np.nan) if found.estimated else np.zeros((n, n))
        return Interactions(names, matrix, errors, spent, status)
    if found.index == "k-SII":
        singles = singles + matrix.sum(axis=1) / 2
    return Values.build(
        names,
        singles,
        None if found.estimated else np.zeros(n),
        method=f"shapiq {found.index}",
        kind=ORDER_ONE.get(found.index, "shapley"),
        status=Status.WITHOUT_ERRORS if found.estimated else Status.EXACT,
        spent=spent,
        budget=found.estimation_budget,
    )


def _interaction_values(
    entries: dict[tuple[int, ...], float],
    found: Values | Interactions,
    index: str,
    order: int,
    baseline: float,
) -> Any:
    # In shapiq, the empty interaction of SV and k-SII is the baseline; that of SII and BV is a
    # mean over all coalitions, which is not known here.
    lowest = 0 if index in ("SV", "k-SII") else min(len(key) for key in entries) if entries else 1
    if lowest == 0:
        entries = {(): baseline, **entries}
    exact = found.status is Status.EXACT
    make: Callable[..., Any] = _shapiq().InteractionValues
    return make(
        dict(sorted(entries.items(), key=lambda entry: (len(entry[0]), entry[0]))),
        index=index,
        max_order=order,
        min_order=lowest,
        n_players=len(found.players),
        estimated=not exact,
        estimation_budget=None if exact else found.spent,
        baseline_value=baseline,
    )


def _shapiq() -> Any:
    try:
        return import_module("shapiq")
    except ImportError as error:
        raise ImportError(
            "shapiq is needed for this; pip install shapiq (1.8 needs Python 3.12, older Pythons"
            f" get 1.4): {error}"
        ) from None
