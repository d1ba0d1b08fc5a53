"""Values of a patch are told by their digest, set while a context lasts, and written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from decoder import ModelSpec
from decoder.surgery.apply import applied
from decoder.surgery.edit import EditError, Remove, Repack, ZeroHalf
from decoder.surgery.export import write
from decoder.surgery.patch import digest_of, make_patch, read_patches, write_patches
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import VOCABULARY, tiny_model

IDS = torch.from_numpy(np.random.default_rng(0).integers(2, VOCABULARY, size=(2, 16)))
NAME = "model.layers.1.mlp.down_proj.weight"
ONES = {NAME: torch.ones(32, 48)}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits


def test_a_digest_tells_values_names_types_and_shapes_apart():
    value = torch.arange(6.0)
    same = digest_of({"a": value})
    assert same == digest_of({"a": value.clone()})
    others = ({"b": value}, {"a": value.double()}, {"a": value.view(2, 3)}, {"a": value + 1})
    assert len({same, *map(digest_of, others)}) == 5


def test_values_go_through_a_file_and_come_back(tmp_path):
    write_patches(tmp_path / "patches.safetensors", ONES)
    assert digest_of(read_patches(tmp_path / "patches.safetensors")) == digest_of(ONES)
    (tmp_path / "broken").write_text("no")
    for name in ("broken", "missing"):
        with pytest.raises(EditError, match="cannot be read"):
            read_patches(tmp_path / name)


def test_a_patch_is_in_force_within_the_context_alone():
    model = tiny_model("llama")
    weight, whole = model.get_parameter(NAME), logits(model)
    with applied(model, [Remove(3), make_patch(ONES)], patches=ONES):
        assert torch.equal(weight, ONES[NAME])
        inside = logits(model)
    assert torch.equal(logits(model), whole)
    with applied(model, [Remove(3)]):
        assert not torch.equal(logits(model), inside)


@pytest.mark.parametrize(
    ("patches", "said"),
    [
        (None, "the values of .* are not given"),
        ({NAME: torch.zeros(32, 48)}, "are others than it names"),
    ],
)
def test_other_values_are_refused(patches, said):
    with (
        pytest.raises(EditError, match=said),
        applied(tiny_model("llama"), [make_patch(ONES)], patches=patches),
    ):
        pass


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({NAME: torch.ones(3)}, r"has values of \[3\], it is \[32, 48\]"),
        ({"nothing": torch.ones(3)}, "there is no such parameter"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, said):
    with (
        pytest.raises(EditError, match=said),
        applied(tiny_model("llama"), [make_patch(values)], patches=values),
    ):
        pass


@pytest.mark.parametrize(
    "some", [(Remove(3),), (Repack(1, 2), Remove(4)), (ZeroHalf(1, "attention"),)], ids=str
)
def test_a_patched_model_is_written_and_reads_its_numbering(some, tmp_path):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path / "model")
    train_tokenizer(["some text, any text"], 300, 64).save_pretrained(tmp_path / "model")
    name = "model.layers.2.mlp.down_proj.weight"
    values = {name: torch.randn(32, 48, generator=torch.Generator().manual_seed(0))}
    edits = (*some, make_patch(values))
    with applied(model, edits, patches=values):
        wanted = logits(model)
    spec = ModelSpec(str(tmp_path / "model"))
    done = write(spec, edits, tmp_path / "small", IDS.numpy(), patches=values)
    assert done.agreement.holds
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "small")), wanted)
    with pytest.raises(EditError, match="are not given"):
        write(spec, edits, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_tied_head_gets_a_weight_of_its_own(tmp_path):
    model = tiny_model("llama", tie_word_embeddings=True)
    model.save_pretrained(tmp_path / "model")
    train_tokenizer(["some text, any text"], 300, 64).save_pretrained(tmp_path / "model")
    values = {"lm_head.weight": torch.randn(VOCABULARY, 32)}
    edits = (Remove(1), make_patch(values))
    before = logits(model)
    with applied(model, edits, patches=values):
        wanted = logits(model)
        assert not model.config.tie_word_embeddings
    assert torch.equal(logits(model), before)
    assert model.config.tie_word_embeddings
    write(ModelSpec(str(tmp_path / "model")), edits, tmp_path / "small", patches=values)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert not found.config.tie_word_embeddings
    assert torch.equal(logits(found), wanted)
