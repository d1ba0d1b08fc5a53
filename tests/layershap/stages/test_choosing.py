"""What rounds are chosen by: the retention of what is measured, unless the raw loss is asked."""

import numpy as np

from layershap.runs.config import RunConfig
from layershap.runs.plan import make_plan


def test_values_of_retention_open_near_the_whole_model():
    near, all_over = (
        make_plan(RunConfig.of(budget=1200, value_of=what), 30) for what in ("retention", "loss")
    )
    assert near.size == all_over.size
    removed = [(~plan.opening).sum(axis=1) for plan in (near, all_over)]
    assert np.mean(removed[0] > 12) < 0.06 < 0.25 < np.mean(removed[1] > 12)
    for count in range(2, 11):
        assert (removed[0] == count).sum() >= (removed[1] == count).sum() * len(near.opening) / len(
            all_over.opening
        )
