"""Values of somebody's game: measured in small calls, kept as they come, until enough is known."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float

from layershap.errors import UserError
from layershap.measured_file import MeasuredFile
from layershap.tables import MappedTable
from sampling.coalitions import full
from shapley.budget import advise
from shapley.estimator import Estimator, State, start
from shapley.estimators import Exact
from shapley.exact import exact_values
from shapley.game import Game, TableGame
from shapley.values import Values

__all__ = ["Outcome", "Pace", "Request", "estimate_values"]

Answer = TypeVar("Answer")

FEWEST_ROWS, SHARE_OF_MEASURED, MOST_ROWS = 8, 4, 65_536  # of a call to the game
CALL_SECONDS = 2.0  # most of a call, so that progress and file follow
SAVING_SHARE = 0.05  # of the time goes into writing the file
FIRST_LOOK, NEXT_LOOK = 5, 1.25  # evaluations a player, then times the last, to compare errors
SAME = 1e-6  # of a utility: batches of other sizes may round differently


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        budget: distinct coalitions that may be evaluated.
        seed: of every random choice.
        target: largest standard error wanted; None for the whole budget.
    """

    budget: int
    seed: int = 0
    target: float | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found.

    Attributes:
        values: with the request's budget.
        request: what was asked for.
        reached: whether the target was reached; None without a target.
        advised: about how many evaluations would reach it, None if that cannot be told.
    """

    values: Values
    request: Request
    reached: bool | None = None
    advised: int | None = None


@dataclass(frozen=True)
class Pace:
    """How far measuring is, for a progress bar."""

    done: int
    total: int
    rate: float
    seconds_left: float | None


def estimate_values(
    game: Game,
    estimator: Estimator,
    request: Request,
    *,
    where: str,
    file: MeasuredFile | None = None,
    update: Callable[[Pace], None] | None = None,
) -> Outcome:
    """Measures a game within a budget and returns its values.

    With a budget of all ``2^n`` coalitions (and no target) they are measured in order, whatever
    the estimator. At the end the full coalition is asked for again, which is not counted.

    Args:
        game: any game.
        estimator: chooses coalitions and makes values of them.
        request: budget, seed and target.
        where: begins messages about the game, as ``--game module:name``.
        file: keeps what is measured and is gone on from.
        update: told of progress after every call.

    Raises:
        UserError: if the game fails or is not deterministic, the file is another's, or the
            estimator refuses.
    """
    n = len(game.players)
    everything = request.budget >= 1 << n
    if isinstance(game, MappedTable) and everything and request.target is None and file is None:
        return Outcome(_summed(game, request.budget), request)
    meter = _Meter(game, request, file, update)
    history: list[tuple[int, float]] = []
    values = None
    for look in _looks(n, request, meter.state.spent):
        chooser = Exact() if everything and look >= 1 << n else estimator
        meter.measure(chooser, look)
        values = _result(Exact() if meter.state.spent == 1 << n else estimator, meter.state)
        worst = _worst(values)
        history.append((meter.state.spent, worst))
        if request.target is not None and worst <= request.target:
            break
    assert values is not None  # there is at least one look
    _check_deterministic(game, meter.state, where)
    values = dataclasses.replace(values, budget=request.budget)
    if request.target is None:
        return Outcome(values, request)
    if _worst(values) <= request.target:
        return Outcome(values, request, True)
    history += _earlier(estimator, meter.state, history)
    most = 1 << n if n < 40 else None
    return Outcome(values, request, False, advise(history, request.target, most))


class _Meter:
    """Measures what an estimator proposes, in calls of about a second, and keeps it."""

    def __init__(
        self,
        game: Game,
        request: Request,
        file: MeasuredFile | None,
        update: Callable[[Pace], None] | None,
    ) -> None:
        self.game, self.file, self.update, self.total = game, file, update, request.budget
        self.state = start(game.players, request.seed)
        self._due = np.empty((0, len(game.players)), dtype=bool)
        self._seconds = 0.0  # a coalition took lately
        if file is not None:
            kept = file.read()
            self.state, self._due, self._seconds = kept.state, kept.due, kept.seconds
        self._began, self._before = time.monotonic(), self.state.spent
        self._saved, self._saved_at, self._saving = 0, -math.inf, 0.0

    def measure(self, estimator: Estimator, upto: int) -> None:
        """Measures until the state holds ``upto`` coalitions, or the estimator wants no more."""
        while self.state.spent < upto:
            rows, self._due = self._due[: upto - self.state.spent], self._due[:0]
            if not len(rows):
                rows = _asked(
                    estimator, lambda: estimator.propose(self.state, upto - self.state.spent)
                )
            if not len(rows):
                return
            self._extend(rows)

    def _extend(self, rows: Bool[np.ndarray, "k n"]) -> None:
        found = np.empty(len(rows))
        done = 0
        try:
            while done < len(rows):
                some = rows[done : done + self._call_rows(done)]
                began = time.monotonic()
                found[done : done + len(some)] = self.game(some)
                done += len(some)
                self._seconds = (time.monotonic() - began) / len(some)
                self._show(done)
                self._save(rows, found[:done])
        finally:  # what was measured is kept, whatever went wrong
            self._save(rows, found[:done], always=True)
        self.state = self.state.extended(rows, found)

    def _call_rows(self, done: int) -> int:
        """Rows of the next call: by how many are measured, and fewer of a slow game.

        Many games answer a row of another batch with other last bits. Sizes that time decides only
        where it must let the same command give the same bits, also when it was stopped between.
        """
        measured = self.state.spent + done
        if not measured:
            return 1
        wanted = min(MOST_ROWS, max(FEWEST_ROWS, measured // SHARE_OF_MEASURED))
        slow = wanted * self._seconds > CALL_SECONDS
        return max(1, int(CALL_SECONDS / self._seconds)) if slow else wanted

    def _show(self, done: int) -> None:
        if self.update is None:
            return
        spent = self.state.spent + done
        elapsed = time.monotonic() - self._began
        rate = (spent - self._before) / elapsed if elapsed > 0 else 0.0
        left = (self.total - spent) / rate if rate > 0 else None
        self.update(Pace(spent, self.total, rate, left))

    def _save(
        self, rows: Bool[np.ndarray, "k n"], found: Float[np.ndarray, "d"], *, always: bool = False
    ) -> None:
        began, spent = time.monotonic(), self.state.spent + len(found)
        due = always or (began - self._saved_at) * SAVING_SHARE >= self._saving
        if self.file is None or spent == self._saved or not due:
            return
        self.file.write(self.state, rows, found, self._seconds)
        self._saved, self._saved_at = spent, time.monotonic()
        self._saving = self._saved_at - began


def _summed(table: MappedTable, budget: int) -> Values:
    """Returns the exact values of a table, without a list of what was looked up."""
    return exact_values(TableGame(table.table, table.players), budget)


def _looks(n: int, request: Request, spent: int) -> Iterator[int]:
    """Yields the numbers of evaluations at which the standard errors are looked at."""
    last = min(request.budget, 1 << n)
    if request.target is not None:
        look = FIRST_LOOK * n
        while look < last:
            if look >= spent:
                yield look
            look = math.ceil(NEXT_LOOK * look)
    yield last


def _result(estimator: Estimator, state: State) -> Values:
    return _asked(estimator, lambda: estimator.result(state))


def _asked(estimator: Estimator, question: Callable[[], Answer]) -> Answer:
    try:
        return question()
    except ValueError as error:
        raise UserError(f"--method {estimator.name}: {error}") from error


def _worst(values: Values) -> float:
    errors = values.standard_errors
    return float(errors.max()) if np.isfinite(errors).all() else math.inf


def _earlier(
    estimator: Estimator, state: State, history: list[tuple[int, float]]
) -> list[tuple[int, float]]:
    """Returns standard errors of shorter stretches of a state, where there are few of them."""
    if len(history) > 3:
        return []
    found = []
    for share in (0.8, 0.64, 0.5):
        m = int(share * state.spent)
        try:
            found.append((m, _worst(estimator.result(state.first(m)))))
        except ValueError:  # too few for this estimator
            break
    return found


def _check_deterministic(game: Game, state: State, where: str) -> None:
    places = np.flatnonzero(state.coalitions.all(axis=1))
    if not len(places):
        return
    first = float(state.utilities[places[0]])
    again = float(game(full(state.n)[None])[0])
    if abs(first - again) > SAME * max(abs(first), abs(again)):
        raise UserError(
            f"{where}: is not deterministic: the full coalition gave {first!r}, and {again!r} when"
            " it was measured again; fix its seeds, or average repeats (and start a new --state)"
        )
