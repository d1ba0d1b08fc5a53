"""The default estimator: a Gaussian process whose coalitions are chosen for the values' sake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from sampling import empty, enumerate_all, full, stream
from sampling.pairs import paired
from shapley.estimator import State
from shapley.estimators.state import exact_if_complete, unmeasured
from shapley.values import Status, Values
from surrogate.process.evidence import fit_kernel
from surrogate.process.kernel import Kernel
from surrogate.process.posterior import ValuePosterior, choose, value_posterior

__all__ = ["AdaptiveValues", "LearnedValues", "fit_values"]

PILOT = 3
# Share of the spread of all utilities below which those of few players hardly differ.
QUIET = 0.2
MOST_ENUMERATED = 12
# The second product part of the kernel pays once there is this much data a player.
ROWS_FOR_TWO = 20
# Measurements and iterations of a kernel's fit on the way, and of the last one.
QUICK_ROWS, QUICK_ROWS_A_PLAYER, QUICK_ITERATIONS = 300, 4, 40
FINAL_ROWS, FINAL_ROWS_A_PLAYER, FINAL_ITERATIONS = 500, 6, 60
LEAST_R2 = 0.5
# Intervals: shares of the measurements that the earlier stages had.
EARLIER_STAGES = (0.625, 0.39)
# The variance of values from few measurements is larger than the process thinks, whose kernel was
# fitted to them: by 1 + EXCESS at 5 measurements a player, falling with the square of their number
# (fitted to the errors on synthetic and real games).
EXCESS, EXCESS_AT = 4.0, 5.0
# How many observations that counts for, and how many the move of one value since a stage.
PRIOR_FREEDOM, OBSERVATIONS_A_VALUE = 12.0, 0.15
# Share of a variance that comes from the mean of all: which player's is largest is hardly known.
COMMON_SHARE = 0.2
INTERVAL_FREEDOM = 6.0
# Up to so many measurements the values of another kernel are asked for: from then on kernels agree.
BETWEEN_ROWS = 3000


@dataclass(frozen=True, eq=False)
class LearnedValues:
    """What a process fitted to measurements says, in units of the utility.

    Attributes:
        posterior: of the standardised game without the empty coalition.
        values: one a player.
        covariance: of the values, if the process is right.
        operator: takes the utilities of the measurements to the values, the kernel given.
    """

    posterior: ValuePosterior
    values: Float[np.ndarray, "n"]
    covariance: Float[np.ndarray, "n n"]
    operator: Float[np.ndarray, "n m"]

    @property
    def r2(self) -> float:
        """Share of the variance of the utilities that predictions from the others explain."""
        return 1.0 - float((self.posterior.left_out_errors**2).mean())


@dataclass(frozen=True)
class AdaptiveValues:
    """Bayesian quadrature of Shapley values on coalitions that are chosen for it.

    Opens with all, none, the single removals, the single players and some complement pairs. From
    then on, a Gaussian process is fitted to what is known, and the next coalitions are those whose
    utilities lower the summed variance of the values most, in steps of at most ``growth`` times
    what is known. The values are the process's own, in closed form
    (:mod:`surrogate.process.quadrature`), so that they are a weighted sum of the measured utilities
    with the best weights under the process. Measurements of any other origin may be among the
    state's; no law of sampling is assumed. The sum of the values is ``v(N) - v(empty)``.

    Standard errors are those of the process times a factor: how much too sure a process is of a
    kernel from so few measurements, corrected by the game itself. The values are estimated again
    from the first 62 % and the first 39 % of the measurements, and how far they have moved since is
    compared with how far the process expected them to. What the values change when the kernel is
    that of the first 62 % is added.

    Attributes:
        growth: coalitions of a step, as a share of those measured before it.
        pool: candidates that a step chooses from; up to 12 players all coalitions are.
        name: what people call it.
    """

    growth: float = 0.6
    pool: int = 4096
    name: str = "adaptive"

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the coalitions to measure next, decided by the state and the count."""
        n, spent = state.n, state.spent
        if count < 1:
            return np.empty((0, n), dtype=bool)
        opening = _opening(state)
        # Measurements of another origin open as well, but for both ends nothing stands in.
        if spent < len(opening) or not state.has_ends:
            missing = unmeasured(state, opening, count)
            if len(missing):
                return missing
        pool = self._pool(state)
        batch = min(count, max(n, int(self.growth * spent)))
        # A last step of a few coalitions is not worth a fit of its own.
        batch = min(len(pool), count if count - batch < n // 2 else batch)
        if batch == 0:
            return pool[:0]
        posterior = fit_values(state).posterior
        return pool[choose(posterior, pool, batch)]

    def _pool(self, state: State) -> Bool[np.ndarray, "N n"]:
        n = state.n
        if n <= MOST_ENUMERATED:
            rows = enumerate_all(n)
        else:
            fresh = paired(n, self.pool, state.seed + state.spent + 1)
            rows = np.unique(np.concatenate([fresh, ~state.coalitions]), axis=0)
        rows = unmeasured(state, rows, len(rows))
        # Equal worth is settled by place: a random order keeps it from following the numbering.
        return rows[stream(state.seed, "pool", state.spent).permutation(len(rows))]

    def result(self, state: State) -> Values:
        """Returns the values that the measurements give.

        Diagnostics: ``left_out_r2`` (each utility predicted from all others), ``stretch`` (the
        factor on the process's own standard errors) and ``unexplained`` (share of the variance
        that the process does not expect to predict).

        Raises:
            ValueError: if the empty coalition or the full one was not measured, or fewer than
                ``n + 2`` coalitions were (``2^n`` if that is less).
        """
        if (exact := exact_if_complete(state, self.name)) is not None:
            return exact
        return self.report(state, self.learn(state))

    def learn(self, state: State) -> LearnedValues:
        """Fits the process to everything that is measured.

        Raises:
            ValueError: as :meth:`result`.
        """
        rows = max(FINAL_ROWS, FINAL_ROWS_A_PLAYER * state.n)
        return fit_values(state, rows=rows, iterations=FINAL_ITERATIONS)

    def report(self, state: State, final: LearnedValues) -> Values:
        """Returns the values of :meth:`learn` with intervals that the game itself widens."""
        covariance, stretch = _widened(state, final)
        return Values.build(
            state.players,
            final.values,
            np.sqrt(np.diag(covariance)),
            method=self.name,
            status=Status.QUADRATURE if final.r2 >= LEAST_R2 else Status.ROUGH,
            spent=state.spent,
            budget=state.spent,
            quantile=float(stats.t.ppf(0.975, INTERVAL_FREEDOM)),
            covariance=covariance,
            diagnostics={
                "left_out_r2": final.r2,
                "stretch": stretch,
                "unexplained": float((1.0 / final.posterior.precisions).mean()),
            },
        )


def fit_values(
    state: State, *, rows: int | None = None, iterations: int = QUICK_ITERATIONS
) -> LearnedValues:
    """Fits the process to what is measured and takes its values.

    Args:
        state: with the empty coalition and the full one among the measurements.
        rows: most measurements that the kernel is fitted to (cost grows with the cube); some
            hundreds when omitted.
        iterations: of the kernel's fit.

    Raises:
        ValueError: if there are fewer than ``n + 2`` measurements, or the empty or the full
            coalition is not among them.
    """
    n, count = state.n, state.spent
    if count < min(n + 2, 1 << n) or not state.has_ends:
        raise ValueError(
            f"values of {n} players need at least {min(n + 2, 1 << n)} coalitions, the full and"
            f" the empty one among them, got {count}; measure more"
        )
    signs, targets, _ = _standardised(state)
    chosen = np.arange(len(signs))
    rows = max(QUICK_ROWS, QUICK_ROWS_A_PLAYER * n) if rows is None else rows
    if len(chosen) > rows:
        chosen = stream(state.seed, "evidence", count).permutation(len(chosen))[:rows]
    kernel = fit_kernel(
        signs[chosen],
        targets[chosen],
        np.ones(len(chosen)),
        iterations=iterations,
        components=2 if count >= ROWS_FOR_TWO * n else 1,
    )
    return _values_under(kernel, state)


def _values_under(kernel: Kernel, state: State) -> LearnedValues:
    """Returns the values of all that is measured, the kernel given."""
    n = state.n
    signs, targets, scale = _standardised(state)
    posterior = value_posterior(kernel, signs, targets)
    used = state.coalitions.any(axis=1)
    weights, operator = posterior.weights, np.zeros((n, state.spent))
    operator[:, used] = weights + (1.0 / n - weights.sum(axis=1, keepdims=True)) / len(signs)
    operator[:, ~used] = -1.0 / n
    return LearnedValues(
        posterior, operator @ state.utilities, scale**2 * posterior.covariance, operator
    )


def _standardised(
    state: State,
) -> tuple[Float[np.ndarray, "m n"], Float[np.ndarray, "m"], float]:
    """Returns signs and utilities of all but the empty coalition, and the utilities' scale."""
    used = state.coalitions.any(axis=1)
    inner = state.utilities[used]
    mean, scale = float(inner.mean()), float(inner.std())
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    return np.where(state.coalitions[used], 1.0, -1.0), (inner - mean) / scale, scale


def _widened(state: State, final: LearnedValues) -> tuple[Float[np.ndarray, "n n"], float]:
    """Returns the covariance of the values that the game bears out, and the stretch it took.

    Under the process, values at an earlier stage differ from the final ones with the variance
    that was lost since. The mean square of the observed over the expected move, each stage's
    excess taken into account, is shrunk to 1 by a scaled inverse chi-squared prior; a game's
    values move together, so that each counts as a part of an observation. Leave-one-out errors that
    are too large for the process count too.
    """
    n = state.n
    after, seen = np.diag(final.covariance), []
    between = np.zeros((n, n))
    for share in EARLIER_STAGES:
        shorter = state.first(int(share * state.spent))
        if shorter.spent < n + 2 or not shorter.has_ends:
            break
        early = fit_values(shorter)
        if not seen and state.spent <= BETWEEN_ROWS:
            other = _values_under(early.posterior.kernel, state).values - final.values
            between = np.outer(other, other)
        before = np.diag(early.covariance)
        expected = float(np.maximum(before - after, 0.25 * before).mean())
        expected *= _excess(n, shorter.spent)
        moved = float(((early.values - final.values) ** 2).mean())
        seen.append(moved / expected if expected > 0 else 1.0)
    freedom = OBSERVATIONS_A_VALUE * n * len(seen)
    total = PRIOR_FREEDOM + (freedom * float(np.mean(seen)) if seen else 0.0)
    left_out = float((final.posterior.left_out**2).mean())
    factor = _excess(n, state.spent) * total / (PRIOR_FREEDOM + freedom)
    factor = max(1.0, left_out, factor)
    covariance = factor * final.covariance + between
    mean = float(np.diag(covariance).mean())
    covariance = (1.0 - COMMON_SHARE) * covariance + COMMON_SHARE * mean * np.eye(n)
    return covariance, float(np.sqrt(factor))


def _excess(n: int, measured: int) -> float:
    """Returns by how much the variance of values exceeds that of a process with a fitted kernel."""
    return 1.0 + EXCESS * (EXCESS_AT * n / measured) ** 2


def _opening(state: State) -> Bool[np.ndarray, "k n"]:
    """The first coalitions: all, none, single removals and some pairs; then what suits the game.

    Single players tell much where the utilities of few players differ. Where they hardly do, as
    in a game that is next to nothing over most of the cube, coalitions of the better half do.
    """
    n = state.n
    ones = np.eye(n, dtype=bool)
    pairs = paired(n, PILOT * n + 2 * n, state.seed)
    sizes = pairs.sum(axis=1)
    pairs = pairs[(sizes > 1) & (sizes < n - 1)]
    first = _distinct(np.concatenate([full(n)[None], empty(n)[None], ~ones, pairs]))
    first = first[: max((PILOT - 1) * n, n + 2)]
    if len(unmeasured(state, first, 1)):
        return first
    few = 2 * state.coalitions.sum(axis=1) <= n
    alive = float(state.utilities[few].std()) > QUIET * float(state.utilities.std())
    then = ones if alive else pairs[2 * pairs.sum(axis=1) >= n]
    return _distinct(np.concatenate([first, then]))[: max(PILOT * n, n + 2)]


def _distinct(rows: Bool[np.ndarray, "B n"]) -> Bool[np.ndarray, "k n"]:
    """The rows in their order, each once."""
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
