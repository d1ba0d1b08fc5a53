"""A search for the sets that are best once repaired, given what is known of them as they are."""

from __future__ import annotations

import numpy as np
import pytest

from decoder.errors import RepairError
from layershap.stages.repaired_search import find_repaired
from sampling import campaign_design, without
from sampling.coalitions import distinct
from shapley import State
from shapley.search import Limits, SetSearch
from surrogate.process.belief import ProcessLearner
from surrogate.process.transferred import cuts

N, COUNTS = 12, (3, 4)
COSTS = np.array([0.9, 0.3, 0.12, 0.3, 0.1, 0.3, 0.12, 0.16, 0.15, 0.3, 0.13, 0.9])


def plain(rows: np.ndarray) -> np.ndarray:
    """Scattered players are cheap as they are."""
    return -(~rows).astype(float) @ COSTS


def repaired(rows: np.ndarray) -> np.ndarray:
    """Repair halves what is lost, and each cut costs."""
    return 0.5 * plain(rows) - 0.08 * cuts(rows)


def known() -> tuple[SetSearch, State]:
    search = SetSearch(ProcessLearner(), COUNTS, Limits(N), most_a_round=8)
    rows = campaign_design(N, 120, 5, 0).coalitions
    best = [without(N, gone) for gone in ((2, 4, 6), (2, 4, 6, 10))]
    rows = distinct(np.concatenate([rows, np.array(best)]))
    players = tuple(f"L{i}" for i in range(N))
    return search, State(players, rows[:0], np.empty(0), 0).extended(rows, plain(rows))


def test_a_run_that_is_dear_as_it_is_is_found_where_repair_bridges_it():
    search, state = known()
    asked: list[np.ndarray] = []

    def measure(rows: np.ndarray, what: str) -> np.ndarray:
        asked.append(rows)
        return repaired(rows)

    found, after = find_repaired(search, state, measure, 24, 10, state.coalitions[:0])
    everything = np.array([without(N, gone) for gone in ((6, 7, 8), (2, 4, 6), (4, 6, 7, 8))])
    value = dict(zip(("run", "plain"), repaired(everything), strict=False))
    assert value["run"] > value["plain"]
    assert found.sets[3][0].removed == (6, 7, 8)
    assert found.sets[4][0].utility >= repaired(everything[2:])[0] - 1e-12
    assert after.spent == sum(map(len, asked)) <= 1 + 24, "the whole model besides"
    assert len(distinct(np.concatenate(asked))) == after.spent, "nothing is measured twice"


def test_admitted_sets_take_part_besides_the_budget():
    search, state = known()
    rival = without(N, (2, 6, 7))[None]
    found, after = find_repaired(search, state, lambda r, _: repaired(r), 6, 3, rival)
    assert after.spent == 2 + 6
    assert any((row == rival[0]).all() for row in after.coalitions)
    assert set(found.sets) == set(COUNTS)


def test_sets_that_cannot_be_repaired_are_the_worst():
    search, state = known()

    def measure(rows: np.ndarray, what: str) -> np.ndarray:
        return np.where(rows[:, 2], repaired(rows), np.nan)

    found, after = find_repaired(search, state, measure, 24, 10, state.coalitions[:0])
    assert np.isfinite(after.utilities).all()
    assert all(2 not in sets[0].removed for sets in found.sets.values())
    with pytest.raises(RepairError):
        find_repaired(search, state, lambda r, _: np.full(len(r), np.nan), 4, 1, rows_of_none())


def rows_of_none() -> np.ndarray:
    return np.empty((0, N), dtype=bool)
