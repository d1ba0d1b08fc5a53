"""Models load, or are refused with one line that names the rule and the remedy."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, T5Config, T5ForConditionalGeneration

from decoder import (
    ModelError,
    ModelSpec,
    UnsupportedModel,
    find_stack,
    load_model,
    load_tokenizer,
    make_roster,
    pick_device,
)
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import tiny_model


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model"
    tiny_model("llama").save_pretrained(path)
    return path


def refused(path, *parts, load=load_model, **options):
    with pytest.raises(ModelError) as caught:
        load(ModelSpec(str(path), **options))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_a_loaded_model_is_ready_to_measure(saved):
    model = load_model(ModelSpec(str(saved), device="cpu"))
    assert model.dtype == torch.float32
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert make_roster("layers", len(find_stack(model))).names == ("L0", "L1", "L2", "L3", "L4")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtype_is_what_was_asked_for(saved, dtype):
    model = load_model(ModelSpec(str(saved), dtype=dtype, device="cpu"))
    assert model.dtype == getattr(torch, dtype)


def test_auto_is_float32_on_a_cpu(tmp_path):
    tiny_model("llama").bfloat16().save_pretrained(tmp_path / "half")
    assert load_model(ModelSpec(str(tmp_path / "half"), device="cpu")).dtype == torch.float32


def test_directories_that_are_no_checkpoint(tmp_path):
    refused(tmp_path / "gone", "gone", "no such directory", "config.json")
    refused(tmp_path, "an empty directory", "save_pretrained")
    (tmp_path / "notes.txt").write_text("nothing")
    refused(tmp_path, "no config.json", "save_pretrained")
    (tmp_path / "config.json").write_text("{")
    refused(tmp_path, "no checkpoint directory")


def test_a_file_is_no_directory(saved):
    refused(saved / "model.safetensors", "a file", "config.json")


def test_adapters_and_gguf_are_named(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    refused(tmp_path / "a.gguf", "a GGUF", "made from")
    refused(tmp_path, "a GGUF")
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(tmp_path, "PEFT adapter", "merge_and_unload")


def test_other_kinds_of_models_are_refused(tmp_path):
    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    refused(tmp_path / "t5", "t5", "not a causal language model")


def test_missing_weights_are_not_replaced_by_random_ones(saved):
    weights = load_file(saved / "model.safetensors")
    gone = "model.layers.2.mlp.up_proj.weight"
    weights = {name: tensor for name, tensor in weights.items() if name != gone}
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    refused(saved, "1 weights are not in the checkpoint", gone)


def test_a_damaged_checkpoint_is_told(saved):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content[: len(content) // 2])
    refused(saved, "cannot be loaded", "again")


def test_a_checkpoint_without_weights_is_told(saved):
    (saved / "model.safetensors").unlink()
    refused(saved, "cannot be loaded", "model.safetensors")


def test_weights_of_another_shape_are_told(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "vocab_size": 50}))
    refused(saved, "cannot be loaded")


def test_unknown_dtype(saved):
    refused(saved, "--dtype int8", "bfloat16", dtype="int8")


@pytest.mark.parametrize("device", ["cuda:77", "cuda:-1", "toaster", "", "meta", "hpu", "mkldnn"])
def test_devices_that_are_not_there(saved, device):
    refused(saved, f"--device {device}", "choose c", device=device)


def test_a_gpu_beyond_the_last_is_told_how_many_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ModelError, match="2 GPUs here, numbered from 0; choose cuda:0, cuda:1 or"):
        pick_device("cuda:7")


def test_auto_device_is_one_that_works():
    assert torch.ones(2, device=pick_device("auto")).sum() == 2


def test_tokenizer(saved):
    refused(saved, "no usable tokenizer", "save_pretrained", load=load_tokenizer)
    train_tokenizer(["some text, any text"], 300, 64).save_pretrained(saved)
    tokenizer = load_tokenizer(ModelSpec(str(saved)))
    assert tokenizer.decode(tokenizer("any text")["input_ids"]) == "any text"


class Scattered(PreTrainedModel):
    """A decoder whose layers are plain attributes."""

    config_class = PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.post_init()


def test_layers_outside_a_list_are_not_supported():
    with pytest.raises(UnsupportedModel, match="no list of 2 decoder layers"):
        find_stack(Scattered(PretrainedConfig.from_dict({"num_hidden_layers": 2})))
    with pytest.raises(UnsupportedModel, match="no num_hidden_layers"):
        find_stack(Scattered(PretrainedConfig()))


def test_experts_are_not_mistaken_for_layers():
    model = tiny_model("mixtral", num_local_experts=5)
    assert find_stack(model).path == "model.layers"
