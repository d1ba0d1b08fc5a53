"""Exported checkpoints reload with stock transformers and agree with what was measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, VOCABULARY, tiny_model
from transformers import AutoModelForCausalLM

from layershap.demo.tokenizer import train_tokenizer
from llm import MaskedModel, ModelError, ModelSpec, find_stack, make_roster
from llm.export import export_checkpoint
from llm.influence import block_influence
from llm.reduction import reduced
from llm.speed import measure_speed

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(2, 16))


@pytest.fixture
def saved(tmp_path):
    def save(family):
        path = tmp_path / family
        tiny_model(family).save_pretrained(path)
        train_tokenizer(["some text, any text"], 300, 64).save_pretrained(path)
        return ModelSpec(str(path))

    return save


@pytest.mark.parametrize("family", FAMILIES)
def test_export_reloads_and_agrees(family, saved, tmp_path):
    spec = saved(family)
    done = export_checkpoint(spec, [0, 3], tmp_path / "small", TOKENS, provenance={"why": "test"})
    assert done.logit_difference < 1e-4
    assert done.cache_difference < 1e-4
    assert done.parameters_after < done.parameters_before
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert len(find_stack(model)) == 3
    coalition = np.array([[False, True, True, False, True]])
    measured = MaskedModel(tiny_model(family), TOKENS).measure(coalition)["nll"][0]
    whole = MaskedModel(model, TOKENS).measure(np.ones((1, 3), bool))["nll"][0]
    np.testing.assert_allclose(measured, whole, atol=1e-4)
    facts = json.loads((tmp_path / "small" / "layershap.json").read_text())
    assert facts["removed_layers"] == [0, 3]
    assert facts["why"] == "test"


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_neox", "opt", "bloom", "qwen3_moe"])
def test_halves_that_go_alone_are_zeroed(family, saved, tmp_path):
    roster = make_roster("sublayers", 5)
    removed = roster.find("L1.attn,2,L4.mlp")
    done = export_checkpoint(saved(family), removed, tmp_path / "small", TOKENS, roster=roster)
    assert done.removed == (2,)
    assert done.zeroed == ("L1.attn", "L4.mlp")
    coalition = np.ones((1, 10), dtype=bool)
    coalition[0, list(removed)] = False
    measured = MaskedModel(tiny_model(family), TOKENS, roster=roster).measure(coalition)["nll"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    whole = MaskedModel(model, TOKENS).measure(np.ones((1, 4), bool))["nll"]
    np.testing.assert_allclose(measured, whole, atol=1e-4)


def test_a_half_precision_checkpoint_stays_one(tmp_path):
    tiny_model("llama").half().save_pretrained(tmp_path / "half")
    train_tokenizer(["some text, any text"], 300, 64).save_pretrained(tmp_path / "half")
    spec = ModelSpec(str(tmp_path / "half"))
    done = export_checkpoint(spec, [1], tmp_path / "small", TOKENS)
    assert done.bytes_written < 3 * done.parameters_after
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert model.dtype == torch.float16


def test_export_never_overwrites(saved, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("precious")
    with pytest.raises(ModelError, match="not empty"):
        export_checkpoint(saved("llama"), [1], tmp_path / "taken", TOKENS)
    assert (tmp_path / "taken" / "file").read_text() == "precious"


@pytest.mark.parametrize("removed", [[5], [-1], range(5)])
def test_wrong_layers_are_refused(removed, saved, tmp_path):
    with pytest.raises(ValueError, match="layer"):
        export_checkpoint(saved("llama"), list(removed), tmp_path / "small", TOKENS)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3_moe", "gemma3_text"])
def test_reduction_is_undone(family):
    model = tiny_model(family)
    ids = torch.from_numpy(TOKENS)
    config, before = model.config.to_dict(), model(input_ids=ids, use_cache=False).logits
    with reduced(model, find_stack(model), [1, 2]):
        assert model.config.num_hidden_layers == 3
        during = model(input_ids=ids, use_cache=False).logits
    assert model.config.to_dict() == config
    assert not torch.allclose(during, before)
    assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)


def test_speed_reports_every_set_and_leaves_the_model_whole():
    model = tiny_model("llama")
    turns = []
    speeds = measure_speed(
        model, [(1,), (1, 2, 3, 4)], TOKENS, rounds=3, new_tokens=4,
        progress=lambda done, total: turns.append((done, total)),
    )  # fmt: skip
    assert [s.removed for s in speeds] == [(), (1,), (1, 2, 3, 4)]
    assert speeds[0].decode_ratio == (1.0, 1.0, 1.0)
    assert speeds[2].decode_ratio[1] > 1.5, "one layer of five must decode faster than all"
    assert speeds[0].parameters > speeds[1].parameters > speeds[2].parameters
    assert turns[-1] == (4, 4)
    assert model.config.num_hidden_layers == 5


def test_block_influence_finds_the_layer_that_does_nothing():
    model = tiny_model("llama")
    for name, parameter in find_stack(model).layers[2].named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.data.zero_()
    scores = block_influence(model, TOKENS, make_roster("layers", 5))
    assert scores.argmin() == 2
    assert scores[2] == pytest.approx(0, abs=1e-6)
    assert (np.delete(scores, 2) > 1e-3).all()
    halves = block_influence(model, TOKENS, make_roster("sublayers", 5, "0"))
    assert halves.shape == (8,)
    np.testing.assert_allclose(halves[2:4], 0, atol=1e-6)
    assert (np.delete(halves, [2, 3]) > 1e-3).all()
