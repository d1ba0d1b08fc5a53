"""A belief of one game helps to learn a like one from few measurements."""

from __future__ import annotations

import numpy as np
import pytest

from sampling import campaign_design, enumerate_all
from surrogate.process.belief import ProcessLearner
from surrogate.process.transferred import TransferredLearner, cuts

N = 10


def plain(rows: np.ndarray) -> np.ndarray:
    gone = (~rows).astype(float)
    return -(gone @ np.linspace(0.1, 1.0, N)) - 0.4 * gone[:, 2] * gone[:, 7]


def like(rows: np.ndarray) -> np.ndarray:
    return 0.3 + 0.5 * plain(rows) - 0.2 * cuts(rows)


@pytest.fixture(scope="module")
def known():
    rows = campaign_design(N, 200, 5, 0).coalitions
    return ProcessLearner()(rows, plain(rows), 0)


def test_cuts_are_runs_of_removed_players():
    rows = np.array([[1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    assert cuts(rows).tolist() == [0, 2, 1, 1]


def test_few_measurements_are_enough_for_a_like_game(known):
    rows = campaign_design(N, 24, 5, 1).coalitions
    every = enumerate_all(N)
    every = every[(~every).sum(axis=1) <= 5]
    alone = ProcessLearner()(rows, like(rows), 0).mean(every) - like(every)
    helped = TransferredLearner(known)(rows, like(rows), 0).mean(every) - like(every)
    assert np.abs(helped).mean() < 0.3 * np.abs(alone).mean()


def test_neighbours_are_expected_as_they_are_themselves(known):
    rows = campaign_design(N, 40, 5, 1).coalitions
    belief = TransferredLearner(known)(rows, like(rows), 0)
    some = rows[5:9]
    removals = belief.removals(some)
    for row, found in zip(some, removals, strict=True):
        for player in np.flatnonzero(row):
            fewer = row.copy()
            fewer[player] = False
            assert belief.mean(fewer[None])[0] == pytest.approx(found[player], abs=1e-8)
    row = some[0]
    found = belief.exchanges(row)
    for i, back in enumerate(np.flatnonzero(~row)):
        for j, out in enumerate(np.flatnonzero(row)):
            other = row.copy()
            other[[back, out]] = True, False
            assert belief.mean(other[None])[0] == pytest.approx(found[i, j], abs=1e-8)


def test_deviations_hold_what_is_not_known_of_both(known):
    rows = campaign_design(N, 24, 5, 1).coalitions
    belief = TransferredLearner(known)(rows, like(rows), 0)
    every = enumerate_all(N)
    assert (belief.deviation(every) >= belief.rest.deviation(every)).all()


def test_what_is_studied_on_a_scale_of_its_own_changes_the_kernel_alone(known):
    rows = campaign_design(N, 24, 5, 1).coalitions
    utilities = like(rows)
    belief = TransferredLearner(known)(rows, utilities, 0, 2 * utilities[:20])
    np.testing.assert_allclose(belief.mean(rows), utilities, atol=0.1)
