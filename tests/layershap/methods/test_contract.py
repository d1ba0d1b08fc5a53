"""What every published method promises, whichever it is, on a real tiny model."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from decoder import find_stack
from decoder.baselines import MergedSets
from layershap.methods.catalog import BASELINES
from tests.support.method_contract import StrictContext
from tests.support.tiny_models import tiny_model

COUNTS = [1, 2]
EACH = pytest.mark.parametrize("method", BASELINES, ids=lambda method: method.slug)
EACH_KIND = pytest.mark.parametrize(
    ("method", "kind"),
    [
        pytest.param(method, kind, id=f"{method.slug}-{kind}")
        for method in BASELINES
        for kind in method.players
    ],
)


@cache
def ran(method, kind):
    """What a method found, and the context that it asked; each is run once for all tests."""
    context = StrictContext(method, kind)
    return context, context.run(COUNTS)


@EACH_KIND
def test_there_is_a_set_of_exactly_each_count(method, kind):
    context, found = ran(method, kind)
    assert list(found.sets) == COUNTS
    for count, removed in found.sets.items():
        assert len(removed) == count
        assert list(removed) == sorted(set(removed))
        assert all(type(player) is int for player in removed)
        assert set(removed) <= set(range(context.players))


@EACH
def test_what_it_asks_for_is_declared_and_counted(method):
    context, found = ran(method, method.players[0])
    assert found.evaluations == pytest.approx(context.evaluations)
    assert (found.evaluations > 0) == (method.metric is not None)
    assert (found.tokens > 0) == method.passes
    if method.price is not None:
        assert found.evaluations == method.price(context.players, COUNTS)
    if method.spends:
        assert found.evaluations <= context.budget


@EACH
def test_the_same_seed_finds_the_same_sets(method):
    _, found = ran(method, method.players[0])
    assert StrictContext(method, method.players[0]).run(COUNTS) == found


@pytest.mark.parametrize(
    "method", [method for method in BASELINES if method.passes], ids=lambda method: method.slug
)
def test_the_model_is_left_bit_for_bit_as_it_was(method):
    model, untouched = ran(method, method.players[0])[0].own_model, tiny_model("llama")
    after, before = model.state_dict(), untouched.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.config.to_dict() == untouched.config.to_dict()
    assert len(find_stack(model)) == 5
    assert not model.training
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


@EACH
def test_only_one_that_edits_says_what_else_changes(method):
    _, found = ran(method, method.players[0])
    assert isinstance(found, MergedSets) == (method.kind == "edits")
    if isinstance(found, MergedSets):
        for count, merges in found.merges.items():
            gone = sorted(layer for merge in merges for layer in merge.layers)
            assert gone == list(found.sets[count])


def test_the_context_refuses_what_is_not_declared():
    methods = {method.slug: method for method in BASELINES}
    quiet = StrictContext(methods["reverse-order"], "layers")
    for ask in (
        lambda: quiet.game("nll"),
        lambda: quiet.parts("top1"),
        lambda: quiet.model(),
        lambda: quiet.tokens,
        lambda: quiet.roster,
        lambda: quiet.budget,
    ):
        with pytest.raises(AssertionError, match=r"declared|look inside"):
            ask()
    by_nll = StrictContext(methods["shortened-llama-ppl"], "layers")
    with pytest.raises(AssertionError, match="not declared"):
        by_nll.game(by_nll.utility)
    by_nll.game("nll")(np.ones((2, 5), dtype=bool))
    assert by_nll.evaluations == 1
