"""What a set of removed players must satisfy: protected players, runs, pairs, savings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from shapley.search.feasibility import most_saved, nearest_share, saves_enough, some_set
from shapley.search.pairs import heaviest_pairs, odd_runs, pair_moves

__all__ = ["Limits", "Saving"]


@dataclass(frozen=True, eq=False)
class Saving:
    """A target that the removed players must reach together.

    Counting players of one kind is a saving as well: amounts of 1 for attention and 0 for MLP
    players, with ``least = 4``, asks for at least four attention players.

    Attributes:
        name: what is saved, such as ``"parameters"``.
        amounts: what the removal of each player saves; amounts add up.
        least: the least that must be saved in all.
        unit: unit of both, for messages.
    """

    name: str
    amounts: Float[np.ndarray, "n"]
    least: float
    unit: str = ""

    def __post_init__(self) -> None:
        amounts = np.array(self.amounts, dtype=np.float64)
        if amounts.ndim != 1 or not np.isfinite(amounts).all() or not np.isfinite(self.least):
            raise ValueError(
                f"amounts and least of saving {self.name!r} must be finite numbers, one amount a"
                " player; replace what is missing"
            )
        amounts.setflags(write=False)
        object.__setattr__(self, "amounts", amounts)

    def text(self, amount: float) -> str:
        """Returns an amount with its unit and name, as a person reads it."""
        number = f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:.4g}"
        return " ".join(part for part in (number, self.unit, self.name) if part)


@dataclass(frozen=True, eq=False)
class Limits:
    """Constraints on the set of removed players.

    Attributes:
        n: number of players.
        protected: players that stay.
        contiguous: whether the removed players form one unbroken run of indices.
        savings: additive targets, each of which must be reached.
        pairs: given where players save something only two by two: whether each player and the next
            one are neighbours that may go as a pair. Removed players then go in such pairs, all
            but one where their number is odd.

    Raises:
        ValueError: if a protected player does not exist, a saving has not ``n`` amounts, or pairs
            has not ``n - 1`` entries.
    """

    n: int
    protected: tuple[int, ...] = ()
    contiguous: bool = False
    savings: tuple[Saving, ...] = ()
    pairs: Bool[np.ndarray, "n-1"] | None = None

    def __post_init__(self) -> None:
        if self.pairs is not None and len(self.pairs) != self.n - 1:
            raise ValueError(
                f"pairs has {len(self.pairs)} entries for {self.n} players; give one for each"
                " player but the last"
            )
        for player in self.protected:
            if not 0 <= player < self.n:
                raise ValueError(f"protected has player {player}; players are 0 to {self.n - 1}")
        for saving in self.savings:
            if len(saving.amounts) != self.n:
                raise ValueError(
                    f"amounts of saving {saving.name!r} has {len(saving.amounts)} entries for"
                    f" {self.n} players; give one amount a player"
                )
        object.__setattr__(self, "protected", tuple(sorted({int(p) for p in self.protected})))
        object.__setattr__(self, "savings", tuple(self.savings))

    @cached_property
    def free(self) -> Int[np.ndarray, "f"]:
        """Indices of the players that may be removed, ascending."""
        return np.setdiff1d(np.arange(self.n), np.array(self.protected, dtype=np.int64))

    @property
    def plain(self) -> bool:
        """Whether every set of free players is allowed."""
        return not (self.savings or self.contiguous) and self.pairs is None

    @cached_property
    def pair_starts(self) -> Int[np.ndarray, "p"]:
        """The first player of each pair that may go, ascending; none without ``pairs``."""
        if self.pairs is None:
            return np.empty(0, dtype=np.int64)
        may = np.isin(np.arange(self.n), self.free)
        return np.flatnonzero(self.pairs & may[:-1] & may[1:])

    @cached_property
    def amounts(self) -> Float[np.ndarray, "s n"]:
        """What each player saves, a row for each saving."""
        return np.array([one.amounts for one in self.savings]).reshape(-1, self.n)

    @cached_property
    def least(self) -> Float[np.ndarray, "s"]:
        """The least to be saved of each kind."""
        return np.array([one.least for one in self.savings], dtype=np.float64)

    def allowed(self, rows: Bool[np.ndarray, "B n"]) -> Bool[np.ndarray, "B"]:
        """Returns which coalitions of kept players satisfy every constraint."""
        removed = ~np.asarray(rows)
        fits = np.asarray(~removed[:, list(self.protected)].any(axis=1))
        if self.contiguous:
            starts = removed[:, 0] + (removed[:, 1:] & ~removed[:, :-1]).sum(axis=1)
            fits &= starts <= 1
        if self.savings:
            fits &= saves_enough(removed, self.amounts, self.least)
        if self.pairs is not None:
            fits &= odd_runs(removed, self.pairs) <= removed.sum(axis=1) % 2
        return fits

    def runs(self, count: int) -> Bool[np.ndarray, "R n"]:
        """Returns the allowed coalitions that lack one unbroken run of ``count`` players."""
        places = np.arange(self.n)
        first = np.arange(max(self.n - count + 1, 0))[:, None]
        rows = (places < first) | (places >= first + count)
        return rows[self.allowed(rows)]

    def pair_moves(self, row: Bool[np.ndarray, "n"]) -> Bool[np.ndarray, "M n"]:
        """Returns the allowed coalitions in which another pair is gone in one pair's stead."""
        rows = pair_moves(row, self.pair_starts)
        return rows[self.allowed(rows)]

    def completable(self, rows: Bool[np.ndarray, "B n"], count: int) -> Bool[np.ndarray, "B"]:
        """Returns which partial sets may still grow into an allowed set of ``count`` removals.

        All rows lack equally many players, none of them protected. Exact without savings, with
        one saving, and for unbroken runs; with several savings at once each is checked by itself,
        so that a set which is dropped could certainly not have grown into an allowed one.
        """
        removed = ~rows
        if self.contiguous:
            inside = np.asarray((removed[:, None, :] <= ~self.runs(count)[None]).all(axis=2))
            return np.asarray(inside.any(axis=1))
        size = int(removed[0].sum()) if len(rows) else 0
        fits = np.full(len(rows), size <= count <= len(self.free))
        if self.pairs is not None:  # one more player changes the number of odd runs by one
            fits &= odd_runs(removed, self.pairs) <= count - size + count % 2
        for amounts, least in zip(self.amounts, self.least, strict=True):
            falling = self.free[np.argsort(-amounts[self.free], kind="stable")]
            left = rows[:, falling]
            each = np.broadcast_to(amounts[falling], left.shape)[left].reshape(len(rows), -1)
            most = removed @ amounts + each[:, : max(count - size, 0)].sum(axis=1)
            fits &= most >= least - 1e-9 * max(abs(least), float(np.abs(amounts).max()))
        return fits

    def some_row(self, count: int) -> Bool[np.ndarray, "n"] | None:
        """Returns an allowed coalition that lacks ``count`` players, None if there is none."""
        if self.contiguous:
            runs = self.runs(count)
            return runs[0] if len(runs) else None
        if not 1 <= count <= len(self.free):
            return None
        row = np.ones(self.n, dtype=bool)
        if self.pairs is not None:
            return self._some_pairs(count)
        if len(self.savings) < 2:
            order = np.argsort(-self.amounts.sum(axis=0)[self.free], kind="stable")
            row[self.free[order[:count]]] = False
            return row if self.allowed(row[None])[0] else None
        chosen = some_set(self.amounts[:, self.free], self.least, count)
        if chosen is None:
            return None
        row[self.free] = ~chosen
        return row

    def _some_pairs(self, count: int) -> Bool[np.ndarray, "n"] | None:
        """The pairs that save most, each saving on one scale, and the best player beside them."""
        scale = np.maximum(np.abs(self.amounts).max(axis=1, initial=0.0), 1e-300)
        worth = (self.amounts / scale[:, None]).sum(axis=0)
        first = self.pair_starts
        chosen = heaviest_pairs(worth[first] + worth[first + 1], np.diff(first) > 1, count // 2)
        if chosen is None:
            return None
        row = np.ones(self.n, dtype=bool)
        row[first[chosen]] = row[first[chosen] + 1] = False
        rest = self.free[row[self.free]]
        if count % 2 and len(rest):
            row[rest[np.argmax(worth[rest])]] = False
        return row if (~row).sum() == count and self.allowed(row[None])[0] else None

    def counts_possible(self) -> tuple[int, ...]:
        """Returns the numbers of removals for which an allowed set exists, ascending."""
        sizes = range(1, len(self.free) + 1)
        return tuple(count for count in sizes if self.some_row(count) is not None)

    def check(self, counts: Iterable[int]) -> tuple[int, ...]:
        """Returns the distinct counts, ascending, once every one of them is known to be possible.

        Raises:
            ValueError: if a count is impossible: which constraint forbids it, and the nearest
                that is possible.
        """
        wanted = tuple(sorted(set(counts)))
        if not wanted:
            raise ValueError("counts must name at least one number of players to remove")
        free = len(self.free)
        for count in wanted:
            if not 1 <= count <= free:
                raise ValueError(
                    f"counts has {count} removals; between 1 and {free} of {self.n} players can go"
                    f" with {self.n - free} protected"
                )
        longest = self._longest_run() if self.contiguous else free
        if wanted[-1] > longest:
            raise ValueError(
                f"contiguous removal of {wanted[-1]} players is impossible: the longest run of"
                f" free players is {longest}; remove at most {longest} or protect fewer"
            )
        failing = [count for count in wanted if self.some_row(count) is None]
        if failing:
            raise ValueError(self._why_not(failing))
        return wanted

    def _longest_run(self) -> int:
        groups = np.split(self.free, np.flatnonzero(np.diff(self.free) > 1) + 1)
        return max(map(len, groups))

    def _why_not(self, failing: list[int]) -> str:
        """Says which saving the failing counts cannot reach, and what they can."""
        span = str(failing[0]) if len(failing) == 1 else f"{failing[0]} to {failing[-1]}"
        kind = " in one run" if self.contiguous else ""
        whom = f"by removing {span} of the {len(self.free)} free players{kind}"
        larger = [count for count in self.counts_possible() if count > failing[-1]]
        more = f"remove at least {larger[0]}" if larger else "protect fewer players"
        for saving in self.savings:
            most = max(self._most(saving, count) for count in failing)
            slack = 1e-9 * max(abs(saving.least), float(np.abs(saving.amounts).max()))
            if most < saving.least - slack:
                return (
                    f"saving of {saving.text(saving.least)} cannot be reached {whom}: at most"
                    f" {saving.text(most)}; lower it or {more}"
                )
        if self.pairs is not None and not self.savings:
            return f"no {span} of the {len(self.free)} free players go in pairs; protect fewer"
        asked = " and ".join(saving.text(saving.least) for saving in self.savings)
        share = max(self._share(count) for count in failing)
        reach = f": at most {100 * share:.3g} % of each" if share > 0 else ""
        return f"savings of {asked} cannot be reached together {whom}{reach}; lower one or {more}"

    def _bare_runs(self, count: int) -> Bool[np.ndarray, "R n"]:
        return Limits(self.n, self.protected, True).runs(count)

    def _most(self, saving: Saving, count: int) -> float:
        if self.contiguous:
            return float((~self._bare_runs(count) @ saving.amounts).max())
        return most_saved(saving.amounts[self.free], count)

    def _share(self, count: int) -> float:
        if not self.contiguous:
            return nearest_share(self.amounts[:, self.free], self.least, count)
        asked = self.least > 0
        saved = ~self._bare_runs(count) @ self.amounts.T
        shares = (saved[:, asked] / self.least[asked]).min(axis=1)
        shares[(saved[:, ~asked] < self.least[~asked]).any(axis=1)] = -np.inf
        return float(shares.max())
