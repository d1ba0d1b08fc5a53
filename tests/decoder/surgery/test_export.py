"""Exported checkpoints reload with stock transformers and agree with what was measured."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from decoder import MaskedModel, ModelError, ModelSpec, find_stack, load_model, make_roster
from decoder.baselines import block_influence
from decoder.cost.speed import measure_speed
from decoder.surgery.apply import applied
from decoder.surgery.edit import Remove
from decoder.surgery.export import write
from decoder.surgery.plan import plan_edits
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import STORED, VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(2, 16))
SUBLAYERS = make_roster("sublayers", 5)
JOINED = {
    *("phi", "gptj", "gpt_neox", "falcon-rotary", "falcon-new", "stablelm-parallel", "cohere"),
    *("opt-norm_after", "bloom-norm_after"),
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["some text, any text"], 300, 64)


@pytest.fixture
def saved(tmp_path, tokenizer):
    def save(family, **changes):
        path = tmp_path / family
        tiny_model(family, **changes).save_pretrained(path)
        tokenizer.save_pretrained(path)
        return ModelSpec(str(path))

    return save


def agrees_with_what_was_measured(family, path, removed, roster):
    """The whole reloaded model's loss is that of the original without the removed players."""
    coalition = np.ones((1, len(roster.names)), bool)
    coalition[0, list(removed)] = False
    measured = MaskedModel(tiny_model(family), TOKENS, roster=roster).measure(coalition)["nll"]
    model = AutoModelForCausalLM.from_pretrained(path)
    whole = MaskedModel(model, TOKENS).measure(np.ones((1, len(find_stack(model))), bool))["nll"]
    np.testing.assert_allclose(measured, whole, atol=1e-4)
    return model


def export(spec, removed, to, roster=None, **more):
    """Plan the edits that leave players out, and write them."""
    plan = plan_edits(roster or make_roster("layers", 5), removed, lambda: load_model(spec))
    return write(spec, plan.edits, to, TOKENS, note=plan.note, **more)


def checked(done):
    found = done.agreement
    assert max(found.logits, found.cached, found.generated) < 1e-4
    assert found.saved_again < 1e-6


@pytest.mark.parametrize("family", STORED)
def test_export_reloads_and_agrees(family, saved, tmp_path):
    spec = saved(family)
    done = export(spec, [0, 3], tmp_path / "small", provenance={"why": "test"})
    checked(done)
    assert done.parameters_after < done.parameters_before
    roster = make_roster("layers", 5)
    model = agrees_with_what_was_measured(family, tmp_path / "small", [0, 3], roster)
    assert len(find_stack(model)) == 3
    facts = json.loads((tmp_path / "small" / "layershap.json").read_text())
    assert facts["removed_layers"] == [0, 3]
    assert facts["layers"] == [{"attention": i, "mlp": i} for i in (1, 2, 4)]
    assert facts["checks"]["allowed"] == 1e-4
    assert facts["why"] == "test"


@pytest.mark.parametrize("family", STORED)
def test_scattered_halves_are_repacked_where_they_can_be(family, saved, tmp_path):
    removed = SUBLAYERS.find("L0.mlp,L1.attn,L2.mlp,L3.attn,L4.attn")
    done = export(saved(family), removed, tmp_path / "small", roster=SUBLAYERS)
    checked(done)
    model = agrees_with_what_was_measured(family, tmp_path / "small", removed, SUBLAYERS)
    assert done.removed == ()
    assert len(find_stack(model)) == done.layers_after
    if family in JOINED:
        assert done.repacked == done.gone == ()
        assert done.zeroed == ("L0.mlp", "L1.attn", "L2.mlp", "L3.attn", "L4.attn")
        assert done.layers_after == 5
        assert "same input" in str(done.note)
    else:
        assert done.repacked == ((0, 1), (2, 3))
        assert done.gone == ("L0.mlp", "L1.attn", "L2.mlp", "L3.attn")
        assert done.zeroed == ("L4.attn",)
        assert done.layers_after == 3
        assert done.note is None


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_neox", "opt", "bloom", "qwen3_moe"])
def test_halves_that_go_alone_are_zeroed(family, saved, tmp_path):
    removed = SUBLAYERS.find("L1.attn,2,L4.mlp")
    done = export(saved(family), removed, tmp_path / "small", roster=SUBLAYERS)
    assert done.removed == (2,)
    assert done.zeroed == ("L1.attn", "L4.mlp")
    assert done.repacked == ()
    agrees_with_what_was_measured(family, tmp_path / "small", removed, SUBLAYERS)


def test_an_exported_checkpoint_can_be_exported_again(saved, tmp_path):
    removed = SUBLAYERS.find("L0.mlp,L1.attn,L3.attn")
    export(saved("qwen3"), removed, tmp_path / "one", roster=SUBLAYERS)
    roster = make_roster("sublayers", 4)
    spec, more = ModelSpec(str(tmp_path / "one")), roster.find("L1.mlp,L2.attn")
    done = export(spec, more, tmp_path / "two", roster=roster)
    assert done.repacked == ((1, 2),)
    both = SUBLAYERS.find("L0.mlp,L1.attn,L2.mlp,L3.attn")
    agrees_with_what_was_measured("qwen3", tmp_path / "two", both, SUBLAYERS)


