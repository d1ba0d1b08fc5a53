"""Repairs are exact where they can be, refused where they cannot, and leave the model as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from decoder import ModelSpec, find_stack
from decoder.errors import RepairError
from decoder.model.loading import load_model
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.fitting.path import find_path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.loss import sequence_losses
from decoder.recovery.methods.catalog import METHODS, admitted
from decoder.recovery.modules import repaired
from decoder.recovery.repair import fit_repair, fit_to
from decoder.surgery.apply import applied
from decoder.surgery.check import logits
from decoder.surgery.edit import Patch, Remove, Repack, ZeroHalf
from decoder.surgery.export import write
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import FAMILIES, STRUCTURES, VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(24, 32))
SETS = {
    "layers": (Remove(1), Remove(3)),
    "run": (Remove(2), Remove(3)),
    "first": (Remove(0),),
    "last": (Remove(3), Remove(4)),
    "halves": (ZeroHalf(1, "attention"), ZeroHalf(3, "mlp")),
    "repacked": (Repack(1, 2), ZeroHalf(4, "attention")),
}

ON_THE_SET = [name for name, own in METHODS.items() if own.stock and own.variants is None]


@pytest.mark.parametrize("method", ON_THE_SET)
@pytest.mark.parametrize("some", SETS.values(), ids=SETS)
def test_the_fitted_stream_is_the_repaired_model(some, method):
    model = tiny_model("llama")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dense = DenseStream(Anatomy(model), TOKENS)
    path = find_path(some, 5)
    if METHODS[method].refusal(dense.anatomy, path):
        pytest.skip("not for this set")
    stream = RepairedStream(dense, path)
    METHODS[method].run(stream)
    stream.advance(path.end)
    found = fit_to(dense, some, method)
    states: list[torch.Tensor] = []
    norm: Any = model.get_submodule("model.norm")
    handle = norm.register_forward_pre_hook(lambda module, args: states.append(args[0]))
    with repaired(model, found), torch.inference_mode():
        for batch in dense.batches:
            model(input_ids=batch.tokens_BT, use_cache=False)
    handle.remove()
    for (own, *_), seen in zip(stream.states, states[-len(dense.batches) :], strict=True):
        torch.testing.assert_close(seen, own, atol=2e-3, rtol=2e-3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_cut_that_a_projection_can_bridge_is_repaired_exactly():
    # The attention of layer 2 adds nothing and its MLP a multiple of what the one before wrote:
    # then the removed layer is linear in what that MLP's projection was given.
    model = tiny_model("llama")
    layers: Any = find_stack(model).layers
    layers[2].self_attn.o_proj.weight.zero_()
    layers[2].mlp.down_proj.weight.zero_()
    twice = layers[1].mlp.down_proj.weight.clone()
    mlp, given = layers[1].mlp.down_proj, []
    mlp.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    layers[2].register_forward_hook(lambda module, args, out: out + given[-1] @ twice.T)
    found = fit_repair(model, [Remove(2)], TOKENS, "down_projection")
    (name,) = found.patches
    assert name == "model.layers.1.mlp.down_proj.weight"
    torch.testing.assert_close(found.patches[name], 2 * twice, atol=2e-2, rtol=2e-2)
    whole = sequence_losses(model, TOKENS)
    with applied(model, [Remove(2)]):
        deleted = np.abs(sequence_losses(model, TOKENS) - whole).max()
    with applied(model, found.edits, patches=found.patches):
        left = np.abs(sequence_losses(model, TOKENS) - whole).max()
    assert deleted > 0.03
    assert left < 0.01 * deleted


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["some text, any text"], 300, 64)


def exported(family, some, method, tokenizer, tmp_path, stored=torch.float32):
    plain: Any = tiny_model(family)
    plain.to(stored).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    model = load_model(ModelSpec(str(tmp_path / "model")))
    found = fit_repair(model, some, TOKENS, method, stored=stored)
    spec = ModelSpec(str(tmp_path / "model"))
    done = write(spec, found.edits, tmp_path / "small", TOKENS, patches=found.patches)
    assert done.agreement.holds
    return found, done


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_exported_repaired_or_refused_by_name(family, tokenizer, tmp_path):
    anatomy = Anatomy(tiny_model(family))
    path = find_path([Remove(1), Remove(3)], 5)
    left = admitted(anatomy, path)
    assert left[0] == "none"
    if family in {"gemma2", "gemma3_text", "gemma3", "olmo2", "opt-norm_after"}:
        assert not any("projection" in name and "readers" not in name for name in left)
        with pytest.raises(RepairError, match=f"model type .*; methods left: {', '.join(left)}"):
            fit_repair(anatomy.model, path.edits, TOKENS, "down_projection")
    for method in ("readers_sequential", "sequential", "readers"):
        if method in left:
            found, _ = exported(family, path.edits, method, tokenizer, tmp_path)
            assert isinstance(found.edits[0], Patch)
            break


@pytest.mark.parametrize(
    "method", ["scalar", "rotation_down_projection", "replace_me", "readers_head"]
)
@pytest.mark.parametrize("family", [*STRUCTURES, "granite", "cohere"])
def test_methods_are_exported_exactly(family, method, tokenizer, tmp_path):
    anatomy = Anatomy(tiny_model(family))
    some = (Remove(1), ZeroHalf(3, "mlp"))
    if METHODS[method].refusal(anatomy, find_path(some, 5)):
        return
    exported(family, some, method, tokenizer, tmp_path)


@pytest.mark.parametrize("method", ["replace_me", "scalar"])
@pytest.mark.parametrize(
    "family", ["mixtral", "qwen3_moe", "granitemoeshared", "deepseek_v3", "gpt_oss"]
)
def test_what_experts_write_is_mapped_in_all_of_them(family, method, tokenizer, tmp_path):
    model, some = tiny_model(family), (Remove(3), Remove(4))
    found, done = exported(family, some, method, tokenizer, tmp_path)
    assert done.agreement.logits <= 1e-4
    names = {name for name in found.patches if "layers.2." in name and "attn" not in name}
    assert names == {output.name for output in Anatomy(model).outputs(5)}
    assert not any(".gate.weight" in name or "router" in name for name in found.patches)
    with applied(model, some):
        deleted = sequence_losses(model, TOKENS).mean()
    with repaired(model, found):
        assert sequence_losses(model, TOKENS).mean() != deleted


def test_several_projections_are_not_fitted_as_one():
    model = tiny_model("mixtral")
    with pytest.raises(RepairError, match=r"writes .* linearly .* left: none, .*replace_me, scal"):
        fit_repair(model, [Remove(2)], TOKENS, "down_projection")


@pytest.mark.parametrize("method", ["sequential", "replace_me"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_a_bfloat16_checkpoint_is_the_repaired_model(family, method, tokenizer, tmp_path):
    some, stored = (Remove(1), Remove(3)), torch.bfloat16
    found, done = exported(family, some, method, tokenizer, tmp_path, stored)
    assert all(value.dtype == stored for value in found.patches.values())
    assert done.agreement.logits <= 1e-4
    kept = AutoModelForCausalLM.from_pretrained(done.path, dtype="auto").eval()
    assert kept.dtype == stored
    model = load_model(ModelSpec(str(tmp_path / "model")))
    ids = torch.from_numpy(TOKENS[:2])
    with repaired(model, found):
        wanted = logits(model, ids)
        for name, value in model.named_parameters():
            assert torch.equal(kept.get_parameter(name).float(), value), name
    torch.testing.assert_close(logits(kept.float(), ids), wanted, rtol=1e-4, atol=1e-4)
