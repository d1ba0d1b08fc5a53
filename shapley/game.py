"""Games: anything that tells the utility of coalitions. Every estimator and search takes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import enumerate_all, keys

__all__ = [
    "BudgetExceeded",
    "BudgetedGame",
    "FunctionGame",
    "Game",
    "ObservedGame",
    "TableGame",
    "UnknownCoalition",
    "default_players",
    "evaluate",
    "tabulate",
]


class BudgetExceeded(ValueError):
    """More distinct coalitions were asked for than the budget allows."""


class UnknownCoalition(KeyError, ValueError):
    """A coalition was asked for that was never measured."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


@runtime_checkable
class Game(Protocol):
    """A cooperative game: names of players and the utility of any of their coalitions."""

    @property
    def players(self) -> tuple[str, ...]:
        """Names of the ``n`` players, in depth order."""
        ...

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns one utility a row; True means that the player is kept; higher is better."""
        ...


class TableGame:
    """A game given by the utilities of all ``2^n`` coalitions."""

    def __init__(
        self, values: Float[np.ndarray, "M"], players: Sequence[str] | None = None
    ) -> None:
        """Builds the game.

        Args:
            values: utilities; bit ``i`` of a position tells whether player ``i`` is kept.
            players: names; ``p0, p1, ...`` when omitted.

        Raises:
            ValueError: if the length is not a power of two of at least 2, an entry is not
                finite, or the names do not fit.
        """
        table = np.array(values, dtype=np.float64)
        n = table.size.bit_length() - 1
        if table.ndim != 1 or n < 1 or table.size != 1 << n:
            raise ValueError(
                f"values must hold 2^n utilities in one dimension, got shape {list(table.shape)};"
                " give one utility for each coalition"
            )
        if not np.isfinite(table).all():
            raise ValueError("values must be finite; measure or replace the missing utilities")
        table.setflags(write=False)
        self.values = table
        self.players = _names(players, n)
        self._powers = 1 << np.arange(n, dtype=np.int64)

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Looks the utilities up."""
        return self.values[_checked(coalitions, len(self.players)) @ self._powers]


class FunctionGame:
    """A game given by a function of a batch of coalitions."""

    def __init__(
        self,
        function: Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]],
        players: Sequence[str] | int,
    ) -> None:
        """Builds the game from a batched function and the names (or the number) of players."""
        self._function = function
        self.players = (
            default_players(players) if isinstance(players, int) else _names(players, len(players))
        )

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Calls the function.

        Raises:
            ValueError: if it does not return one utility a row.
        """
        rows = _checked(coalitions, len(self.players))
        utilities = np.asarray(self._function(rows), dtype=np.float64)
        if utilities.shape != (len(rows),):
            raise ValueError(
                f"function returned shape {list(utilities.shape)} for {len(rows)} coalitions;"
                " return one utility a row"
            )
        return utilities


class BudgetedGame:
    """Wraps a game: remembers utilities, counts distinct coalitions and enforces a budget."""

    def __init__(self, game: Game, budget: int | None) -> None:
        """Wraps ``game``; ``budget`` is the most distinct coalitions, None for no limit."""
        if budget is not None and budget < 0:
            raise ValueError(f"budget must be at least 0 coalitions, got {budget}")
        self.game = game
        self.budget = budget
        self.players = tuple(game.players)
        self._known: dict[bytes, float] = {}

    @property
    def spent(self) -> int:
        """Number of distinct coalitions evaluated so far."""
        return len(self._known)

    @property
    def remaining(self) -> float:
        """Number of distinct coalitions that may still be evaluated (inf without a budget)."""
        return float("inf") if self.budget is None else self.budget - self.spent

    def unknown(self, coalitions: Bool[np.ndarray, "B n"]) -> int:
        """Returns how many distinct coalitions of the batch would have to be paid for."""
        return len({key for key in keys(coalitions) if key not in self._known})

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns utilities, asking the wrapped game once for each coalition never seen before.

        Raises:
            BudgetExceeded: before anything is evaluated, if the batch does not fit.
        """
        rows = _checked(coalitions, len(self.players))
        row_keys = keys(rows)
        fresh: dict[bytes, int] = {}
        for position, key in enumerate(row_keys):
            if key not in self._known:
                fresh.setdefault(key, position)
        if len(fresh) > self.remaining:
            raise BudgetExceeded(
                f"budget of {self.budget} distinct coalitions is exceeded: {self.spent} spent,"
                f" {len(fresh)} more asked for; raise the budget or ask for fewer coalitions"
            )
        if fresh:
            utilities = self.game(rows[list(fresh.values())])
            self._known.update(zip(fresh, map(float, utilities), strict=True))
        return np.array([self._known[key] for key in row_keys], dtype=np.float64)


