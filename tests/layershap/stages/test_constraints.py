"""What the sets of a run must satisfy, and which counts can."""

from __future__ import annotations

import numpy as np
import pytest

from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.workspace import open_workspace
from layershap.stages.constraints import search_limits
from layershap.terminal.console import Console
from sampling import without

PARAMETERS = 4_048_800  # of the embedded model


@pytest.fixture
def limits_of(tmp_path):
    def find(**settings):
        config = RunConfig.of(**settings)
        with open_workspace(config, RunDirectory(tmp_path), Console()) as work:
            return search_limits(work)

    return find


def test_without_targets_the_counts_are_the_runs(limits_of):
    limits, counts = limits_of(count="2,3", contiguous=True)
    assert counts == (2, 3)
    assert limits.contiguous
    assert not limits.savings


def test_a_number_of_parameters_decides_the_counts(limits_of):
    limits, counts = limits_of(max_params=3.2e6)
    assert counts == (3, 4, 5, 6)
    each = (PARAMETERS - 3.2e6) / 3
    assert limits.savings[0].amounts.min() >= each
    rows = np.array([without(12, range(2)), without(12, range(3))])
    assert limits.allowed(rows).tolist() == [False, True]


def test_speed_and_memory_are_priced_by_player(limits_of):
    limits, counts = limits_of(min_speedup=1.15, max_memory=0.0145, count="3-5")
    assert counts == (3, 4, 5)
    assert [saving.unit for saving in limits.savings] == ["ms", "GiB"]
    assert all((saving.amounts > 0).all() for saving in limits.savings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_params": 1e3}, r"--max-params 1000: saving of .* cannot be reached"),
        ({"max_params": 1e6, "count": "2"}, r"remove at least \d+"),
        ({"min_speedup": 500.0}, r"--min-speedup 500: saving of .* at most"),
        ({"contiguous": True, "max_params": 1e3, "count": "1-3"}, "in one run: at most"),
    ],
)
def test_targets_that_no_set_reaches_name_the_nearest(limits_of, settings, message):
    with pytest.raises(UserError, match=message):
        limits_of(**settings)


def test_halves_go_in_pairs_unless_they_may_be_zeroed(limits_of):
    limits, counts = limits_of(players="sublayers", protect="L3.attn")
    assert counts == (2, 4, 6)
    mlp = 2 * 3  # the MLP of the layer whose attention is protected
    assert limits.pairs is not None
    assert not limits.pairs[mlp - 1]
    assert limits.pairs[mlp]
    scattered, paired = without(23, (1, 8))[None], without(23, (mlp, mlp + 1))[None]
    assert not limits.allowed(scattered)[0]
    assert limits.allowed(paired)[0]
    free, counts = limits_of(players="sublayers", protect="L3.attn", zero_halves=True)
    assert free.pairs is None
    assert counts == tuple(range(1, 8))
