from typing import Any, cast

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_val_score

from sampling import enumerate_all, random_of_sizes, stream
from surrogate import SurrogateGame, SurrogateRegressor, evaluate
from surrogate.ensemble.ensemble import LEARNERS, assign_folds
from surrogate.model.evaluation import gradient_boosting, ridge_pairs
from surrogate.model.scores import score
from tests.support.plain_prediction import predict_plainly

N, M = 12, 300
# One shape for all tests that need no accuracy, so that it compiles once.
QUICK: dict[str, Any] = {"steps": 20, "width": 4, "folds": 3}


def layers(coalitions):
    """Neighbours stand in for each other, the loss saturates, the first player is vital."""
    gone = 1.0 - coalitions
    cost = np.array([2.5, 0.3, 0.2, 0.5, 0.1, 0.05, 0.3, 0.15, 0.2, 0.4, 0.1, 0.6])
    damage = gone @ cost + 0.4 * (gone[:, :-1] * gone[:, 1:]).sum(axis=1)
    damage += 0.3 * (gone[:, :-2] * gone[:, 1:-1] * gone[:, 2:]).sum(axis=1)
    return -2.0 - 7.0 * (1.0 - np.exp(-damage / 3.0)) - 2.0 * gone[:, 0] * (1 + gone[:, 1])


@pytest.fixture(scope="module")
def measured():
    rng = stream(1, "test measured")
    coalitions = np.unique(random_of_sizes(N, rng.integers(0, N + 1, 2 * M), rng), axis=0)
    coalitions = coalitions[rng.permutation(len(coalitions))[:M]]
    return coalitions, layers(coalitions)


@pytest.fixture(scope="module")
def few(measured):
    return measured[0][:60], measured[1][:60]


@pytest.fixture(scope="module")
def unseen(measured):
    every = enumerate_all(N)
    seen = {row.tobytes() for row in measured[0]}
    return every[[row.tobytes() not in seen for row in every]]


@pytest.fixture(scope="module")
def fitted(measured):
    return SurrogateRegressor().fit(*measured)


def test_beats_ridge_with_pairs_and_boosting_on_unseen_coalitions(fitted, measured, unseen):
    truth = layers(unseen)
    own = score(fitted.predict(unseen), truth)
    assert own.r2 is not None
    assert own.spearman is not None
    assert own.r2 > 0.99
    assert own.spearman > 0.99
    for learner in (ridge_pairs, gradient_boosting):
        other = score(learner(measured[0], measured[1], unseen), truth)
        assert own.r2 > (other.r2 or 0.0)
        assert own.mae < other.mae


def test_out_of_fold_error_tells_the_unseen_error(fitted, measured):
    coalitions, utilities = measured
    in_sample = np.abs(fitted.predict(coalitions) - utilities).mean()
    assert fitted.scores_ == score(fitted.out_of_fold_, utilities)
    assert fitted.scores_.mae > 2 * in_sample


def test_held_out_predictions_do_not_depend_on_their_own_utility(few):
    coalitions, utilities = few
    before = SurrogateRegressor(**QUICK).fit(coalitions, utilities)
    row = 7
    # A row whose weight is zero trains nothing, so only leakage could move its prediction.
    weights = np.ones(60)
    weights[row] = 0.0
    changed = utilities.copy()
    changed[row] += 50.0
    first = SurrogateRegressor(**QUICK).fit(coalitions, utilities, weights)
    second = SurrogateRegressor(**QUICK).fit(coalitions, changed, weights)
    np.testing.assert_allclose(first.out_of_fold_, second.out_of_fold_, rtol=1e-9)
    np.testing.assert_array_equal(first.predict(coalitions), second.predict(coalitions))
    assert not np.array_equal(before.predict(coalitions), first.predict(coalitions))


def test_intervals_cover_unseen_coalitions(fitted, unseen):
    drawn = unseen[stream(2, "test cover").permutation(len(unseen))[:2000]]
    lower, upper = fitted.predict_interval(drawn)
    truth = layers(drawn)
    assert ((lower <= truth) & (truth <= upper)).mean() > 0.9
    assert (lower <= fitted.predict(drawn)).all()
    assert (upper >= lower).all()
    narrow = fitted.predict_interval(drawn, level=0.5)
    assert (narrow[1] - narrow[0] <= upper - lower).all()


