import json

import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate import SurrogateNotFound, SurrogateRegressor, SurrogateUnreadable, load, save


@pytest.fixture(scope="module")
def fitted():
    coalitions = enumerate_all(7)[stream(0, "test storage").permutation(128)[:60]]
    utilities = -np.exp((~coalitions) @ np.linspace(0.1, 0.7, 7))
    return SurrogateRegressor(steps=20, width=4, folds=3, seed=2).fit(coalitions, utilities)


def test_round_trip_predicts_the_same_bits(fitted, tmp_path):
    save(fitted, tmp_path / "surrogate")
    again = load(tmp_path / "surrogate")
    every = enumerate_all(7)
    np.testing.assert_array_equal(again.predict(every), fitted.predict(every))
    for one, two in zip(again.predict_interval(every), fitted.predict_interval(every), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(again.out_of_fold_, fitted.out_of_fold_)
    np.testing.assert_array_equal(again.folds_, fitted.folds_)
    assert again.scores_ == fitted.scores_
    assert again.stack_ == fitted.stack_
    assert again.get_params() == fitted.get_params()


def test_round_trip_without_networks(tmp_path):
    coalitions = enumerate_all(7)[stream(0, "test storage").permutation(128)[:60]]
    utilities = -np.exp((~coalitions) @ np.linspace(0.1, 0.7, 7))
    alone = SurrogateRegressor(networks=False, folds=3).fit(coalitions, utilities)
    again = load(save(alone, tmp_path))
    assert again.ensemble_.networks is None
    assert again.get_params() == alone.get_params()
    every = enumerate_all(7)
    np.testing.assert_array_equal(again.predict(every), alone.predict(every))


def test_saving_again_replaces_and_leaves_nothing_behind(fitted, tmp_path):
    save(fitted, tmp_path)
    first = {path.name for path in tmp_path.iterdir()}
    save(load(tmp_path), tmp_path)
    second = {path.name for path in tmp_path.iterdir()}
    assert len(second) == 2
    assert len(first | second) == 3
    load(tmp_path)


def test_missing(tmp_path):
    with pytest.raises(SurrogateNotFound, match=r"no surrogate at .*nothing"):
        load(tmp_path / "nothing")


def damage_json(path):
    (path / "surrogate.json").write_text("{", encoding="utf-8")


def newer_schema(path):
    metadata = json.loads((path / "surrogate.json").read_text(encoding="utf-8"))
    (path / "surrogate.json").write_text(json.dumps(metadata | {"schema": 99}), encoding="utf-8")


def lose_weights(path):
    next(path.glob("*.safetensors")).unlink()


def cut_weights(path):
    weights = next(path.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])


def lose_a_number(path):
    metadata = json.loads((path / "surrogate.json").read_text(encoding="utf-8"))
    del metadata["numbers"]["process.kernel.constant"]
    (path / "surrogate.json").write_text(json.dumps(metadata), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (damage_json, "damaged"),
        (newer_schema, "schema is 99"),
        (lose_weights, "weights file is missing"),
        (cut_weights, "weights do not fit"),
        (lose_a_number, "weights do not fit"),
    ],
)
def test_unreadable_says_where_and_why(fitted, tmp_path, spoil, reason):
    save(fitted, tmp_path)
    spoil(tmp_path)
    with pytest.raises(SurrogateUnreadable, match=reason) as caught:
        load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unfitted_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        save(SurrogateRegressor(), tmp_path / "x")
    assert not (tmp_path / "x").exists()
