"""The configuration: what it accepts, what it says, and that it survives being written."""

from __future__ import annotations

import pytest

from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.config_file import checked_config, read_config, to_toml
from layershap.runs.plan import make_plan


def test_round_trip(tmp_path):
    config = RunConfig.of(
        model="some/model", calibration=("a.txt", "b.txt"), budget=77, count="1-3"
    )
    path = tmp_path / "run.toml"
    path.write_text(to_toml(config))
    assert read_config(path) == config
    assert "sequences = 8" in to_toml(config)
    assert "# heldout_sequences" not in to_toml(config)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"budget": 0}, "--budget 0: input should be greater than or equal to 1"),
        ({"budget": -5}, "--budget -5"),
        ({"dtype": "float8"}, "--dtype float8"),
        ({"sequences": 0}, "--sequences 0"),
        ({"nonsense": 1}, "--nonsense 1"),
        ({"workers": 0}, "--workers 0"),
    ],
)
def test_bad_values_are_named(values, said):
    with pytest.raises(UserError) as caught:
        checked_config(values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "counts"), [("1-4", [1, 2, 3, 4]), ("2", [2]), ("4,1", [1, 4]), (None, [1, 2, 3, 4])]
)
def test_counts(count, counts):
    assert RunConfig.of(count=count).counts(12) == counts


@pytest.mark.parametrize("count", ["0", "12", "3-20", "x", "4-2", ""])
def test_counts_that_cannot_be(count):
    with pytest.raises(UserError, match="--count"):
        RunConfig.of(count=count).counts(12)


def test_a_budget_of_everything_is_exact():
    plan = make_plan(RunConfig.of(budget=10_000, count="1-2"), 6)
    assert plan.exact
    assert len(plan.design) == plan.budget == 64
    assert plan.for_search == 0


def test_a_part_of_the_budget_is_for_the_search():
    plan = make_plan(RunConfig.of(budget=200, count="1-3"), 12)
    assert not plan.exact
    assert len(plan.design) + plan.for_search == 200
    assert plan.for_search == 40


def test_too_small_a_budget_names_the_least():
    with pytest.raises(UserError, match="at least 28"):
        make_plan(RunConfig.of(budget=10), 12)


def test_damaged_and_missing_toml(tmp_path):
    with pytest.raises(UserError, match="layershap run"):
        read_config(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_text("budget = [")
    with pytest.raises(UserError, match="TOML"):
        read_config(tmp_path / "run.toml")
    (tmp_path / "run.toml").write_text("budgt = 3")
    with pytest.raises(UserError, match="budgt"):
        read_config(tmp_path / "run.toml")


@pytest.mark.parametrize("text", ["1-300000000", "1-" + "9" * 5000])
def test_counts_beyond_any_model_are_refused_before_they_are_listed(text):
    with pytest.raises(UserError, match="not a list of counts"):
        RunConfig.of(count=text).counts(12)


@pytest.mark.parametrize("name", ["memory", "max_params", "min_speedup", "score_share"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_without_an_end_are_refused(name, value):
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} "):
        checked_config({name: value})
