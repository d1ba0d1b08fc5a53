"""A refusal is one line, and its fields are at hand whichever way it was made."""

from __future__ import annotations

import pickle

import pytest

from layershap.errors import UserError


@pytest.mark.parametrize(
    ("line", "option", "value", "rule", "remedy"),
    [
        ("--budget 5: too few; give 14", "--budget", "5", "too few", "give 14"),
        ("--token: must be ASCII", "--token", "", "must be ASCII", ""),
        ("--seed, --pool: exclude each other", "--seed, --pool", "", "exclude each other", ""),
        ("--a and --b: no set keeps to both", "--a and --b", "", "no set keeps to both", ""),
        ("--count 1-4 x: wrong: no; x; y", "--count", "1-4 x", "wrong: no; x", "y"),
        ("remove, keep: give exactly one", "remove, keep", "", "give exactly one", ""),
        ("keep [1, 2]: got int", "keep", "[1, 2]", "got int", ""),
        ("RUN runs/a: has no ledger", "RUN", "runs/a", "has no ledger", ""),
        ("/a b/run.toml: damaged; run again", "", "/a b/run.toml", "damaged", "run again"),
        ("the model has 2 layers; take more", "", "", "the model has 2 layers", "take more"),
    ],
)
def test_a_line_and_its_fields_are_the_same(line, option, value, rule, remedy):
    read = UserError(line)
    made = UserError(option=option, value=value, rule=rule, remedy=remedy)
    for error in (read, made, pickle.loads(pickle.dumps(made))):
        assert str(error) == line
        assert (error.option, error.value, error.rule, error.remedy) == (
            *(option, value, rule, remedy),
        )


def test_fields_survive_what_the_line_cannot_tell():
    error = UserError(option="--name", value="a: b; c", rule="is taken")
    assert str(error) == "--name a: b; c: is taken"
    assert pickle.loads(pickle.dumps(error)).value == error.value == "a: b; c"


@pytest.mark.parametrize("given", [{}, {"line": "a", "rule": "b"}, {"option": "--a"}])
def test_either_a_line_or_a_rule(given):
    with pytest.raises(TypeError, match="either a line or at least a rule"):
        UserError(**given)
