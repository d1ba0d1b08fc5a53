"""Costs of coalitions that share prefixes, against counting distinct prefixes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling.prefix_costs import PrefixCosts


def distinct_steps(rows, layers):
    """Cost of a walk that computes each prefix of kept layers once."""
    seen = set()
    for row in rows:
        kept = tuple(np.flatnonzero(row))
        seen.update(kept[: k + 1] for k in range(len(kept)))
    return sum(layers[prefix[-1]] for prefix in seen)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_costs_add_up_to_the_walk_and_the_heads_in_any_order(rows, random):
    pool = np.unique(np.array(rows), axis=0)
    layers = np.array([1.0, 2.0, 1.0, 0.5, 3.0, 1.0])
    costs = PrefixCosts(pool, head=0.25, layers=layers)
    order = list(range(len(pool)))
    random.shuffle(order)
    total = 0.0
    for place in order:
        total += costs.now()[place]
        costs.take(place)
    walk = distinct_steps(pool, layers) + 0.25 * len(pool)
    assert total == pytest.approx(walk)
    np.testing.assert_allclose(costs.now(), 0.25, atol=1e-12)


def test_a_shared_prefix_is_free():
    pool = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]], dtype=bool)
    costs = PrefixCosts(pool)
    assert costs.now().tolist() == [5.0, 4.0, 4.0]
    costs.take(0)
    assert costs.now().tolist() == [1.0, 2.0, 4.0]


def test_costs_must_be_positive():
    with pytest.raises(ValueError, match="head"):
        PrefixCosts(np.ones((1, 2), bool), head=0.0)
