"""Facts and fingerprints come from a checkpoint's files; damaged ones are told in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5ForConditionalGeneration

from decoder.checkpoint.inspect import checkpoint_fingerprint, footprint, resolve_dtype, skeleton
from decoder.errors import ModelError
from decoder.model.loading import ModelSpec, load_model
from tests.support.tiny_models import STORED, tiny_model

CPU = torch.device("cpu")
GPU = torch.device("cuda")  # named, never touched


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model"
    tiny_model("llama").save_pretrained(path)
    return path


def spec(path, **options) -> ModelSpec:
    return ModelSpec(str(path), device="cpu", **options)


def refused(path, *parts, of=checkpoint_fingerprint, **options):
    with pytest.raises(ModelError) as caught:
        of(spec(path, **options))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def change_config(path, **changes):
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))


def flip_one_bit(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("family", STORED)
def test_a_footprint_is_what_the_loaded_model_takes(family, tmp_path):
    tiny_model(family).save_pretrained(tmp_path)
    model = load_model(spec(tmp_path, dtype="bfloat16"))
    found = footprint(spec(tmp_path, dtype="bfloat16"), CPU)
    tensors = [*model.parameters(), *model.buffers()]
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.total_bytes == sum(t.numel() * t.element_size() for t in tensors)
    assert found.layers == model.config.get_text_config(decoder=True).num_hidden_layers
    assert 0 < found.other_bytes < found.total_bytes
    assert found.total_bytes <= found.other_bytes + found.layers * found.largest_layer_bytes
    assert (found.hidden_size, found.vocabulary) == (32, 97)


def test_tied_weights_count_once(tmp_path):
    for tied in (True, False):
        tiny_model("llama", tie_word_embeddings=tied).save_pretrained(tmp_path / str(tied))
    tied, untied = (footprint(spec(tmp_path / str(t)), CPU) for t in (True, False))
    assert untied.parameters - tied.parameters == 97 * 32
    assert untied.other_bytes - tied.other_bytes == 97 * 32 * 4


def test_a_skeleton_has_the_structure_and_no_weights(saved):
    model = skeleton(spec(saved))
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert not model.training
    loaded = load_model(spec(saved))
    shapes = {name: (p.shape, p.dtype) for name, p in loaded.named_parameters()}
    assert {name: (p.shape, p.dtype) for name, p in model.named_parameters()} == shapes


def test_types_on_a_cpu_and_on_a_gpu(tmp_path):
    tiny_model("llama").bfloat16().save_pretrained(tmp_path)
    assert resolve_dtype(spec(tmp_path), CPU) == torch.float32
    assert resolve_dtype(spec(tmp_path), GPU) == torch.bfloat16
    assert resolve_dtype(spec(tmp_path, dtype="float16"), GPU) == torch.float16
    assert footprint(spec(tmp_path), CPU).total_bytes > footprint(spec(tmp_path), GPU).total_bytes
    assert skeleton(spec(tmp_path)).dtype == torch.bfloat16
    change_config(tmp_path, dtype=None)
    assert resolve_dtype(spec(tmp_path), GPU) == torch.bfloat16  # that of the stored weights
    refused(tmp_path, "--dtype int8", of=skeleton, dtype="int8")


def test_the_same_refusals_as_loading(tmp_path, saved):
    for of in (skeleton, checkpoint_fingerprint):
        refused(tmp_path / "gone", "no such directory", of=of)
        refused(tmp_path, "no config.json", of=of)
    config = T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    refused(tmp_path / "t5", "not a causal language model", of=skeleton)
    change_config(saved, hidden_act="shrug")
    refused(saved, "its configuration makes no model", of=skeleton)


def test_a_fingerprint_ignores_directories_and_shards(tmp_path):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "many", max_shard_size="40KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 3
    change_config(tmp_path / "many", transformers_version="0", architectures=["Other"])
    found = {checkpoint_fingerprint(spec(tmp_path / name)) for name in ("one", "many")}
    assert len(found) == 1


def test_a_fingerprint_follows_weights_type_and_configuration(saved, tmp_path):
    found = [checkpoint_fingerprint(spec(saved))]
    assert checkpoint_fingerprint(spec(saved, dtype="bfloat16")) == found[0]
    shutil.copytree(saved, tmp_path / "bit")
    flip_one_bit(tmp_path / "bit" / "model.safetensors", -5)
    shutil.copytree(saved, tmp_path / "config")
    change_config(tmp_path / "config", rms_norm_eps=1e-3)
    tiny_model("llama").bfloat16().save_pretrained(tmp_path / "half")
    found += [checkpoint_fingerprint(spec(tmp_path / n)) for n in ("bit", "config", "half")]
    assert len(set(found)) == 4


def test_two_weights_that_change_places_are_another_model(saved, tmp_path):
    weights = load_file(saved / "model.safetensors")
    one, other = (f"model.layers.{i}.mlp.up_proj.weight" for i in (1, 2))
    before = checkpoint_fingerprint(spec(saved))
    weights[one], weights[other] = weights[other], weights[one]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    assert checkpoint_fingerprint(spec(saved)) != before


def test_pickles_are_digested_and_never_opened(saved):
    (saved / "model.safetensors").unlink()
    (saved / "pytorch_model.bin").write_bytes(b"no pickle at all")
    before = checkpoint_fingerprint(spec(saved))
    assert checkpoint_fingerprint(spec(saved)) == before
    flip_one_bit(saved / "pytorch_model.bin", 3)
    assert checkpoint_fingerprint(spec(saved)) != before
    change_config(saved, dtype=None)
    refused(saved, "--dtype auto", "float32", of=skeleton)


def test_progress_goes_up_to_all_bytes(saved):
    calls: list[tuple[int, int]] = []
    checkpoint_fingerprint(spec(saved), lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (calls[-1][1], footprint(spec(saved), CPU).parameters * 4)


def test_files_that_are_not_there(saved, tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "many", max_shard_size="40KB")
    sorted((tmp_path / "many").glob("*.safetensors"))[1].unlink()
    refused(tmp_path / "many", "1 of ", "weight files are missing", "00002-of-")
    (tmp_path / "many" / "model.safetensors.index.json").write_text("[]")
    refused(tmp_path / "many", "no index of weight files")
    (saved / "model.safetensors").unlink()
    refused(saved, "no weights beside config.json", "again")


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda content: content[: len(content) // 2], "bytes are missing"),
        (lambda content: content + b"more", "4 bytes too many"),
        (lambda content: content[:5], "no safetensors header"),
        (lambda content: b"", "no safetensors header"),
        (lambda content: b"\xff" * 8 + content[8:], "no safetensors header"),
        (lambda content: content[:8] + b"x" + content[9:], "damaged weights"),
        (lambda content: content.replace(b'"dtype":"F32"', b'"dtype":"Q99"', 1), "unknown type"),
        (lambda content: content.replace(b'"shape":[97', b'"shape":[96', 1), "do not fit"),
    ],
)
def test_damaged_files(saved, damage, part):
    path = saved / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    refused(saved, "damaged weights", part, "again")


def test_weights_that_are_missing_or_of_another_shape(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "other")
    change_config(tmp_path / "other", vocab_size=50)
    refused(tmp_path / "other", "another shape", "config.json")
    weights = load_file(saved / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    refused(saved, "1 weights are not in the checkpoint", "model.layers.2.mlp.up_proj.weight")


_FROM_THE_HUB = """
import sys, torch
from decoder.checkpoint.inspect import checkpoint_fingerprint, footprint
from decoder.errors import ModelError
from decoder.model.loading import ModelSpec
from decoder.checkpoint.offload import load_streamed
spec = ModelSpec("some/model", device="cpu")
print(checkpoint_fingerprint(spec))
model, store = load_streamed(spec, torch.device("cpu"))
with store.resident(1):
    print(footprint(spec, torch.device("cpu")).layers)
try:
    checkpoint_fingerprint(ModelSpec("some/other"))
except ModelError as error:
    print(error)
"""


def test_hub_models_come_from_the_cache(saved, tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "many", max_shard_size="40KB")
    cached = tmp_path / "home" / "hub" / "models--some--model"
    shutil.copytree(tmp_path / "many", cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    (tmp_path / "elsewhere").mkdir()
    root = Path(__file__).resolve().parents[3]
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_CACHE": str(tmp_path / "home" / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(root),
    }
    done = subprocess.run(
        [sys.executable, "-c", _FROM_THE_HUB],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path / "elsewhere",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digest, layers, refusal = done.stdout.splitlines()
    assert digest == checkpoint_fingerprint(spec(saved))
    assert layers == "5"
    assert "some/other" in refusal


@pytest.mark.parametrize("name", ["../other/model.safetensors", "/etc/passwd", "a/../../b"])
def test_an_index_that_names_files_elsewhere_is_refused(name, tmp_path):
    model = tmp_path / "model"
    tiny_model("llama").save_pretrained(model)
    (model / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": name}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="outside of the checkpoint"):
        checkpoint_fingerprint(ModelSpec(str(model)))
