"""Sets measured repaired, as a campaign measures them."""

from __future__ import annotations

import numpy as np
import pytest

from decoder.data.text import TokenText
from decoder.data.workload import Workload
from decoder.errors import RepairError
from decoder.evaluate.evaluator import MaskedModel
from decoder.model.structure import find_stack
from decoder.players import make_roster
from decoder.recovery.game import RepairedModel
from decoder.recovery.quick import QuickRepair
from decoder.surgery.edit import Remove
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(28, 32))
FITTED, MEASURED = TOKENS[:24], TOKENS[24:]


def workload() -> Workload:
    return Workload(TokenText(MEASURED, "text"))


def kept(depth: int, *removed: int) -> np.ndarray:
    row = np.ones(depth, dtype=bool)
    row[list(removed)] = False
    return row


def test_losses_are_those_of_the_repaired_model_in_any_order():
    model = tiny_model("llama")
    depth = len(find_stack(model))
    before = {name: value.clone() for name, value in model.named_parameters()}
    game, quick = RepairedModel(model, workload(), FITTED), QuickRepair(model, FITTED)
    sets = [(1, 3), (), (2,), (1,)]
    found = game.measure(np.stack([kept(depth, *gone) for gone in sets]))
    for gone, losses in zip(sets, found["nll"], strict=True):
        if gone:
            wanted = quick.losses([Remove(i) for i in gone], MEASURED)
            np.testing.assert_allclose(losses, wanted, atol=1e-5)
    dense = MaskedModel(model, workload()).measure(kept(depth)[None])
    np.testing.assert_allclose(found["nll"][1], dense["nll"][0], atol=1e-6)
    np.testing.assert_allclose(found["kl"][1], 0, atol=1e-5)
    assert (found["kl"][0] > 0).all(), "divergence from the whole model"
    assert all(bool((value == before[name]).all()) for name, value in model.named_parameters())


def test_halves_are_repaired_too():
    model = tiny_model("llama")
    roster = make_roster("sublayers", len(find_stack(model)))
    game = RepairedModel(model, workload(), FITTED, roster=roster)
    plain = MaskedModel(model, workload(), roster=roster)
    rows = np.stack([kept(len(roster.names), 3), kept(len(roster.names), 3, 6)])
    assert np.isfinite(game.measure(rows)["nll"]).all()
    assert not np.allclose(game.measure(rows)["nll"], plain.measure(rows)["nll"], atol=1e-6)


def test_a_set_that_cannot_be_repaired_has_no_numbers_and_the_others_keep_theirs():
    model = tiny_model("llama")
    depth = len(find_stack(model))
    game = RepairedModel(model, workload(), FITTED)
    game._quick._dense.tokens = 1  # too few for any further fit
    found = game.measure(np.stack([kept(depth), kept(depth, 1)]))
    assert np.isfinite(found["nll"][0]).all()
    assert np.isnan(found["nll"][1]).all()
    assert game.failed == 1


def test_too_little_text_is_said_at_once():
    with pytest.raises(RepairError, match="token"):
        RepairedModel(tiny_model("llama"), workload(), FITTED[:1, :8])
