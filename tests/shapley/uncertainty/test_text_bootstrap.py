from __future__ import annotations

import numpy as np
import pytest

from sampling import campaign_design, empty, enumerate_all, full, paired, stream
from shapley import bootstrap_values, exact_values, fit_regression, regression_operator
from tests.support.shapley_games import random_table, smooth


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_operator_is_the_regression(n):
    game = random_table(n, 0)
    designs = [enumerate_all(n)]
    if n == 9:
        designs.append(campaign_design(n, 120, 4, seed=0).coalitions)
        designs.append(np.concatenate([paired(n, 30, 0), empty(n)[None], full(n)[None]]))
    for rows in designs:
        fit = fit_regression(rows, game(rows), n)
        operator = regression_operator(rows, n, fit.diagnostics["unpaired_weight"])
        assert operator.shape == (n, len(rows))
        np.testing.assert_allclose(operator @ game(rows), fit.values, atol=1e-9)


def noisy_text(sequences, seed):
    """Per-sequence utilities: the game plus noise of each sequence, and token counts."""
    game, rng = smooth(8), stream(seed, "text")
    rows = enumerate_all(8)
    tokens = rng.integers(50, 150, size=sequences).astype(float)
    tilt = rng.normal(size=(8, sequences)) * 0.3
    return rows, game(rows)[:, None] + rows @ tilt, tokens, tilt


def test_bootstrap_matches_the_error_over_texts():
    rows, table, tokens, tilt = noisy_text(60, 0)
    operator = regression_operator(rows, 8)
    found = bootstrap_values(operator, table, tokens, seed=1)
    share = tokens / tokens.sum()
    np.testing.assert_allclose(found.values, exact_values(smooth(8)).values + tilt @ share)
    # Delta method for a ratio of means: the values of a sequence are its tilt.
    centred = tilt - (tilt @ share)[:, None]
    expected = np.sqrt((centred**2) @ share**2)
    np.testing.assert_allclose(found.standard_errors, expected, rtol=0.15)
    assert ((found.lower < found.values) & (found.values < found.upper)).all()


def test_bootstrap_intervals_cover_the_population():
    truth, inside = exact_values(smooth(8)).values, []
    for seed in range(40):
        rows, table, tokens, _ = noisy_text(40, seed)
        found = bootstrap_values(regression_operator(rows, 8), table, tokens, seed, 300)
        inside.append((found.lower <= truth) & (truth <= found.upper))
    assert 0.87 < np.mean(inside) < 0.99


def test_functions_and_operators_agree():
    rows, table, tokens, _ = noisy_text(12, 3)
    operator = regression_operator(rows, 8)
    linear = bootstrap_values(operator, table, tokens, seed=2, resamples=20)
    called = bootstrap_values(lambda utilities: operator @ utilities, table, tokens, 2, 20)
    np.testing.assert_allclose(called.standard_errors, linear.standard_errors)
    np.testing.assert_allclose(called.upper, linear.upper)
    equal = bootstrap_values(operator, table, seed=2, resamples=20)
    np.testing.assert_allclose(equal.values, operator @ table.mean(axis=1))


def test_bad_tables_are_refused():
    with pytest.raises(ValueError, match="at least 2 sequences"):
        bootstrap_values(np.eye(2), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="positive numbers of tokens"):
        bootstrap_values(np.eye(2), np.zeros((2, 3)), np.array([1.0, 0.0, 2.0]))
    with pytest.raises(ValueError, match="at least 2, got 1"):
        bootstrap_values(np.eye(2), np.zeros((2, 3)), resamples=1)
