"""Values as people read them: shares in percent, losses in nats."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from layershap.results.value_text import (
    SHARE_UNIT,
    error_text,
    explanation,
    range_text,
    value_text,
    values_title,
)
from layershap.results.values import Values
from shapley import Status
from shapley import Values as PlayerValues


def of_run(**more):
    shares = PlayerValues.build(
        ("L0", "L1"), np.array([0.6, 0.373]), np.array([0.01, 0.02]), method="adaptive",
        status=Status.QUADRATURE, spent=4, budget=4,
    )  # fmt: skip
    settings = {"value_of": "retention", "whole_utility": -2.0, **more}
    return Values(
        "print", SHARE_UNIT, "nll", shares, shares, 2, ((0.0, -0.1), (-0.1, 0.0)), **settings
    )


@pytest.mark.parametrize(
    ("value", "of", "text"),
    [
        (0.0213, "retention", "2.1 %"),
        (0.00213, "retention", "0.21 %"),
        (-0.1, "share", "-10.0 %"),
        (-1e-9, "retention", "0.00 %"),
        (1.25, "retention", "125.0 %"),
        (0.1234, "loss", "+0.123"),
        (math.nan, "retention", "–"),
        (math.nan, "loss", "–"),
    ],
)
def test_a_value_is_percent_or_nats(value, of, text):
    assert value_text(value, of) == text


def test_intervals_and_errors():
    assert range_text(0.019, 0.0231, "retention") == "1.9 to 2.3 %"
    assert range_text(-0.1, 0.2, "loss") == "-0.100 to +0.200"
    assert range_text(math.nan, 0.2, "loss") == ""
    assert error_text(0.0012, "retention", "x") == "0.12 percentage points"
    assert error_text(0.0012, "loss", "nats per token") == "0.0012 nats per token"


def test_what_shares_mean_and_add_up_to():
    meaning, total = explanation(of_run(), "layer")
    assert "exp(-(NLL - NLL of the whole model))" in meaning
    assert total == (
        "the shares add up to 97.3 %: 100 % minus the 2.7 % that the model without any layer keeps"
    )
    assert "3 measured sets are better" in explanation(of_run(better_sets=3), "layer")[2]
    assert "one measured set is better" in explanation(of_run(better_sets=1), "layer")[2]
    assert len(explanation(of_run(at_most=2), "layer")) == 1, "those do not add up"
    assert explanation(of_run(value_of="loss"), "layer") == []


def test_other_utilities_are_explained_as_what_they_are():
    told = dataclasses.replace(of_run(value_of="share"), utility="top1")
    assert "top1" in explanation(told, "layer")[0]
    told = dataclasses.replace(of_run(), utility="piqa.margin")
    assert "odds" in explanation(told, "layer")[0]


def test_the_title_names_what_is_shown():
    assert values_title(of_run()) == "Shapley values of retention"
    assert values_title(of_run(at_most=2)) == "Values of retention with at most 2 removed"
    raw = dataclasses.replace(of_run(value_of="loss"), unit="nats per token")
    assert values_title(raw) == "Shapley values, nats per token"


def test_the_headline_is_what_was_asked_for():
    found = of_run()
    other = dataclasses.replace(found.restricted, kind="restricted:2")
    assert dataclasses.replace(found, restricted=other).headline is found.shapley
    assert dataclasses.replace(found, restricted=other, at_most=2).headline is other
