"""How sure a ranking is, and how errors fell: against games and texts whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from cluster import Column
from cluster.ledger.records import Records
from layershap.results.values import ErrorPoint
from layershap.runs.config import RunConfig
from layershap.runs.plan import make_plan
from layershap.stages.confidence import TextErrors, confidence, rankings, text_uncertainty
from layershap.stages.history import budget_to_halve, error_history
from layershap.stages.value_scale import Scale, on_scale
from sampling import campaign_design, stream
from shapley import FunctionGame, Status, Values, regression_operator, start
from surrogate.process.adaptive import AdaptiveValues

N = 8
PLAYERS = tuple(f"L{i}" for i in range(N))


def estimated(values, errors, status=Status.QUADRATURE, **more):
    return Values.build(
        PLAYERS, np.asarray(values, float), np.full(N, errors), method="adaptive", status=status,
        spent=50, budget=50, **more,
    )  # fmt: skip


def test_far_apart_is_sure_and_near_is_not():
    sure, unsure = (rankings(estimated(np.arange(N), e), [2], None, 0) for e in (0.05, 2.0))
    assert [entry.k for entry in sure] == [2, 3]
    assert sure[0].players == ("L0", "L1")
    assert sure[0].probability > 0.99
    assert 0.05 < unsure[0].probability < 0.5
    assert sure[0].probability_on_such_text is None
    assert confidence(sure, 2)[-1] == "the 2 least valuable are L0, L1: over 99 %"
    assert len(confidence(unsure)) == 4, "three players and their set"


def test_the_text_makes_less_sure_even_of_exact_values():
    text = TextErrors(np.full(N, 2.0), 4.0 * np.eye(N))
    exact = estimated(np.arange(N), 0.0, Status.EXACT)
    entry = rankings(exact, [1], text, 0)[0]
    assert entry.probability == 1.0
    wider = entry.probability_on_such_text
    assert wider is not None
    assert 0.2 < wider < 0.7
    told = confidence([entry])
    assert told[0] == "the ranking is exact on the calibration text"
    assert told[1].startswith("L0 is the least valuable, on text of this kind in general: ")


def test_errors_that_all_players_share_leave_the_ranking_sure():
    text = TextErrors(np.full(N, 2.0), np.full((N, N), 4.0))
    entry = rankings(estimated(np.arange(N), 0.05), [3], text, 0)[0]
    assert (entry.probability_on_such_text or 0.0) > 0.99


@pytest.mark.parametrize(
    ("errors", "status"), [(np.nan, Status.ESTIMATED), (0.1, Status.SURROGATE)]
)
def test_nothing_is_said_where_errors_are_unknown(errors, status):
    assert rankings(estimated(np.arange(N), errors, status), [2], None, 0) == []
    assert confidence([]) == []


def test_text_errors_are_those_of_the_sequences():
    rows = campaign_design(N, 80, 4, 0).coalitions
    rng = stream(0, "text test", N)
    tokens = np.array([100, 100, 60, 0, 100, 40, 100, 80])
    worth = rng.normal(size=(N, len(tokens)))  # of a player on a sequence; the games are additive
    losses = -(rows @ worth)
    losses[:, tokens == 0] = np.nan
    share = tokens / tokens.sum()
    records = Records(
        PLAYERS, rows, -np.nansum(losses * share, axis=1), {"nll": losses.astype(np.float32)},
        (Column("nll", tuple(tokens.tolist()), -1),), "nll", ("ok",) * len(rows),
        np.ones(len(rows), int), np.zeros(len(rows)),
    )  # fmt: skip
    measured = on_scale(records, Scale("loss", float(records.utilities.max())))
    found = text_uncertainty(measured, regression_operator(rows, N), 0)
    assert found is not None
    used = share[share > 0]
    apart = (worth[:, share > 0] - (worth @ share)[:, None]) * used
    expected = len(used) / (len(used) - 1) * apart @ apart.T
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-4, atol=1e-6)
    ratio = found.standard_errors / np.sqrt(np.diag(expected))
    assert 0.8 < ratio.min() <= ratio.max() < 1.1
    assert text_uncertainty(measured, None, 0) is None


def test_history_ends_with_the_values_and_falls():
    weights = stream(0, "history", N).normal(size=(N, N))
    game = FunctionGame(lambda rows: np.tanh(rows @ weights / 3).sum(axis=1), PLAYERS)
    rows = campaign_design(N, 120, 3, 0).coalitions
    state = start(PLAYERS, 0).extended(rows, game(rows))
    values = AdaptiveValues().result(state)
    history = list(error_history(state, values))
    measured = [point.evaluations for point in history]
    assert measured == sorted(set(measured))
    assert measured[0] == 2 * N
    assert 4 <= len(history) <= 6
    assert history[-1] == ErrorPoint(
        120, values.standard_errors.max(), np.sqrt((values.standard_errors**2).mean())
    )
    assert history[-1].largest < 0.5 * history[0].largest
    assert all(point.root_mean_square <= point.largest for point in history)


def test_halving_takes_four_times_the_budget_of_random_sampling():
    plan = make_plan(RunConfig.of(budget=100, count="1-3"), 16)
    history = [ErrorPoint(m, m**-0.5, m**-0.5) for m in (20, 30, 40, 60, 80)]
    found = budget_to_halve(plan, history)
    assert found == pytest.approx(400, abs=6)
    assert budget_to_halve(plan, history[:1]) is None
    assert budget_to_halve(plan, []) is None
    small = make_plan(RunConfig.of(budget=100, count="1-3"), 7)
    assert budget_to_halve(small, history) == 128, "all coalitions are exact"
