"""Costs of coalitions that share prefixes with their predecessors, against counting by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sampling
from sampling import prefix_costs as module
from sampling.prefix_costs import prefix_costs
from tests.support.sorted_coalitions import sorted_coalitions


def shared_by_hand(first, second, prices):
    kept = [np.flatnonzero(row).tolist() for row in (first, second)]
    length = 0
    while length < min(map(len, kept)) and kept[0][length] == kept[1][length]:
        length += 1
    return sum(prices[player] for player in kept[0][:length])


@given(sorted_coalitions(), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 16_384]))
def test_shared_work_is_the_common_prefix_of_the_kept_players(rows, seed, slice_rows):
    prices = np.random.default_rng(seed).integers(0, 9, rows.shape[1]) / 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLICE", slice_rows)
        table = prefix_costs(rows, prices, head_cost=1.5)
    by_hand = [shared_by_hand(*pair, prices) for pair in pairwise(rows)]
    assert table.shared.tolist() == [0, *by_hand][: len(rows)]
    alone = [table.of_run(row, row + 1) for row in range(len(rows))]
    assert alone == [row @ prices + 1.5 for row in rows]
    for start in range(len(rows)):
        total = sum(alone[start:]) - sum(by_hand[start:])
        assert table.of_run(start, len(rows)) == total


def test_all_coalitions_cost_one_evaluation_a_node_of_the_prefix_tree():
    rows = sampling.enumerate_all(6)
    rows = rows[sampling.lexicographic_order(rows)]
    # One layer evaluation for each non-empty prefix of kept players: there are 2^n - 1.
    assert prefix_costs(rows, head_cost=0.0).of_run(0, len(rows)) == 2**6 - 1


@pytest.mark.parametrize("prices", [[1, 2], [1, -1, 1], [1, np.inf, 1]])
def test_costs_that_are_none(prices):
    with pytest.raises(ValueError, match="player_costs"):
        prefix_costs(np.ones((2, 3), dtype=bool), prices)


@given(sorted_coalitions(), st.integers(0, 2**32 - 1))
def test_in_sorted_order_each_distinct_prefix_is_paid_once(rows, seed):
    prices = np.random.default_rng(seed).integers(0, 9, rows.shape[1]) / 4
    kept = [np.flatnonzero(row).tolist() for row in rows]
    prefixes = {tuple(steps[: k + 1]) for steps in kept for k in range(len(steps))}
    by_hand = sum(prices[prefix[-1]] for prefix in prefixes) + 0.25 * len(rows)
    assert prefix_costs(rows, prices, head_cost=0.25).before[-1] == by_hand