def test_layers_that_depend_on_their_depth_are_refused_or_left_in_place(saved, tmp_path):
    spec = saved("gpt2", scale_attn_by_inverse_layer_idx=True)
    with pytest.raises(ModelError, match=r"^model type gpt2: no configuration .* nothing was"):
        export(spec, [0], tmp_path / "new" / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["gpt2"]
    removed = SUBLAYERS.find("L0.mlp,L1.attn")
    done = export(spec, removed, tmp_path / "small", roster=SUBLAYERS)
    assert done.repacked == ()
    assert done.zeroed == ("L0.mlp", "L1.attn")
    assert "did not agree" in str(done.note)


def test_a_small_disk_is_refused_before_anything_is_written(saved, tmp_path, monkeypatch):
    spec = saved("llama")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_200_000))
    with pytest.raises(
        ModelError, match=r"has 1\.2 MB free, .* need about 6\d\.\d MB; name another"
    ):
        export(spec, [1], tmp_path / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["llama"]


def test_an_interrupted_export_leaves_nothing(saved, tmp_path):
    def interrupt(facts):
        assert facts["removed_layers"] == [1]
        raise KeyboardInterrupt

    spec = saved("llama")
    with pytest.raises(KeyboardInterrupt):
        export(spec, [1], tmp_path / "new" / "small", card=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["llama"]


def test_a_place_that_cannot_be_written_is_refused(saved, tmp_path):
    spec = saved("llama")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"--to .*cannot be written"):
        export(spec, [1], tmp_path / "file" / "small")


def test_weights_stored_wider_than_the_others_stay_so(tokenizer, tmp_path):
    model = tiny_model("llama").half()
    norm = model.model.norm
    norm.weight.data = torch.full((32,), 1.0 + 2**-20)
    model.save_pretrained(tmp_path / "mixed")
    tokenizer.save_pretrained(tmp_path / "mixed")
    done = export(ModelSpec(str(tmp_path / "mixed")), [1], tmp_path / "small")
    checked(done)
    stored = load_file(tmp_path / "small" / "model.safetensors")
    assert torch.equal(stored["model.norm.weight"], norm.weight)
    assert stored["model.embed_tokens.weight"].dtype == torch.float16


def test_a_half_precision_checkpoint_stays_one(tokenizer, tmp_path):
    tiny_model("llama").half().save_pretrained(tmp_path / "half")
    tokenizer.save_pretrained(tmp_path / "half")
    spec = ModelSpec(str(tmp_path / "half"))
    done = export(spec, [1], tmp_path / "small")
    assert done.bytes_written < 3 * done.parameters_after
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert model.dtype == torch.float16


def test_export_never_overwrites(saved, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("precious")
    with pytest.raises(ModelError, match="not empty"):
        export(saved("llama"), [1], tmp_path / "taken")
    assert (tmp_path / "taken" / "file").read_text() == "precious"


@pytest.mark.parametrize("removed", [[5], [-1], range(5)])
def test_wrong_layers_are_refused(removed, saved, tmp_path):
    with pytest.raises(ValueError, match="layer"):
        export(saved("llama"), list(removed), tmp_path / "small")
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3_moe", "gemma3_text"])
def test_reduction_is_undone(family):
    model = tiny_model(family)
    ids = torch.from_numpy(TOKENS)
    config, before = model.config.to_dict(), model(input_ids=ids, use_cache=False).logits
    with applied(model, [Remove(1), Remove(2)]):
        assert model.config.num_hidden_layers == 3
        during = model(input_ids=ids, use_cache=False).logits
    assert model.config.to_dict() == config
    assert not torch.allclose(during, before)
    assert torch.equal(model(input_ids=ids, use_cache=False).logits, before)


def removals(*layers):
    return tuple(map(Remove, layers))


def test_speed_reports_every_set_and_leaves_the_model_whole():
    model = tiny_model("llama")
    turns = []
    speeds = measure_speed(
        model, [removals(1), removals(1, 2, 3, 4)], TOKENS, rounds=3, new_tokens=4,
        progress=lambda done, total: turns.append((done, total)),
    )  # fmt: skip
    assert [s.edits for s in speeds] == [(), removals(1), removals(1, 2, 3, 4)]
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
    scores, _ = block_influence(model, TOKENS, make_roster("layers", 5))
    assert scores.argmin() == 2
    assert scores[2] == pytest.approx(0, abs=1e-6)
    assert (np.delete(scores, 2) > 1e-3).all()
    halves, _ = block_influence(model, TOKENS, make_roster("sublayers", 5, "0"))
    assert halves.shape == (8,)
    np.testing.assert_allclose(halves[2:4], 0, atol=1e-6)
    assert (np.delete(halves, [2, 3]) > 1e-3).all()