class ObservedGame:
    """A game that knows measured coalitions and refuses to guess any other."""

    def __init__(
        self,
        coalitions: Bool[np.ndarray, "m n"],
        utilities: Float[np.ndarray, "m"],
        players: Sequence[str] | None = None,
    ) -> None:
        """Builds the game from measurements.

        Raises:
            ValueError: if the shapes do not fit or one coalition has two different utilities.
        """
        rows = np.asarray(coalitions)
        measured = np.asarray(utilities, dtype=np.float64)
        if measured.shape != (len(rows),):
            raise ValueError(
                f"utilities must hold one value for each of {len(rows)} coalitions,"
                f" got shape {list(measured.shape)}"
            )
        self.players = _names(players, rows.shape[1])
        self._known: dict[bytes, float] = {}
        for key, utility in zip(keys(rows), measured.tolist(), strict=True):
            if self._known.setdefault(key, utility) != utility:
                raise ValueError(
                    "coalitions has one row with two different utilities; average repeats first"
                )

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Looks measurements up.

        Raises:
            UnknownCoalition: naming the first coalition that was never measured.
        """
        rows = _checked(coalitions, len(self.players))
        found = np.empty(len(rows))
        for position, key in enumerate(keys(rows)):
            if key not in self._known:
                removed = ",".join(str(i) for i in np.flatnonzero(~rows[position]))
                raise UnknownCoalition(
                    f"coalition without players [{removed}] was never measured;"
                    " measure it or ask a surrogate"
                )
            found[position] = self._known[key]
        return found


def default_players(n: int) -> tuple[str, ...]:
    """Returns the names ``p0, p1, ...`` of ``n`` players."""
    if n < 1:
        raise ValueError(f"n must be at least 1 player, got {n}")
    return tuple(f"p{i}" for i in range(n))


def evaluate(
    game: Game, coalitions: Bool[np.ndarray, "B n"], chunk: int = 65_536
) -> Float[np.ndarray, "B"]:
    """Returns the utilities of many coalitions, asking for at most ``chunk`` rows at a time.

    Args:
        game: any game.
        coalitions: rows, True = kept.
        chunk: most rows of one call.
    """
    if len(coalitions) <= chunk:
        return np.asarray(game(coalitions), dtype=np.float64)
    parts = [game(coalitions[at : at + chunk]) for at in range(0, len(coalitions), chunk)]
    return np.concatenate(parts).astype(np.float64, copy=False)


def tabulate(game: Game) -> Float[np.ndarray, "M"]:
    """Returns the utilities of all ``2^n`` coalitions, bit ``i`` of a position is player ``i``.

    Raises:
        ValueError: if the game has more than 24 players.
    """
    if isinstance(game, TableGame):
        return game.values
    return evaluate(game, enumerate_all(len(game.players)))


def _names(players: Sequence[str] | None, n: int) -> tuple[str, ...]:
    names = default_players(n) if players is None else tuple(players)
    if len(names) != n or n < 1:
        raise ValueError(f"players must name all {n} players, got {len(names)} names")
    if len(set(names)) != n:
        raise ValueError("players must be distinct names; rename the repeated one")
    return names


def _checked(coalitions: Bool[np.ndarray, "B n"], n: int) -> Bool[np.ndarray, "B n"]:
    rows = np.asarray(coalitions)
    if rows.ndim != 2 or rows.dtype != np.bool_ or rows.shape[1] != n:
        raise ValueError(
            f"coalitions must be a boolean array [B, {n}], got {rows.dtype} {list(rows.shape)};"
            " pass one row a coalition, True = kept"
        )
    return rows
