"""The walk computes each kept prefix once, and what it measures is right, or said to be not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder import (
    TEXT_METRICS,
    MaskedModel,
    ModelError,
    TextError,
    count_layer_evaluations,
    find_stack,
)
from decoder.evaluate.walk import kept_lists, walk
from sampling import enumerate_all
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(3, 12))
ALL = enumerate_all(5)


@st.composite
def batches(draw):
    n = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=40))
    return np.array(rows, dtype=bool)


@settings(deadline=None)
@given(batches())
def test_each_distinct_prefix_is_stepped_once(coalitions):
    lists = sorted(kept_lists(coalitions))
    stepped = []

    def step(layer, before):
        stepped.append((*before, layer))
        return stepped[-1]

    assert list(walk(lists, (), step)) == lists
    assert len(stepped) == len(set(stepped)) == count_layer_evaluations(coalitions)
    assert set(stepped) == {kept[: k + 1] for kept in lists for k in range(len(kept))}


@settings(deadline=None)
@given(batches(), st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_count(coalitions, random):
    rows = [*coalitions, *coalitions[: len(coalitions) // 2]]
    random.shuffle(rows)
    assert count_layer_evaluations(np.array(rows)) == count_layer_evaluations(coalitions)


def test_all_coalitions_need_one_evaluation_each():
    assert count_layer_evaluations(ALL) == 2**5 - 1


@pytest.mark.parametrize("micro_batch", [12, 24, 1000])
def test_layer_evaluations_are_counted_a_batch(micro_batch):
    masked = MaskedModel(tiny_model("llama"), TOKENS, micro_batch=micro_batch)
    assert masked.batches == {12: 3, 24: 2, 1000: 1}[micro_batch]
    assert masked.layer_evaluations == 0
    some = ALL[np.random.default_rng(1).permutation(32)[:20]]
    masked.measure(some)
    assert masked.layer_evaluations == count_layer_evaluations(some) * masked.batches


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_order_duplicates_and_batches_change_nothing(family):
    model = tiny_model(family)
    expected = MaskedModel(model, TOKENS).measure(ALL)
    rows = np.random.default_rng(2).integers(0, 32, 50)
    found = MaskedModel(model, TOKENS, micro_batch=12).measure(ALL[rows])
    for metric in TEXT_METRICS:
        assert found[metric].shape == (50, 3)
        np.testing.assert_allclose(found[metric], expected[metric][rows], atol=2e-5)
        for row in np.flatnonzero(np.bincount(rows) > 1):
            same = found[metric][rows == row]
            assert (same == same[0]).all()


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_the_whole_model_does_not_differ_from_itself(family):
    found = MaskedModel(tiny_model(family), TOKENS).measure(ALL)
    np.testing.assert_allclose(found["kl"][-1], 0, atol=1e-5)
    np.testing.assert_array_equal(found["top1"][-1], 1)
    assert (found["kl"][:-1] > 1e-4).all()
    assert found["top1"][:-1].mean() < 1


def test_no_coalitions_give_no_rows():
    found = MaskedModel(tiny_model("llama"), TOKENS).measure(ALL[:0])
    shapes = {name: values.shape for name, values in found.items()}
    assert shapes == dict.fromkeys(TEXT_METRICS, (0, 3))


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_layer_of_nan_spoils_exactly_the_coalitions_that_keep_it(family):
    model = tiny_model(family)
    masked = MaskedModel(model, TOKENS)
    before = masked.measure(ALL)
    for parameter in find_stack(model).layers[2].parameters():
        parameter.fill_(torch.nan)
    found = masked.measure(ALL)
    for metric in TEXT_METRICS:
        assert (np.isnan(found[metric]) == ALL[:, 2:3]).all()
        np.testing.assert_array_equal(found[metric][~ALL[:, 2]], before[metric][~ALL[:, 2]])


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_model_without_numbers_is_refused(family):
    model = tiny_model(family)
    for parameter in find_stack(model).layers[1].parameters():
        parameter.fill_(torch.nan)
    with pytest.raises(ModelError, match=f"{family}.* not numbers in torch.float32.*--dtype"):
        MaskedModel(model, TOKENS)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_bfloat16_is_close_to_float32(family):
    exact = MaskedModel(tiny_model(family), TOKENS).measure(ALL)
    found = MaskedModel(tiny_model(family).bfloat16(), TOKENS).measure(ALL)
    spread = np.ptp(exact["nll"].mean(1))
    assert np.abs(found["nll"] - exact["nll"]).mean() < 0.1 * spread
    assert np.corrcoef(found["nll"].mean(1), exact["nll"].mean(1))[0, 1] > 0.99
    assert np.abs(found["kl"] - exact["kl"]).mean() < 0.1 * np.ptp(exact["kl"].mean(1))
    assert found["kl"].min() > -0.02


def test_any_integers_and_read_only_tokens_do():
    model = tiny_model("llama")
    tokens = TOKENS.astype(np.int32)
    tokens.setflags(write=False)
    expected = MaskedModel(model, TOKENS).measure(ALL[-3:])
    found = MaskedModel(model, tokens).measure(ALL[-3:])
    np.testing.assert_array_equal(found["nll"], expected["nll"])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (np.ones((1, 65), int), "--sequence-length 65: .* context of 64"),
        (np.full((1, 8), VOCABULARY), f"token id {VOCABULARY}: .* vocabulary of {VOCABULARY}"),
        (np.full((1, 8), -1), "token id -1: outside"),
        (np.ones((1, 1), int), "at least 2 tokens"),
        (np.ones((0, 8), int), "at least 2 tokens"),
        (np.ones(8, int), "at least 2 tokens"),
    ],
)
def test_tokens_that_do_not_fit(tokens, message):
    with pytest.raises(TextError, match=message):
        MaskedModel(tiny_model("llama"), tokens)


@pytest.mark.parametrize(
    "coalitions",
    [np.ones((2, 4), bool), np.ones(5, bool), np.ones((2, 5), int), np.array([[0, 2, 3, 4, 1]])],
)
def test_coalitions_that_do_not_fit(coalitions):
    masked = MaskedModel(tiny_model("llama"), TOKENS)
    with pytest.raises(ValueError, match=r"boolean array \[B, 5\].*one row a coalition"):
        masked.measure(coalitions)
