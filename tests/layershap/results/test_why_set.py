"""Why a set was chosen: which pairs tell it from the least valuable players."""

from __future__ import annotations

import numpy as np
import pytest

from layershap.results.values import ValueOf, Values
from layershap.results.why_set import MeasuredCosts, why_set
from shapley import Status
from shapley import Values as PlayerValues

NAMES = ("L0", "L1", "L2", "L3")


def of_run(pairs, errors=None, value_of: ValueOf = "retention"):
    matrix = np.zeros((4, 4))
    for (i, j), strength in pairs.items():
        matrix[i, j] = matrix[j, i] = strength
    worth = PlayerValues.build(
        NAMES, np.array([0.01, 0.02, 0.03, 0.9]), np.full(4, 0.001), method="adaptive",
        status=Status.QUADRATURE, spent=9, budget=9,
    )  # fmt: skip
    unit = "nats per token" if value_of == "loss" else "share"
    spread = None if errors is None else tuple(map(tuple, np.full((4, 4), errors).tolist()))
    return Values(
        "print", unit, "nll", worth, worth, 2, tuple(map(tuple, matrix.tolist())),
        value_of=value_of, interaction_standard_errors=spread,
    )  # fmt: skip


def costs(known):
    rows, utilities = [np.ones(4, bool)], [-2.0]
    for removed, cost in known.items():
        rows.append(~np.isin(np.arange(4), removed))
        utilities.append(-2.0 - cost)
    return MeasuredCosts(np.array(rows), np.array(utilities))


def test_the_least_values_need_no_explanation():
    found = why_set(of_run({}), (1, 0), costs({}), "nats")
    assert (found.same, found.least, found.pairs, found.cheaper) == (True, ("L0", "L1"), (), 0.0)
    assert found.sentence == "The 2 layers of least value are what the search chose."
    assert why_set(of_run({}), (0,), costs({}), "nats").sentence == (
        "The layer of least value is what the search chose."
    )


def test_a_pair_that_covers_for_each_other_explains():
    found = why_set(
        of_run({(0, 1): -0.12, (0, 2): 0.01}), (0, 2), costs({(0, 1): 0.3, (0, 2): 0.2}), "nats"
    )
    assert [(p.first, p.second, p.kind) for p in found.pairs] == [
        ("L0", "L1", "cover"),
        ("L0", "L2", "break"),
    ]
    assert found.cheaper == pytest.approx(0.1)
    assert found.sentence == (
        "Not the 2 least values (L0, L1): L0 and L1 each cover for the other, so removing both "
        "costs 12.0 points of retention more than the two alone suggest, and L0 and L2 break "
        "together, so removing both costs 1.0 points of retention less than the two alone suggest; "
        "the chosen set was measured 0.100 nats cheaper."
    )
    assert "\n" not in found.sentence


def test_pairs_that_do_not_tell_the_sets_apart_are_left_out():
    """A pair of both sets, one of the least that is no worse, one within its errors."""
    both = of_run({(0, 1): -0.5, (0, 2): -0.1, (1, 2): -0.2})
    found = why_set(both, (0, 1, 3), costs({}), "nats")
    assert [(p.first, p.second) for p in found.pairs] == [("L1", "L2")]
    weaker = why_set(of_run({(0, 1): 0.2, (0, 2): 0.1}), (0, 2), costs({}), "nats")
    assert weaker.pairs == ()
    unsure = why_set(of_run({(0, 1): -0.12}, errors=0.1), (0, 2), costs({}), "nats")
    assert unsure.pairs == ()
    assert "no single pair" in unsure.sentence


def test_what_was_not_measured_is_said():
    found = why_set(of_run({(0, 1): -0.1}), (0, 2), costs({(0, 2): 0.2}), "nats")
    assert found.cheaper is None
    assert found.sentence.endswith("the set of the least values was not measured.")


def test_a_dearer_choice_is_no_secret():
    found = why_set(of_run({}), (2,), costs({(0,): 0.1, (2,): 0.3}), "nats")
    assert found.cheaper == pytest.approx(-0.2)
    assert "least values was measured 0.200 nats cheaper" in found.sentence
    assert found.sentence.startswith("Not the least value (L0)")


def test_raw_losses_are_told_in_nats():
    found = why_set(of_run({(0, 1): -0.12}, value_of="loss"), (0, 2), costs({}), "nats")
    assert "costs 0.120 nats per token more" in found.sentence
