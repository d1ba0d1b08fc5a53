"""Which verified sets no other beats."""

from __future__ import annotations

import itertools
import math

import pytest

from layershap.results.estimate import Estimate
from layershap.results.frontier import (
    AXES,
    OWN,
    WHOLE,
    FrontierPoint,
    marked,
    non_dominated,
    points,
)
from tests.support.recommendation_samples import ROWS, content, verified


def find(found, method, removed):
    return next(p for p in found if p.method == method and p.removed == tuple(removed))


def test_points_hold_what_was_verified():
    found = points(verified(content(ROWS)))
    assert [p.method for p in found] == [
        WHOLE, OWN, "greedy", "deep", OWN, "greedy", OWN, "merging",
    ]  # fmt: skip
    own = find(found, OWN, [2, 4])
    assert (own.count, own.names, own.parameters, own.parameter_share) == (2, "2,4", 800, 0.8)
    assert own.loss == Estimate(0.05, 0.04, 0.060000000000000005)
    assert own.decode == Estimate(1.22, 1.2, 1.24)
    assert (own.memory, own.measured, own.merged) == (800, True, False)
    assert find(found, "merging", [3, 4, 5]).merged


def test_equal_sets_stay_and_worse_ones_go():
    found = points(verified(content(ROWS)))
    everywhere = frozenset(AXES)
    assert found[0].on_frontier == everywhere, "nothing costs less than the whole model"
    assert find(found, OWN, [4]).on_frontier == everywhere
    assert find(found, "greedy", [4]).on_frontier == everywhere, "the same set"
    assert find(found, "deep", [5]).on_frontier == frozenset(), "faster by noise only"
    assert find(found, OWN, [2, 4]).on_frontier == everywhere
    assert find(found, "greedy", [3, 4]).on_frontier == frozenset()
    assert find(found, OWN, [1, 2, 4]).on_frontier == frozenset(), "merging costs less"


def test_speed_beyond_noise_counts():
    rows = [(([4], 0.02, 1.10), [("deep", [5], 0.30, 1.30, None)])]
    found = find(points(verified(content(rows))), "deep", [5])
    assert found.on_frontier == {"decode", "prefill"}


def test_larger_sets_are_not_lost_in_the_noise_of_smaller_models():
    """A smaller model whose speed interval meets a larger one's is not faster for that."""
    rows = [(([4], 0.02, 1.10), []), (([2, 4], 0.05, 1.12), [])]
    found = points(verified(content(rows)))
    assert "decode" in find(found, OWN, [2, 4]).on_frontier, "its own median is higher"
    rows = [(([4], 0.02, 1.10), []), (([2, 4], 0.05, 1.09), [])]
    assert "decode" not in find(points(verified(content(rows))), OWN, [2, 4]).on_frontier


def test_what_was_not_measured_is_on_no_frontier():
    whole = content(ROWS)
    for item in (whole["dense"], *whole["recommendations"]):
        del item["speed"]
        for rival in item.get("baselines", ()):
            del rival["speed"]
    found = points(verified(whole))
    assert not any(p.measured or p.on_frontier & {"decode", "prefill", "memory"} for p in found)
    assert find(found, OWN, [2, 4]).on_frontier == {"count", "parameters"}


def test_sets_without_a_finite_loss_are_left_out():
    rows = content(ROWS)
    rows["recommendations"][0].update(difference=None, difference_lower=None, difference_upper=None)
    found = points(verified(rows))
    assert not [p for p in found if p.method == OWN and p.count == 1]
    assert "count" in find(found, "greedy", [4]).on_frontier


@pytest.mark.parametrize("axis", ["count", "parameters", "memory"])
def test_frontier_equals_the_definition(axis):
    """Against every pair, on a grid of losses and sizes with many ties."""
    grid = [
        FrontierPoint(f"m{a}{b}", b, (), "", Estimate(a / 4), 1000 - b, 1.0, memory=1000 - b)
        for a, b in itertools.product(range(4), range(4))
        if (a + 2 * b) % 3 != 1
    ]
    expected = [
        p
        for p in grid
        if not any(
            q.loss.value <= p.loss.value
            and q.count >= p.count
            and (q.loss.value, -q.count) != (p.loss.value, -p.count)
            for q in grid
        )
    ]
    assert non_dominated(grid, axis) == expected
    assert [p.method for p in marked(grid) if axis in p.on_frontier] == [p.method for p in expected]
    assert 0 < len(expected) < len(grid)


def test_estimates_without_an_interval_are_their_own_ends():
    assert (Estimate(2.0).low, Estimate(2.0).high) == (2.0, 2.0)
    assert not Estimate(2.0, 1.0, math.nan).has_interval
