"""LaCo: merged layers follow the equation, are undone bit for bit, and reach every count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from decoder import MaskedModel, UnsupportedModel, find_stack, make_roster
from decoder.baselines import laco_merges
from decoder.surgery.apply import applied
from decoder.surgery.edit import Merge
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(3, 12))
IDS = torch.from_numpy(TOKENS)
LAYERS = make_roster("layers", 5)


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def matrix(layer):
    return layer.get_submodule("mlp.down_proj").get_parameter("weight").data


def test_merging_follows_the_equation_and_is_undone_bit_for_bit():
    model = tiny_model("llama")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = [matrix(layer).clone() for layer in find_stack(model).layers]
    outputs, config = logits(model), model.config.to_dict()
    with applied(model, [Merge(2, (3, 4)), Merge(0, (1, 2))]):
        assert model.config.num_hidden_layers == 1
        (layer,) = find_stack(model).layers
        later = own[2] + (own[3] - own[2]) + (own[4] - own[2])
        wanted = own[0] + (own[1] - own[0]) + (later - own[0])
        torch.testing.assert_close(matrix(layer), wanted)
    with pytest.raises(RuntimeError, match="within"), applied(model, [Merge(0, (1,))]):
        raise RuntimeError("within")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config
    assert torch.equal(logits(model), outputs)


def test_merging_with_a_layer_of_zeros_changes_nothing():
    model = tiny_model("llama")
    for layer in (1, 3):
        for parameter in find_stack(model).layers[layer].parameters():
            if parameter.ndim >= 2:
                parameter.data.zero_()
    whole = logits(model)
    for merges in ([Merge(1, (2,))], [Merge(1, (2, 3))], [Merge(3, (4,)), Merge(1, (2,))]):
        with applied(model, merges):
            torch.testing.assert_close(logits(model), whole, rtol=0, atol=1e-6)
            measured = MaskedModel(model, TOKENS).measure(
                np.ones((1, len(find_stack(model))), dtype=bool)
            )
        nll = functional.cross_entropy(whole[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
        assert measured["nll"].mean() == pytest.approx(nll.item(), abs=1e-5)
    found, spend = laco_merges(model, TOKENS, LAYERS, [1, 2])
    assert found[1].merges == (Merge(3, (4,)),)
    assert found[2].removed == (2, 4)
    assert found[2].lists == [[3, [4]], [1, [2]]]
    assert found[2].similarity == pytest.approx(1, abs=1e-6)
    assert found[2].threshold == 0.95
    assert spend.forward_tokens % TOKENS.size == 0


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "falcon-rotary"])
def test_laco_reaches_every_count_and_tells_the_similarity(family):
    model = tiny_model(family)
    found, _ = laco_merges(model, TOKENS, LAYERS, [1, 2, 3, 4])
    with torch.no_grad():
        original = model.base_model(input_ids=IDS).last_hidden_state.flatten(1)
    for count, result in found.items():
        assert len(result.removed) == count
        with applied(model, result.merges), torch.no_grad():
            assert len(find_stack(model)) == 5 - count
            output = model.base_model(input_ids=IDS).last_hidden_state.flatten(1)
        cosine = torch.cosine_similarity(original, output).mean().item()
        assert result.similarity == pytest.approx(cosine, abs=1e-5)
        assert result.similarity > result.threshold


def test_laco_leaves_protected_layers_alone():
    found, _ = laco_merges(tiny_model("llama"), TOKENS, make_roster("layers", 5, "4"), [2])
    assert all(4 not in (merge.into, *merge.layers) for merge in found[2].merges)
    with pytest.raises(ValueError, match=r"removes? 2 layers.*L2"):
        laco_merges(tiny_model("llama"), TOKENS, make_roster("layers", 5, "0,2,4"), [2])


@pytest.mark.parametrize("family", ["qwen3_moe", "deepseek_v3"])
def test_layers_with_unlike_weights_cannot_be_merged(family):
    model = tiny_model(family)
    before = logits(model)
    with pytest.raises(UnsupportedModel, match="unlike weights"):
        laco_merges(model, TOKENS, LAYERS, [1])
    with pytest.raises(UnsupportedModel, match="unlike weights"), applied(model, [Merge(0, (1,))]):
        pass
    assert torch.equal(logits(model), before)
