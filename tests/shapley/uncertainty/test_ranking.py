from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shapley import (
    Status,
    Values,
    exact_values,
    least_valuable_probabilities,
    order_probabilities,
    ranking_sentences,
    ranking_statements,
    statements_by_count,
    stratified_values,
)
from tests.support.shapley_games import smooth


def given_values(values, errors, quantile=1.959964):
    return Values.build(
        tuple(f"p{i}" for i in range(len(values))),
        np.array(values, dtype=float),
        np.array(errors, dtype=float),
        method="given",
        status=Status.ESTIMATED,
        spent=1,
        budget=None,
        quantile=float(quantile),
    )


def test_two_players_have_a_closed_form():
    values = given_values([1.0, 2.0], [0.6, 0.8])
    assert order_probabilities(values)[0] == pytest.approx(stats.norm.cdf(1.0), abs=0.01)
    least = least_valuable_probabilities(values, 1)
    np.testing.assert_allclose(least, [stats.norm.cdf(1.0), stats.norm.sf(1.0)], atol=0.01)
    # Errors that move together hardly upset the order; errors that move apart do.
    for sign in (-1.0, 1.0):
        between = sign * 0.4
        covariance = np.array([[0.36, between], [between, 0.64]])
        expected = stats.norm.cdf(1.0 / np.sqrt(1.0 - 2 * between))
        found = order_probabilities(values, covariance)[0]
        assert found == pytest.approx(expected, abs=0.01)


def test_few_degrees_of_freedom_make_statements_weaker():
    errors = [0.5, 0.5]
    sure = order_probabilities(given_values([0.0, 2.0], errors))[0]
    student = given_values([0.0, 2.0], errors, float(stats.t.ppf(0.975, 3)))
    assert student.quantile == pytest.approx(stats.t.ppf(0.975, 3))
    assert sure == pytest.approx(stats.norm.cdf(2.0 / np.sqrt(0.5)), abs=0.004)
    expected = stats.t.cdf(2.0 / np.sqrt(0.5), 3)
    assert order_probabilities(student)[0] == pytest.approx(expected, abs=0.01)
    assert order_probabilities(student)[0] < sure


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 8), k=st.integers(1, 8), seed=st.integers(0, 100))
def test_shares_add_up_and_are_reproduced(n, k, seed):
    k = min(k, n)
    rng = np.random.default_rng(seed)
    values = given_values(rng.normal(size=n), rng.exponential(size=n))
    shares = least_valuable_probabilities(values, k, seed=seed, draws=500)
    assert shares.sum() == pytest.approx(k)
    again = least_valuable_probabilities(values, k, seed=seed, draws=500)
    np.testing.assert_array_equal(shares, again)
    if k < n:
        more = least_valuable_probabilities(values, k + 1, seed=seed, draws=500)
        assert (more >= shares).all()


def test_exact_values_are_certain_and_ties_are_not():
    values = given_values([3.0, 1.0, 1.0, 0.0], [0.0] * 4)
    assert least_valuable_probabilities(values, 1).tolist() == [0, 0, 0, 1]
    shares = least_valuable_probabilities(values, 2)
    np.testing.assert_allclose(shares, [0, 0.5, 0.5, 1], atol=0.02)
    assert ranking_sentences(values, 1) == [
        "p3 is the least valuable: 100 %",
        "p3 is worth less than p1: 100 %",
    ]


def test_statements_are_about_the_same_draws():
    values = given_values([0.5, 0.1, 3.0, 0.3, 9.0], [0.2, 0.2, 0.5, 0.2, 0.1])
    found = ranking_statements(values, 3, seed=2)
    assert [statement.kind for statement in found] == ["least"] * 3 + ["set"] + ["order"] * 3
    assert found[0].players == ("p1",)
    assert found[3].players == ("p1", "p3", "p0")
    shares = least_valuable_probabilities(values, 3, seed=2)
    assert [statement.probability for statement in found[:3]] == shares[[1, 3, 0]].tolist()
    # The set is right only if each of its members is, so the chance is at most the least of them.
    assert found[3].probability <= min(statement.probability for statement in found[:3])
    orders = order_probabilities(values, seed=2)
    assert [statement.probability for statement in found[4:]] == orders[:3].tolist()
    texts = ranking_sentences(values, 3, seed=2)
    assert texts[0] == "p1 is among the 3 least valuable: over 99 %"
    assert texts[3].startswith("the 3 least valuable are p1, p3, p0: ")
    assert texts[4].startswith("p1 is worth less than p3: 7")
    everybody = ranking_statements(values, 5)
    assert len(everybody) == 5 + 1 + 4


def test_statements_hold_about_as_often_as_they_say():
    said, held = [], []
    for seed in range(40):
        game = smooth(9, seed % 5)
        truth = exact_values(game)
        for statement in ranking_statements(stratified_values(game, 120, seed), 3, seed=seed):
            said.append(statement.probability)
            worth = truth.values[[truth.players.index(name) for name in statement.players]]
            if statement.kind == "order":
                held.append(bool(worth[0] < worth[1]))
            else:
                held.append(bool((worth <= np.sort(truth.values)[2]).all()))
    assert abs(np.mean(said) - np.mean(held)) < 0.1
    doubtful = np.array(said) < 0.8
    assert np.mean(np.array(held)[~doubtful]) > np.mean(np.array(held)[doubtful])


def test_what_does_not_fit_is_named():
    values = given_values([1.0, 2.0], [0.1, 0.1])
    with pytest.raises(ValueError, match="k must be between 1 and n = 2"):
        ranking_statements(values, 3)
    with pytest.raises(ValueError, match="no standard errors"):
        order_probabilities(given_values([1.0, 2.0], [np.nan, 0.1]))
    with pytest.raises(ValueError, match=r"finite \[2, 2\]"):
        order_probabilities(values, np.eye(3))
    for wrong in (np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[1.0, 0.5], [0.0, 1.0]])):
        with pytest.raises(ValueError, match="without negative eigenvalues"):
            order_probabilities(values, wrong)
    with pytest.raises(ValueError, match="draws must be at least 1"):
        order_probabilities(values, draws=0)


def test_several_counts_are_told_from_the_same_draws():
    values = given_values([1.0, 1.1, 1.5, 1.5], [0.2, 0.3, 0.2, 0.2])
    together = statements_by_count(values, [3, 1], seed=2)
    assert set(together) == {1, 3}
    assert all(together[k] == ranking_statements(values, k, seed=2) for k in together)
    with pytest.raises(ValueError, match="k must be between"):
        statements_by_count(values, [2, 5])
