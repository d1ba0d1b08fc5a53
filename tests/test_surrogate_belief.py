"""A process's expectations of coalitions come with honest deviations."""

from __future__ import annotations

import numpy as np

from sampling import campaign_design, enumerate_all
from surrogate.belief import process_belief


def utilities(rows: np.ndarray) -> np.ndarray:
    gone = (~rows).astype(float)
    weights = np.linspace(0.1, 1.0, rows.shape[1])
    return 3.0 - 2.0 * (gone @ weights) - gone[:, 0] * gone[:, 1]


def test_measured_coalitions_are_known_and_others_within_deviations():
    rows = campaign_design(9, 120, 6, 0).coalitions
    belief = process_belief(rows, utilities(rows), 0)
    np.testing.assert_allclose(belief.mean(rows), utilities(rows), atol=0.05)
    everything = enumerate_all(9)[1:]
    apart = belief.mean(everything) - utilities(everything)
    deviation = belief.deviation(everything)
    assert (deviation > 0).all()
    assert np.abs(apart / deviation).mean() < 2
    assert np.corrcoef(belief.mean(everything), utilities(everything))[0, 1] > 0.99


def test_what_was_never_seen_is_less_sure():
    rows = campaign_design(9, 60, 2, 0).coalitions
    rows = rows[(~rows).sum(axis=1) <= 2]
    belief = process_belief(rows, utilities(rows), 0)
    far = enumerate_all(9)
    far = far[(~far).sum(axis=1) == 7]
    assert belief.deviation(far).mean() > 3 * belief.deviation(rows).mean()


def test_a_constant_game_is_no_trouble():
    rows = campaign_design(5, 12, 3, 0).coalitions
    belief = process_belief(rows, np.full(len(rows), 2.0), 0)
    np.testing.assert_allclose(belief.mean(enumerate_all(5)), 2.0, atol=1e-6)
    assert belief.mean(rows[:0]).shape == (0,)


def test_the_seed_decides():
    rows = campaign_design(12, 700, 6, 0).coalitions
    one, two = (process_belief(rows, utilities(rows), 3) for _ in range(2))
    assert np.array_equal(one.mean(rows), two.mean(rows))
