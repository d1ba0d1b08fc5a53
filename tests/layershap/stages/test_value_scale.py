"""The scale of values: retention, shares, raw losses, and what the text does to them."""

from __future__ import annotations

import numpy as np
import pytest

from cluster import Column
from cluster.ledger.records import Records
from layershap.errors import UserError
from layershap.runs.utilities import parse_utilities
from layershap.stages.confidence import text_uncertainty
from layershap.stages.value_scale import Scale, ScaledGame, on_scale, scale_of
from sampling import enumerate_all, stream
from shapley import FunctionGame, bootstrap_values, exact_values, regression_operator

N, S = 4, 6
PLAYERS = tuple(f"L{i}" for i in range(N))
(NLL,), (TOP1,) = parse_utilities(["nll"]), parse_utilities(["top1"])
ROWS = enumerate_all(N)
TOKENS = np.array([40, 40, 40, 20, 0, 40])


def records(metric="nll", lost=(), failed=(), whole=None, small=1.0):
    """All sets of a game by sequence; `small` shrinks what differs between sequences."""
    rng = stream(5, "value scale", N)
    common, own = rng.random(N), small * rng.normal(size=(N, S)) / 4
    losses = 2.0 + (~ROWS) @ (common[:, None] + own)
    sign = -1
    if metric == "top1":
        losses, sign = np.exp(-losses), 1
    if whole is not None:
        losses[ROWS.all(axis=1)] = whole
    status = np.full(len(ROWS), "ok", dtype="U10")
    for rows, name in ((lost, "non-finite"), (failed, "failed")):
        losses[list(rows)] = np.inf if name == "non-finite" else np.nan
        status[list(rows)] = name
    with np.errstate(invalid="ignore"):
        utilities = sign * losses @ (TOKENS / TOKENS.sum())
    utilities[~np.isfinite(utilities)] = np.nan
    return Records(
        PLAYERS, ROWS, utilities, {metric: losses.astype(np.float32)},
        (Column(metric, tuple(TOKENS.tolist()), sign),), metric, tuple(status.tolist()),
        np.ones(len(ROWS), int), np.zeros(len(ROWS)),
    )  # fmt: skip


def scaled(found, utility=NLL, wanted="retention"):
    return on_scale(found, scale_of(found, utility, wanted))


def test_nats_become_retention_and_scores_become_shares():
    found = records()
    shown = scaled(found)
    assert shown.scale.value_of == "retention"
    whole = found.utilities[-1]
    np.testing.assert_allclose(shown.values, np.exp(found.utilities - whole), rtol=1e-6)
    assert shown.values[ROWS.all(axis=1)] == 1.0
    found = records("top1")
    shown = scaled(found, TOP1)
    assert shown.scale.value_of == "share"
    np.testing.assert_allclose(shown.values, found.utilities / found.utilities[-1], rtol=1e-6)


def test_the_raw_loss_is_left_as_it_is():
    found = records(lost=[0])
    shown = scaled(found, wanted="loss")
    assert len(shown.coalitions) == len(ROWS) - 1, "a set without a finite loss has no raw loss"
    np.testing.assert_array_equal(shown.values, found.utilities[1:])
    np.testing.assert_array_equal(shown.by_sequence, found.vectors[1:, TOKENS > 0])
    assert shown.better == 0


@pytest.mark.parametrize(("metric", "utility"), [("nll", NLL), ("top1", TOP1)])
def test_a_set_without_a_finite_loss_keeps_nothing(metric, utility):
    shown = scaled(records(metric, lost=[0, 3], failed=[5]), utility)
    kept = [i for i in range(len(ROWS)) if i != 5]
    np.testing.assert_array_equal(shown.coalitions, ROWS[kept])
    assert shown.values[0] == shown.values[3] == 0.0
    assert np.isfinite(shown.by_sequence).all()
    assert shown.state(0).has_ends


@pytest.mark.parametrize(("metric", "utility"), [("nll", NLL), ("top1", TOP1), ("nll", None)])
def test_sequences_add_up_to_the_sets_and_move_them_as_their_losses_do(metric, utility):
    """The delta method against a small real change of the weights."""
    found = records(metric)
    scale = scale_of(found, utility or NLL, "retention" if utility else "loss")
    shown = on_scale(found, scale)
    share = shown.weights / shown.weights.sum()
    np.testing.assert_allclose(shown.by_sequence @ share, shown.values, rtol=1e-5)
    step = 1e-4 * np.linspace(-1, 1, len(share))
    moved = (share + step) / (share + step).sum()
    utilities = found.vectors[:, TOKENS > 0] @ moved
    there = Scale(scale.value_of, float(utilities[-1]))(utilities)
    change = shown.by_sequence @ moved - shown.by_sequence @ share
    np.testing.assert_allclose(there - shown.by_sequence @ share, change, atol=2e-7)


def test_text_errors_are_those_of_the_mapped_values():
    """With little between sequences, resampling the real thing gives the same errors."""
    found = records(small=0.2)
    shown = scaled(found)
    operator = regression_operator(ROWS, N)
    text = text_uncertainty(shown, operator, 0)
    assert text is not None

    def values_of(utilities):
        return operator @ Scale("retention", float(utilities[-1]))(utilities)

    vectors = found.vectors[:, TOKENS > 0]
    real = bootstrap_values(values_of, vectors, shown.weights, 0)
    np.testing.assert_allclose(text.standard_errors, real.standard_errors, rtol=0.1)
    assert text_uncertainty(shown, None, 0) is None


def test_a_mapped_table_has_the_exact_values_of_retention():
    found = records()
    game = FunctionGame(lambda rows: found.utilities[rows @ (1 << np.arange(N))], PLAYERS)
    shown = scaled(found)
    values = exact_values(ScaledGame(game, shown.scale))
    np.testing.assert_allclose(values.values.sum(), 1 - shown.values[0], rtol=1e-12)
    np.testing.assert_allclose(regression_operator(ROWS, N) @ shown.values, values.values)


def test_better_sets_are_counted():
    assert scaled(records()).better == 0
    assert scaled(records(whole=2.5)).better > 0


@pytest.mark.parametrize(
    ("found", "utility"),
    [(records(lost=[15]), NLL), (records(failed=[15]), NLL), (records("top1", whole=0.0), TOP1)],
)
def test_a_whole_model_that_nothing_can_refer_to_is_refused(found, utility):
    with pytest.raises(UserError, match="ask for --value-of loss") as refused:
        scale_of(found, utility, "retention")
    assert "\n" not in str(refused.value)
    assert scale_of(found, utility, "loss").value_of == "loss"


def test_a_whole_model_without_loss_is_fine():
    found = records(whole=0.0)
    assert scaled(found).values[-1] == 1.0
