"""Values of somebody's game: measured until enough is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from layershap.games.measured_file import MeasuredFile
from layershap.games.metering import Meter, asked, check_deterministic
from layershap.games.retained import Retained, retained
from layershap.games.tables import MappedTable
from layershap.terminal.progress import Progress
from shapley.estimator import Estimator, State
from shapley.estimators import Exact
from shapley.game import Game, TableGame
from shapley.indices.exact import exact_values
from shapley.uncertainty.budget_advice import advise
from shapley.values import Values

__all__ = ["Outcome", "Request", "estimate_values"]

FIRST_LOOK, NEXT_LOOK = 5, 1.25  # evaluations a player, then times the last, to compare errors


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        budget: distinct coalitions that may be evaluated.
        seed: of every random choice.
        target: largest standard error wanted; None for the whole budget.
        retention: whether values are of the retention of utilities that are minus a loss.
    """

    budget: int
    seed: int = 0
    target: float | None = None
    retention: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was found.

    Attributes:
        values: with the request's budget.
        request: what was asked for.
        whole: the utility of all players, as the game gave it; None where it was not asked.
        reached: whether the target was reached; None without a target.
        advised: about how many evaluations would reach it, None if that cannot be told.
    """

    values: Values
    request: Request
    whole: float | None
    reached: bool | None = None
    advised: int | None = None


def estimate_values(
    game: Game,
    estimator: Estimator,
    request: Request,
    *,
    where: str,
    file: MeasuredFile | None = None,
    update: Callable[[Progress], None] | None = None,
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
        UserError: if the game fails or is not deterministic, the file is another's, the
            estimator refuses, or retention is asked of utilities that are no losses.
    """
    n = len(game.players)
    everything = request.budget >= 1 << n
    if isinstance(game, MappedTable) and everything and request.target is None and file is None:
        return Outcome(_summed(game, request), request, float(game.table[-1]))
    meter = Meter(game, request.budget, request.seed, file, update)
    exact: Estimator = Exact()
    if request.retention:
        exact, estimator = Retained(exact), Retained(estimator)
    history: list[tuple[int, float]] = []
    values = None
    for look in _looks(n, request, meter.state.spent):
        chooser = exact if everything and look >= 1 << n else estimator
        meter.measure(chooser, look)
        values = _result(exact if meter.state.spent == 1 << n else estimator, meter.state)
        worst = _worst(values)
        history.append((meter.state.spent, worst))
        if request.target is not None and worst <= request.target:
            break
    assert values is not None  # there is at least one look
    check_deterministic(game, meter.state, where)
    values = dataclasses.replace(values, budget=request.budget)
    whole = next(iter(meter.state.utilities[meter.state.coalitions.all(axis=1)].tolist()), None)
    if request.target is None:
        return Outcome(values, request, whole)
    if _worst(values) <= request.target:
        return Outcome(values, request, whole, True)
    history += _earlier(estimator, meter.state, history)
    most = 1 << n if n < 40 else None
    return Outcome(values, request, whole, False, advise(history, request.target, most))


def _summed(table: MappedTable, request: Request) -> Values:
    """Returns the exact values of a table, without a list of what was looked up."""
    utilities = table.table
    if request.retention:
        utilities = retained(np.asarray(utilities, dtype=np.float64), float(utilities[-1]))
    return exact_values(TableGame(utilities, table.players), request.budget)


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
    return asked(f"--method {estimator.name}", lambda: estimator.result(state))


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
