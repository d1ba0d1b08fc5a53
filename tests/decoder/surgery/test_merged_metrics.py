"""Merged models measured on a workload."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decoder import MaskedModel, TokenText, Workload
from decoder.surgery.apply import applied
from decoder.surgery.edit import Merge
from decoder.surgery.merged_metrics import merged_metrics
from tests.support.tiny_models import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", vocab_size=60)


@pytest.fixture(scope="module")
def workload():
    rows = np.random.default_rng(0).integers(0, 60, size=(3, 20))
    return Workload(TokenText(rows, "random"), score_share=0.5, seed=1)


@torch.no_grad()
def log_probabilities(model, row, places):
    logits = model(input_ids=torch.from_numpy(row[None])).logits[0, places].double()
    return torch.log_softmax(logits, -1).numpy()


def test_metrics_are_those_of_the_merged_model_against_the_original(model, workload):
    merges = [Merge(1, (2, 3))]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = merged_metrics(model, workload, merges)
    assert set(found) == {metric.name for metric in workload.metrics}
    for number, places in enumerate(workload.scored_places()):
        row = workload.text.tokens[number]
        dense = log_probabilities(model, row, places)
        with applied(model, merges):
            other = log_probabilities(model, row, places)
        targets = row[places + 1]
        nll = -other[np.arange(len(places)), targets].mean()
        kl = (np.exp(dense) * (dense - other)).sum(-1).mean()
        assert found["nll"][0, number] == pytest.approx(nll, abs=1e-4)
        assert found["kl"][0, number] == pytest.approx(kl, abs=1e-4)
        same = (dense.argmax(-1) == other.argmax(-1)).mean()
        assert found["top1"][0, number] == pytest.approx(same)
    assert found["kl"].min() > 1e-3
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_without_merges_it_is_the_original(model, workload):
    found = merged_metrics(model, workload, [])
    dense = MaskedModel(model, workload).measure(np.ones((1, 5), dtype=bool))
    np.testing.assert_allclose(found["nll"], dense["nll"], atol=1e-6)
    np.testing.assert_allclose(found["kl"], 0, atol=1e-6)
    assert (found["top1"] == 1).all()


def test_merges_that_do_not_fit_are_refused(model, workload):
    with pytest.raises(ValueError, match="there is no layer 5"):
        merged_metrics(model, workload, [Merge(3, (5,))])
