"""What rounds are chosen by: the retention of what is measured, unless the raw loss is asked."""

import numpy as np
import pytest

from cluster import Column, Records
from layershap.runs.config import RunConfig
from layershap.runs.plan import make_plan
from layershap.stages.choosing import has_ends, measured_state
from sampling import enumerate_all


def records(utilities, status):
    count = len(utilities)
    return Records(
        players=("a", "b", "c"),
        coalitions=enumerate_all(3)[:count],
        utilities=np.array(utilities),
        metrics={},
        columns=(Column("nll", (1,), -1),),
        utility="nll",
        status=tuple(status),
        times_measured=np.ones(count, dtype=np.int64),
        seconds=np.zeros(count),
    )


LOSSES = records(
    [-90.0, np.nan, np.nan, -4.0, -20.0, -3.0, -2.5, -2.0],
    ["ok", "non-finite", "failed", *["ok"] * 5],
)


def test_losses_become_retention_and_one_that_is_not_finite_keeps_nothing():
    state = measured_state(LOSSES, 0, "retention")
    assert state.spent == 7, "what crashed has no place"
    np.testing.assert_allclose(
        state.utilities, np.exp([-88.0, -np.inf, -2.0, -18.0, -1.0, -0.5, 0.0])
    )
    assert has_ends(state)


def test_shares_and_the_raw_loss():
    raw = measured_state(LOSSES, 0, "loss")
    np.testing.assert_array_equal(raw.utilities, [-90.0, -4.0, -20.0, -3.0, -2.5, -2.0])
    scores = records([0.0, 0.1, 0.1, 0.2, 0.1, 0.3, 0.3, 0.4], ["ok"] * 8)
    shares = measured_state(scores, 0, "share")
    np.testing.assert_allclose(shares.utilities, scores.utilities / 0.4)


@pytest.mark.parametrize("design", ["adaptive", "fixed"])
def test_values_of_retention_open_near_the_whole_model(design):
    config = RunConfig.of(budget=1200, design=design)
    near, all_over = (make_plan(config, 30, what) for what in ("retention", "loss"))
    assert near.size == all_over.size
    removed = [(~plan.opening).sum(axis=1) for plan in (near, all_over)]
    assert np.mean(removed[0] > 12) < 0.06 < 0.25 < np.mean(removed[1] > 12)
    for count in range(2, 11):
        assert (removed[0] == count).sum() >= (removed[1] == count).sum() * len(near.opening) / len(
            all_over.opening
        )
