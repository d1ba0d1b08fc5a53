"""The best sets of a linear + pairwise game, by mixed-integer programming with a certificate."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from shapley.search.beam import beam_search
from shapley.search.candidate import Candidate, best_first, limits_of
from shapley.search.constraints import Limits
from shapley.search.quadratic import QuadraticFit
from shapley.search.swap import swap_search

__all__ = ["QuadraticOptimum", "solve_quadratic"]


@dataclass(frozen=True)
class QuadraticOptimum:
    """The best sets of a quadratic game that were found, and how good they are known to be.

    Attributes:
        candidates: best first; the utility is the sum of linear and pair terms.
        optimal: whether the first candidate is proven to be the best allowed set.
        gap: how much better than the first candidate another set could be at most, in units of
            utility; 0 where it is optimal.
        proven: how many candidates, from the first on, are proven to be the best in this order.
        seconds: time spent.
    """

    candidates: tuple[Candidate, ...]
    optimal: bool
    gap: float
    proven: int
    seconds: float


@dataclass(frozen=True)
class _Program:
    """Rows of the mixed-integer program: players first, then one product a pair."""

    cost: Float[np.ndarray, "v"]
    players: int
    constraints: tuple[LinearConstraint, ...]


def solve_quadratic(
    linear: Float[np.ndarray, "n"],
    pairs: Float[np.ndarray, "n n"],
    count: int,
    limits: Limits | None = None,
    most: int = 1,
    time_limit: float = 5.0,
    node_limit: int | None = None,
) -> QuadraticOptimum:
    """Returns the sets of ``count`` players with the largest sum of linear and pair terms.

    Maximises ``sum_i linear_i x_i + sum_{i<j} (pairs_ij + pairs_ji) x_i x_j`` over removed players
    x. Products are linearised (Glover & Woolsey, Operations Research 22, 1974) with only the
    sides that their sign needs, tied to the count by ``sum_j z_ij = (count - 1) x_i`` (Adams &
    Sherali, Management Science 32, 1986), and solved by HiGHS. Each further set comes after a cut
    that excludes those before it. A beam and swap search on the same terms stands in wherever the
    solver ends without a better set, so that there is always an answer. The result does not
    depend on the speed of the machine unless the time limit ends a solve.

    Args:
        linear: what the removal of each player adds to the utility.
        pairs: what the removal of two players adds beyond that; the diagonal is ignored.
        count: players to remove.
        limits: constraints on the sets.
        most: sets to return.
        time_limit: seconds for all solves together.
        node_limit: the most branch-and-bound nodes a solve may look at; None for no limit.

    Raises:
        ValueError: if the terms are not finite or do not fit together, or the count or a limit
            cannot be met.
    """
    begin = time.perf_counter()
    worth, square = np.asarray(linear, dtype=np.float64), np.asarray(pairs, dtype=np.float64)
    n = len(worth)
    if square.shape != (n, n) or not (np.isfinite(worth).all() and np.isfinite(square).all()):
        raise ValueError(f"linear and pairs must be finite, of shapes [{n}] and [{n}, {n}]")
    if most < 1 or time_limit <= 0:
        raise ValueError(f"most and time_limit must be positive, got {most} and {time_limit}")
    upper = np.triu(square + square.T, 1)
    view = QuadraticFit(0.0, worth, upper, 1.0)
    rules = limits_of(view.game(), limits)
    rules.check([count])
    if rules.contiguous:
        rows = rules.runs(count)
        best = best_first(_candidates(view, rows, "quadratic"), most)
        return QuadraticOptimum(tuple(best), True, 0.0, len(best), time.perf_counter() - begin)
    scale = max(float(np.abs(worth).max()), float(np.abs(upper).max(initial=0.0))) or 1.0
    program = _program(worth / scale, upper / scale, count, rules)
    rivals = _rivals(view, count, rules, most)
    found: list[Candidate] = []
    cuts: list[Bool[np.ndarray, "n"]] = []
    proven, bound = 0, np.inf
    while proven < most and (left := time_limit - (time.perf_counter() - begin)) > 0:
        status, chosen, bound = _solve(program, rules, cuts, left, node_limit)
        if chosen is not None:
            cuts.append(chosen)
            if rules.allowed(~chosen[None])[0]:  # the solver's tolerance is wider than ours
                found += _candidates(view, ~chosen[None], "quadratic")
                proven += status == "optimal"
        if status != "optimal":
            break
    best = best_first([*found, *rivals], most)
    gap = 0.0
    if not proven:
        loose = _loose_bound(worth, upper, count, rules)
        gap = max(0.0, min(bound * scale, loose) - best[0].utility)
    return QuadraticOptimum(tuple(best), proven > 0, gap, proven, time.perf_counter() - begin)


def _program(
    linear: Float[np.ndarray, "n"], upper: Float[np.ndarray, "n n"], count: int, limits: Limits
) -> _Program:
    """Builds the linearised program; every product of a strictly positive pair is bounded above."""
    n = len(linear)
    first, second = np.nonzero(upper)
    value = upper[first, second]
    size = n + len(value)
    z = n + np.arange(len(value))
    gain, loss = value > 0, value < 0
    constraints = [
        LinearConstraint(
            _matrix([np.zeros(n)], [np.arange(n)], [np.ones(n)], 1, size), count, count
        )
    ]
    for end in (first, second):
        line, number = np.arange(gain.sum()), int(gain.sum())
        if number:
            rows = _matrix(
                [line, line],
                [z[gain], end[gain]],
                [np.ones(number), -np.ones(number)],
                number,
                size,
            )
            constraints.append(LinearConstraint(rows, -np.inf, 0.0))
    if number := int(loss.sum()):
        line, one = np.arange(number), np.ones(number)
        rows = _matrix(
            [line] * 3, [z[loss], first[loss], second[loss]], [one, -one, -one], number, size
        )
        constraints.append(LinearConstraint(rows, -1.0, np.inf))
    if len(value) == n * (n - 1) // 2:
        one = np.ones(len(value))
        each, own = np.arange(n), np.full(n, 1.0 - count)
        rows = _matrix([first, second, each], [z, z, each], [one, one, own], n, size)
        constraints.append(LinearConstraint(rows, 0.0, 0.0))
    for amounts, least in zip(limits.amounts, limits.least, strict=True):
        unit = max(float(np.abs(amounts).max()), abs(float(least))) or 1.0
        row = np.append(amounts / unit, np.zeros(len(value)))
        constraints.append(LinearConstraint(row[None], least / unit - 1e-9, np.inf))
    return _Program(-np.append(linear, value), n, tuple(constraints))


def _solve(
    program: _Program,
    limits: Limits,
    cuts: list[Bool[np.ndarray, "n"]],
    seconds: float,
    nodes: int | None,
) -> tuple[str, Bool[np.ndarray, "n"] | None, float]:
    """Returns how a solve ended, its best set, and the bound on every set not cut off."""
    n, size = program.players, len(program.cost)
    constraints = list(program.constraints)
    for cut in cuts:
        row = np.append(cut.astype(np.float64), np.zeros(size - n))
        constraints.append(LinearConstraint(row[None], -np.inf, cut.sum() - 1.0))
    highest = np.ones(size)
    highest[list(limits.protected)] = 0.0
    options = {"time_limit": seconds, "mip_rel_gap": 0.0}
    if nodes is not None:
        options["node_limit"] = nodes
    solved = milp(
        program.cost,
        integrality=np.append(np.ones(n), np.zeros(size - n)),
        bounds=Bounds(np.zeros(size), highest),  # pyright: ignore[reportArgumentType]
        constraints=constraints,
        options=options,
    )
    if solved.status == 2:
        return "infeasible", None, -np.inf
    bound = np.inf if solved.mip_dual_bound is None else -float(solved.mip_dual_bound)
    chosen = None if solved.x is None else solved.x[:n] > 0.5
    return "optimal" if solved.status == 0 else "stopped", chosen, bound


def _rivals(view: QuadraticFit, count: int, limits: Limits, most: int) -> list[Candidate]:
    """Returns what beam and swap search find on the same terms."""
    game = view.game()
    starts = beam_search(game, [count], max(16, most), limits, source="quadratic")[count]
    climbed = swap_search(game, starts, limits)
    return best_first(
        [Candidate(one.removed, one.utility, "quadratic") for one in (*climbed, *starts)], most
    )


def _candidates(view: QuadraticFit, rows: Bool[np.ndarray, "B n"], source: str) -> list[Candidate]:
    return [
        Candidate(tuple(np.flatnonzero(~row).tolist()), float(utility), source)
        for row, utility in zip(rows, view(rows), strict=True)
    ]


def _loose_bound(
    linear: Float[np.ndarray, "n"], upper: Float[np.ndarray, "n n"], count: int, limits: Limits
) -> float:
    """Returns a bound without any solve: each player with its best partners, shared in halves."""
    free = limits.free
    both = (upper + upper.T)[np.ix_(free, free)]
    np.fill_diagonal(both, -np.inf)
    partners = np.sort(both, axis=1)[:, ::-1][:, : max(count - 1, 0)].sum(axis=1) / 2
    return float(np.sort(linear[free] + partners)[::-1][:count].sum())


def _matrix(
    rows: list[Float[np.ndarray, "e"]] | list[Int[np.ndarray, "e"]],
    columns: list[Int[np.ndarray, "e"]],
    values: list[Float[np.ndarray, "e"]],
    height: int,
    width: int,
) -> csr_matrix:
    places = (np.concatenate(rows).astype(np.int64), np.concatenate(columns))
    return csr_matrix((np.concatenate(values), places), shape=(height, width))
