from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import stratified, stream, without
from shapley.search import (
    Limits,
    Saving,
    fit_quadratic,
    sample_near,
    solve_quadratic,
    strongest_pairs,
)
from tests.support.shapley_games import pairwise, smooth


def terms(n, seed, strength=1.0):
    rng = stream(seed, "terms", n)
    return rng.normal(size=n), strength * np.triu(rng.normal(size=(n, n)), 1)


def worth(linear, pairs, removed):
    gone = np.zeros(len(linear))
    gone[list(removed)] = 1.0
    return gone @ linear + gone @ pairs @ gone


def ranked(linear, pairs, count, limits):
    sets = itertools.combinations(range(len(linear)), count)
    good = [one for one in sets if limits.allowed(without(len(linear), one)[None])[0]]
    return sorted(((worth(linear, pairs, one), one) for one in good), reverse=True)


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 11), st.integers(0, 10_000), st.sampled_from([0.1, 1.0]), st.data())
def test_the_optimum_is_that_of_enumeration(n, seed, strength, data):
    count = data.draw(st.integers(1, n - 1))
    linear, pairs = terms(n, seed, strength)
    amounts = stream(seed, "amounts").uniform(size=n)
    least = 0.6 * float(np.sort(amounts)[-count:].sum())
    limits = data.draw(
        st.sampled_from(
            [
                Limits(n),
                Limits(n, protected=(n - 1,)),
                Limits(n, contiguous=True),
                Limits(n, savings=(Saving("bytes", amounts, least),)),
            ]
        )
    )
    expected = ranked(linear, pairs, count, limits)[:4]
    solved = solve_quadratic(linear, pairs, count, limits, most=4, time_limit=30.0)
    assert solved.optimal
    assert solved.gap == 0.0
    assert solved.proven == len(expected)
    assert [one.removed for one in solved.candidates] == [one for _, one in expected]
    assert [one.utility for one in solved.candidates] == pytest.approx([u for u, _ in expected])


@pytest.mark.parametrize("strength", [0.02, 1.0])
def test_sixty_four_players_end_in_time_with_an_honest_gap(strength):
    linear, pairs = terms(64, 5, strength)
    start = time.perf_counter()
    solved = solve_quadratic(linear, pairs, 20, time_limit=2.0)
    assert time.perf_counter() - start < 20
    best = solved.candidates[0]
    assert len(best.removed) == 20
    assert best.utility == pytest.approx(worth(linear, pairs, best.removed))
    assert solved.optimal == (strength < 0.1)
    assert (solved.gap == 0.0) == solved.optimal


def test_the_gap_bounds_the_optimum_when_the_solver_has_no_time():
    linear, pairs = terms(12, 1)
    truth = ranked(linear, pairs, 5, Limits(12))[0][0]
    hurried = solve_quadratic(linear, pairs, 5, time_limit=1e-9)
    assert not hurried.optimal
    assert hurried.proven == 0
    assert hurried.candidates[0].utility <= truth + 1e-9
    assert hurried.candidates[0].utility + hurried.gap >= truth - 1e-9
    assert hurried.gap > 0.0


def test_a_quadratic_game_is_recovered():
    n = 9
    game, _, matrix = pairwise(n, 2)
    rows = stratified(n, dict.fromkeys(range(n + 1), 40), 0)
    view = fit_quadratic(rows, game(rows), ridge=1e-10)
    np.testing.assert_allclose(view.pairs, np.triu(matrix, 1), atol=1e-4)
    fresh = stream(1, "fresh").random((50, n)) < 0.5
    np.testing.assert_allclose(view(fresh), game(fresh), atol=1e-4)
    assert view.constant == pytest.approx(game(np.ones((1, n), dtype=bool))[0], abs=1e-4)
    assert view.r2 > 0.99999


def test_a_view_from_few_sets_orders_sets_it_has_not_seen():
    game = smooth(30, 2)
    rows, utilities = sample_near(game, 10, 0, size=300)
    assert ((~rows).sum(axis=1) == 10).all()
    fresh, truth = sample_near(game, 10, 1, size=300)
    assert np.corrcoef(fit_quadratic(rows, utilities)(fresh), truth)[0, 1] > 0.95
    around = np.stack([without(30, range(10))])
    near, _ = sample_near(game, 10, 0, size=300, around=around)
    distances = (near[150:] & ~around).sum(axis=1)
    assert set(distances.tolist()) <= {0, 1, 2, 3}
    assert distances.max() == 3


def test_weights_and_infinite_utilities():
    rows = stratified(6, dict.fromkeys(range(7), 20), 0)
    game, _, _ = pairwise(6, 0)
    utilities = game(rows)
    utilities[0] = -np.inf
    view = fit_quadratic(rows, utilities, ridge=1e-10)
    np.testing.assert_allclose(view(rows[1:]), utilities[1:], atol=1e-4)
    cubic = utilities.copy()
    cubic[1:] += 5.0 * rows[1:, :3].all(axis=1)
    heavy = np.where(rows[:, 0], 1.0, 1e-6)
    fits = [fit_quadratic(rows, cubic, weights) for weights in (None, heavy)]
    errors = [np.abs(fit(rows) - cubic)[1:][rows[1:, 0]].mean() for fit in fits]
    assert errors[1] < 0.1 * errors[0]
    with pytest.raises(ValueError, match="at least one of them finite"):
        fit_quadratic(rows, np.full(len(rows), np.nan))
    with pytest.raises(ValueError, match="must be positive"):
        fit_quadratic(rows, utilities, ridge=0.0)


def test_centred_pairs_leave_the_utility_of_one_size_alone():
    game, _, _ = pairwise(10, 3)
    rows, utilities = sample_near(game, 4, 0, size=200)
    view = fit_quadratic(rows, utilities)
    np.testing.assert_allclose(strongest_pairs(view, 4, 1000)(rows), view(rows), atol=1e-9)
    few = strongest_pairs(view, 4, 7)
    assert np.count_nonzero(few.pairs) == 7
    assert np.corrcoef(few(rows), view(rows))[0, 1] > 0.5


def test_bad_terms():
    with pytest.raises(ValueError, match=r"shapes \[3\] and \[3, 3\]"):
        solve_quadratic(np.zeros(3), np.zeros((2, 2)), 1)
    with pytest.raises(ValueError, match="must be positive"):
        solve_quadratic(np.zeros(3), np.zeros((3, 3)), 1, most=0)
    with pytest.raises(ValueError, match="between 1 and 3"):
        solve_quadratic(np.zeros(3), np.zeros((3, 3)), 4)
