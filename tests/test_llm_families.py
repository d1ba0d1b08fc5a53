"""What the walk measures equals a plain forward of a model whose layers are deleted."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, VOCABULARY, tiny_model
from torch import nn

from llm import MaskedModel, find_stack

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(3, 12))


def reduced(model, kept):
    """A copy with the other layers deleted and the configuration told so."""
    model = copy.deepcopy(model)
    stack = find_stack(model)
    depth = len(stack)
    layers = nn.ModuleList(layer for i, layer in enumerate(stack.layers) if i in kept)
    setattr(stack.owner, stack.attribute, layers)
    model.config.num_hidden_layers = len(kept)
    if len(getattr(model.config, "layer_types", None) or ()) == depth:
        model.config.layer_types = [model.config.layer_types[i] for i in kept]
    return model


def plain_metrics(model, dense, tokens):
    ids = torch.from_numpy(tokens)
    log = model(input_ids=ids, use_cache=False).logits[:, :-1].double().log_softmax(-1)
    reference = dense(input_ids=ids, use_cache=False).logits[:, :-1].double().log_softmax(-1)
    nll = -log.gather(2, ids[:, 1:, None])[..., 0].mean(1)
    kl = (reference.exp() * (reference - log)).sum(-1).mean(1)
    top1 = (log.argmax(-1) == reference.argmax(-1)).double().mean(1)
    return {"nll": nll.numpy(), "kl": kl.numpy(), "top1": top1.numpy()}


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_equals_deleted(family):
    model = tiny_model(family)
    masked = MaskedModel(model, TOKENS, tokens_a_batch=24)
    sets = [(0, 1, 2, 3, 4), (1, 2, 3, 4), (0, 2, 4), (0, 1, 3), (3,), (1, 4), (0, 1, 2, 3)]
    coalitions = np.array([[i in kept for i in range(5)] for kept in sets])
    found = masked.measure(coalitions)
    for row, kept in enumerate(sets):
        expected = plain_metrics(reduced(model, kept), model, TOKENS)
        for metric, values in expected.items():
            np.testing.assert_allclose(found[metric][row], values, atol=1e-4, err_msg=metric)
    assert np.ptp(found["nll"].mean(1)) > 0.01, "the layers of this model change nothing"


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_empty_coalition_is_the_head_on_the_embeddings(family):
    model = tiny_model(family)
    found = MaskedModel(model, TOKENS).measure(np.zeros((1, 5), bool))
    model = copy.deepcopy(model)
    stack = find_stack(model)
    for layer in stack.layers:
        for name, parameter in layer.named_parameters():
            if "norm" not in name or family == "gemma2":
                parameter.data.zero_()
    if family == "gemma2":  # its norms scale by one plus their weight, after the block as well
        for layer in stack.layers:
            for name, parameter in layer.named_parameters():
                if name.startswith("post_"):
                    parameter.data.fill_(-1.0)
    expected = plain_metrics(model, model, TOKENS)
    np.testing.assert_allclose(found["nll"][0], expected["nll"], atol=1e-4)