def test_fast_prediction_is_the_stack_of_the_learners(fitted, unseen):
    expected = predict_plainly(fitted.ensemble_, unseen)
    process, near, networks = LEARNERS
    assert list(fitted.stack_["near"]) == [near, networks]
    assert list(fitted.stack_["far"]) == [process, networks]
    np.testing.assert_allclose(fitted.predict(unseen), expected, atol=2e-3)
    # One row, a few rows and a table of all coalitions take different routes.
    np.testing.assert_allclose(fitted.predict(unseen[:1]), expected[:1], atol=2e-3)
    many = np.concatenate([unseen] * 2)
    np.testing.assert_allclose(fitted.predict(many), np.concatenate([expected] * 2), atol=2e-3)
    assert fitted.predict(unseen[:0]).shape == (0,)


def test_same_seed_same_surrogate(few):
    coalitions, utilities = few
    one, two, other = (
        SurrogateRegressor(seed=seed, **QUICK).fit(coalitions, utilities) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(one.predict(coalitions), two.predict(coalitions))
    np.testing.assert_array_equal(one.out_of_fold_, two.out_of_fold_)
    assert not np.array_equal(one.out_of_fold_, other.out_of_fold_)


def test_without_networks_the_processes_are_all(measured, unseen):
    alone = SurrogateRegressor(networks=False).fit(*measured)
    assert alone.ensemble_.networks is None
    assert [list(mix.values()) for mix in alone.stack_.values()] == [[1.0, 0.0], [1.0, 0.0]]
    assert list(alone.learners_out_of_fold_) == list(LEARNERS[:-1])
    assert (score(alone.predict(unseen), layers(unseen)).r2 or 0.0) > 0.99
    assert alone.scores_.mae > 2 * np.abs(alone.predict(measured[0]) - measured[1]).mean()


def test_follows_the_conventions_of_scikit_learn(few):
    coalitions, utilities = few
    template = SurrogateRegressor(seed=1, **QUICK)
    copy = cast(SurrogateRegressor, clone(template))
    assert copy.get_params() == template.get_params()
    assert copy.set_params(width=9).width == 9
    with pytest.raises(NotFittedError):
        template.predict(coalitions)
    scores = cross_val_score(template, coalitions.astype(int), utilities, cv=KFold(2))
    assert scores.shape == (2,)
    assert (scores > 0.5).all()
    assert not hasattr(template, "ensemble_")
    assert template.fit(coalitions, utilities) is template
    np.testing.assert_array_equal(
        template.predict(coalitions), template.predict(coalitions.astype(float))
    )


def test_weights_of_one_over_the_variance_beat_equal_weights_under_uneven_noise(measured, unseen):
    coalitions, utilities = measured[0][:200], measured[1][:200]
    rng = stream(7, "test noise")
    spread = np.where(rng.permutation(200) < 100, 2.0, 0.05)
    noisy = utilities + spread * rng.normal(size=200)
    equal = SurrogateRegressor(**QUICK).fit(coalitions, noisy)
    weighted = SurrogateRegressor(**QUICK).fit(coalitions, noisy, 1.0 / spread**2)
    truth = layers(unseen)
    assert (
        score(weighted.predict(unseen), truth).mae < 0.6 * score(equal.predict(unseen), truth).mae
    )


def test_scores_and_intervals_heed_weights(few):
    coalitions, utilities = few
    weights = np.where(np.arange(60) < 45, 1.0, 1e-6)
    wild = utilities + np.where(weights < 1.0, 500.0, 0.0)
    regressor = SurrogateRegressor(**QUICK).fit(coalitions, wild, weights)
    lower, upper = regressor.predict_interval(coalitions, 0.8)
    assert (upper - lower).max() < 100.0


def test_heavy_tails_are_predicted_beyond_what_was_measured(measured):
    coalitions, utilities = measured
    wild = -np.exp(-0.6 * utilities)
    half = wild > np.quantile(wild, 0.05)
    regressor = SurrogateRegressor(**QUICK).fit(coalitions[half], wild[half])
    # No learner of the mixture saturates at the worst utility that it saw.
    assert regressor.predict(coalitions[~half]).min() < wild[half].min()


def test_constant_game(few):
    coalitions, _ = few
    regressor = SurrogateRegressor(**QUICK)
    regressor.fit(coalitions, np.full(60, -3.0))
    np.testing.assert_allclose(regressor.predict(coalitions), -3.0, atol=1e-6)
    assert regressor.scores_.r2 is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.r_[np.nan, np.zeros(M - 1)]}, "1 non-finite"),
        ({"y": np.zeros(M - 1)}, "one utility for each"),
        ({"X": np.full((M, N), 0.5)}, "X must hold booleans"),
        ({"X": np.ones((M, N), bool)}, "distinct coalitions"),
        ({"X": np.ones(M, bool)}, "X must be a table"),
        ({"sample_weight": np.full(M, -1.0)}, "sample_weight must hold"),
        ({"sample_weight": np.zeros(M)}, "positive entry"),
    ],
)
def test_rejects_bad_data_with_one_line(measured, change, message):
    arguments = {"X": measured[0], "y": measured[1]} | change
    with pytest.raises(ValueError, match=message) as caught:
        SurrogateRegressor().fit(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("parameters", [{"folds": 1}, {"width": 0}, {"steps": 1}, {"seed": -1}])
def test_rejects_bad_parameters(measured, parameters):
    with pytest.raises(ValueError, match=f"{next(iter(parameters))} must be"):
        SurrogateRegressor(**parameters).fit(*measured)


def test_rejects_another_games_coalitions(fitted):
    with pytest.raises(ValueError, match="fitted on 12"):
        fitted.predict(np.ones((3, 5), bool))


def test_folds_spread_strata_and_keep_repeats_together():
    rng = stream(6, "test folds")
    rows = np.concatenate([enumerate_all(6)] * 2)
    fold = assign_folds(rows, 4, rng)
    np.testing.assert_array_equal(fold[:64], fold[64:])
    removed = (~rows[:64]).sum(axis=1)
    for size in range(7):
        counts = np.bincount(fold[:64][removed == size], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_evaluation_compares_three_learners_on_the_same_folds(fitted, measured):
    result = evaluate(fitted, *measured)
    assert list(result.overall) == ["surrogate", "ridge with pairs", "gradient boosting"]
    assert result.overall["surrogate"] == fitted.scores_
    r2 = {name: scores.r2 or 0.0 for name, scores in result.overall.items()}
    assert r2["surrogate"] > r2["ridge with pairs"]
    assert r2["surrogate"] > r2["gradient boosting"]
    for rows in result.strata.values():
        assert sum(scores.count for scores in rows.values()) == M
        assert set(rows) <= set(range(N + 1))
    assert result.coverage is not None
    assert 0.85 <= result.coverage <= 1.0
    assert sum(part.scores.count for part in result.by_excess) == M
    assert all(part.half_width is not None for part in result.by_excess)
    assert result.within is not None
    assert result.within.below == 1.0
    assert result.within.off >= result.within.scores.mae


def test_evaluation_wants_the_rows_of_the_fit(fitted, measured):
    with pytest.raises(ValueError, match="exactly these 10"):
        evaluate(fitted, measured[0][:10], measured[1][:10])


def test_game_answers_known_coalitions_exactly_and_predicts_others(fitted, measured, unseen):
    names = tuple(f"layer.{i}" for i in range(N))
    game = SurrogateGame(fitted, names, measured=measured)
    assert game.players == names
    np.testing.assert_array_equal(game(measured[0]), measured[1])
    np.testing.assert_array_equal(game(unseen[:500]), fitted.predict(unseen[:500]))
    mixed = np.stack([unseen[0], measured[0][3], unseen[1], measured[0][3]])
    np.testing.assert_array_equal(game(mixed)[[1, 3]], np.repeat(measured[1][3], 2))


def test_game_rejects_what_does_not_fit(fitted, measured):
    with pytest.raises(ValueError, match="not fitted"):
        SurrogateGame(SurrogateRegressor())
    with pytest.raises(ValueError, match="players must name all 12"):
        SurrogateGame(fitted, ("a", "b"))
    with pytest.raises(ValueError, match="measured must be"):
        SurrogateGame(fitted, measured=(measured[0], measured[1][:-1]))
