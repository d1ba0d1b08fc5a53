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
from surrogate.process.kernel import fit_kernel
from surrogate.process.posterior import ValuePosterior, choose, value_posterior

__all__ = ["AdaptiveValues", "LearnedValues", "fit_values"]

PILOT = 3
MOST_ENUMERATED = 12
# The second product part of the kernel pays once there is this much data a player.
ROWS_FOR_TWO = 20
# Measurements and iterations of a kernel's fit on the way, and of the last one.
QUICK_ROWS, QUICK_ROWS_A_PLAYER, QUICK_ITERATIONS = 300, 8, 40
FINAL_ROWS, FINAL_ROWS_A_PLAYER, FINAL_ITERATIONS = 500, 16, 80
LEAST_R2 = 0.5
# Intervals: measurements of the earlier stages, and what is known about the factor beforehand.
EARLIER_STAGES = (0.625, 0.39)
PRIOR_FREEDOM = 6.0
OBSERVATIONS_A_VALUE = 0.3


@dataclass(frozen=True, eq=False)
class LearnedValues:
    """What a process fitted to measurements says, in units of the utility.

    Attributes:
        posterior: of the standardised game without the empty coalition.
        values: one a player.
        covariance: of the values, if the process is right.
        operator: takes the utilities of the measurements to the values, the kernel given.
        r2: share of the variance of the utilities that predictions from the others explain.
    """

    posterior: ValuePosterior
    values: Float[np.ndarray, "n"]
    covariance: Float[np.ndarray, "n n"]
    operator: Float[np.ndarray, "n m"]
    r2: float


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

    Standard errors are those of the process times a factor that the game itself gives: the values
    are estimated again from the first 62 % and the first 39 % of the measurements, and how far
    they have moved since is compared with how far the process expected them to.

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
        opening = _opening(n, state.seed)
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
        that the process takes for noise of the game).

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
        stretch = _stretch(state, final)
        covariance = stretch**2 * final.covariance
        return Values.build(
            state.players,
            final.values,
            np.sqrt(np.diag(covariance)),
            method=self.name,
            status=Status.QUADRATURE if final.r2 >= LEAST_R2 else Status.ROUGH,
            spent=state.spent,
            budget=state.spent,
            quantile=float(stats.t.ppf(0.975, PRIOR_FREEDOM)),
            covariance=covariance,
            diagnostics={
                "left_out_r2": final.r2,
                "stretch": stretch,
                "unexplained": final.posterior.kernel.noise,
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
    used = state.coalitions.any(axis=1)
    nothing = int(np.flatnonzero(~used)[0])
    signs, inner = np.where(state.coalitions[used], 1.0, -1.0), state.utilities[used]
    mean, scale = float(inner.mean()), float(inner.std())
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    targets = (inner - mean) / scale
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
    posterior = value_posterior(kernel, signs, targets)
    weights = posterior.weights
    operator = np.zeros((n, count))
    operator[:, used] = weights + (1.0 / n - weights.sum(axis=1, keepdims=True)) / len(inner)
    operator[:, nothing] = -1.0 / n
    r2 = 1.0 - float((posterior.left_out_errors**2).mean())
    return LearnedValues(
        posterior, operator @ state.utilities, scale**2 * posterior.covariance, operator, r2
    )


def _stretch(state: State, final: LearnedValues) -> float:
    """Returns by how much values really move as measurements come in, relative to expectation.

    Under the process, values at an earlier stage differ from the final ones with the variance
    that was lost since. The mean square of the observed over the expected move is shrunk to 1
    by a scaled inverse chi-squared prior; a game's values move together, so that each counts as a
    part of an observation. Leave-one-out errors that are too large for the process count too.
    """
    n = state.n
    seen = []
    for share in EARLIER_STAGES:
        shorter = state.first(int(share * state.spent))
        if shorter.spent < n + 2 or not shorter.has_ends:
            break
        early = fit_values(shorter)
        before, after = np.diag(early.covariance), np.diag(final.covariance)
        expected = np.maximum(before - after, 0.25 * before)
        moved = (early.values - final.values) ** 2
        seen.append(np.divide(moved, expected, out=np.ones(n), where=expected > 0))
    freedom = OBSERVATIONS_A_VALUE * n * len(seen)
    total = PRIOR_FREEDOM + (freedom * float(np.mean(seen)) if seen else 0.0)
    left_out = float((final.posterior.left_out**2).mean())
    return float(np.sqrt(max(1.0, left_out, total / (PRIOR_FREEDOM + freedom))))


def _opening(n: int, seed: int) -> Bool[np.ndarray, "k n"]:
    """The first coalitions: all, none, single removals, single players, then some pairs."""
    ones = np.eye(n, dtype=bool)
    singles = np.concatenate([full(n)[None], empty(n)[None], ~ones, ones])
    pairs = paired(n, PILOT * n + 2 * n, seed)
    sizes = pairs.sum(axis=1)
    rows = np.concatenate([singles, pairs[(sizes > 1) & (sizes < n - 1)]])
    rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
    return rows[: max(PILOT * n, n + 2)]
