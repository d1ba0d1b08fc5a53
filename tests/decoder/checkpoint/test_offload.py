"""Layers brought in one at a time compute what the loaded model computes, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder.checkpoint.offload import Source, load_streamed
from decoder.errors import ModelError, UnsupportedModel
from decoder.model.loading import ModelSpec, load_model
from decoder.model.structure import find_stack
from decoder.model.trace import record
from tests.support.tiny_models import STORED, VOCABULARY, tiny_model

CPU = torch.device("cpu")
TOKENS = torch.randint(2, VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(0))


def spec(path, dtype="auto") -> ModelSpec:
    return ModelSpec(str(path), dtype=dtype, device="cpu")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model"
    tiny_model("llama").save_pretrained(path)
    return path


@pytest.fixture
def streamed(saved):
    return load_streamed(spec(saved), CPU)


def refused(path, *parts, kind=ModelError):
    with pytest.raises(kind) as caught:
        load_streamed(spec(path), CPU)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def weights(layer):
    return dict(layer.state_dict(keep_vars=True))


def is_tied(model):
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def is_empty(layer):
    return all(tensor.device.type == "meta" for tensor in weights(layer).values())


@torch.inference_mode()
def assert_same(path, dtype="auto", source: Source = "disk", device=CPU):
    """Every layer's output, the rest of the weights and all buffers are the loaded model's."""
    which = replace(spec(path, dtype), device=str(device))
    loaded = load_model(which)
    model, store = load_streamed(which, device, source=source)
    trace = record(loaded, find_stack(loaded), TOKENS.to(device), every_input=True)
    layers = find_stack(model).layers
    for index, call in enumerate(trace.calls):
        assert is_empty(layers[index])
        with store.resident(index):
            got = replace(call, layer=layers[index])(trace.inputs[index])
        assert torch.equal(got, call(trace.inputs[index])), index
        assert is_empty(layers[index])
    wanted = {**dict(loaded.named_parameters()), **dict(loaded.named_buffers())}
    rest = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert list(rest) == list(wanted)
    for name, tensor in rest.items():
        if tensor.device.type != "meta":
            assert tensor.dtype == wanted[name].dtype, name
            assert torch.equal(tensor, wanted[name]), name
        else:
            assert name.startswith(find_stack(model).path), name
    assert is_tied(model) == is_tied(loaded)
    assert not model.training
    return store


@pytest.mark.parametrize("family", STORED)
def test_every_family_computes_the_same(family, tmp_path):
    tiny_model(family).save_pretrained(tmp_path)
    store = assert_same(tmp_path)
    assert (store.source, store.loads) == ("disk", 5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral", "qwen3_moe"])
@pytest.mark.parametrize(
    ("stored", "used"),
    [("float32", "bfloat16"), ("bfloat16", "float32"), ("float32", "float16")],
)
def test_types_are_converted_a_layer_at_a_time(family, stored, used, tmp_path):
    tiny_model(family).to(getattr(torch, stored)).save_pretrained(tmp_path)
    assert_same(tmp_path, used)


@pytest.mark.parametrize("tied", [False, True])
def test_tied_and_untied_heads(tied, tmp_path):
    tiny_model("llama", tie_word_embeddings=tied).save_pretrained(tmp_path, max_shard_size="40KB")
    assert_same(tmp_path)


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_layers_kept_in_the_host_memory(family, tmp_path):
    tiny_model(family).save_pretrained(tmp_path)
    store = assert_same(tmp_path, source="ram")
    before = store.bytes_read
    (tmp_path / "model.safetensors").unlink()
    for index in range(5):
        with store.resident(index):
            pass
    assert store.bytes_read == before
    assert store.loads == 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("source", ["auto", "disk", "ram"])
def test_on_a_gpu(family, dtype, source, tmp_path):
    tiny_model(family).save_pretrained(tmp_path)
    store = assert_same(tmp_path, dtype, source, torch.device("cuda", 0))
    assert store.source == ("disk" if source == "disk" else "ram")


def test_one_buffer_serves_all_layers(streamed):
    model, store = streamed
    layers = find_stack(model).layers
    places = set()
    for index in (0, 3, 1):
        with store.resident(index):
            places.add(min(tensor.data_ptr() for tensor in weights(layers[index]).values()))
            assert sum(not is_empty(layer) for layer in layers) == 1
    assert len(places) == 1


def test_counters(streamed, saved):
    _, store = streamed
    stored = load_file(saved / "model.safetensors")
    layer = sum(t.nbytes for name, t in stored.items() if name.startswith("model.layers.0."))
    assert store.largest_layer_bytes == layer
    assert (store.loads, store.bytes_read) == (0, 0)
    for index in (2, 2, 3, 2):  # the second time nothing is read
        with store.resident(index):
            pass
    assert (store.loads, store.bytes_read) == (3, 3 * layer)


def test_a_layer_is_gone_after_an_error(streamed):
    model, store = streamed
    layer = find_stack(model).layers[1]
    with pytest.raises(RuntimeError, match="mat1 and mat2"), store.resident(1):
        layer.get_submodule("mlp")(torch.zeros(1, 3))
    assert is_empty(layer)
    with store.resident(2):
        pass


def test_one_layer_at_a_time_and_only_those_there_are(streamed):
    _, store = streamed
    with (
        store.resident(1),
        pytest.raises(ValueError, match="layer 2: layer 1 is resident; leave"),
        store.resident(2),
    ):
        pass
    for index in (-1, 5):
        with pytest.raises(ValueError, match="there are 5"), store.resident(index):
            pass


def test_a_checkpoint_that_goes_away_is_told(streamed, saved):
    model, store = streamed
    with store.resident(0):
        pass
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:2000])
    with pytest.raises(ModelError, match="ends within tensor"), store.resident(4):
        pass
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"), store.resident(0):
        pass
    path.write_bytes(content)
    with store.resident(0):
        assert not is_empty(find_stack(model).layers[0])


def test_checkpoints_that_cannot_be_streamed(saved, tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "pickle")
    (tmp_path / "pickle" / "model.safetensors").rename(tmp_path / "pickle" / "pytorch_model.bin")
    refused(tmp_path / "pickle", "pytorch_model.bin", "save the model as safetensors", "--memory")
    config = json.loads((saved / "config.json").read_text())
    quantised = {**config, "quantization_config": {"quant_method": "bitsandbytes"}}
    (saved / "config.json").write_text(json.dumps(quantised))
    refused(saved, "quantised", "--memory")
    (saved / "config.json").write_text(json.dumps({**config, "intermediate_size": 40}))
    refused(saved, "another shape", "config.json")


@pytest.mark.parametrize("gone", ["model.layers.2.mlp.up_proj.weight", "model.norm.weight"])
def test_missing_weights(saved, gone):
    stored = load_file(saved / "model.safetensors")
    del stored[gone]
    save_file(stored, saved / "model.safetensors", metadata={"format": "pt"})
    refused(saved, "1 weights are not in the checkpoint", gone)


def test_missing_experts(tmp_path):
    tiny_model("mixtral").save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in stored if "layers.3" in name and "experts.2.w1" in name)
    del stored[gone]
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    refused(tmp_path, "model.layers.3", "the checkpoint")


_WALK = """
import json, re, sys, torch
from decoder.checkpoint.inspect import checkpoint_fingerprint, footprint
from decoder.model.loading import ModelSpec
from decoder.checkpoint.offload import load_streamed
from decoder.model.structure import find_stack

def memory(what):
    return int(re.search(what + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

def walk(path, dtype):
    spec = ModelSpec(path, dtype=dtype, device="cpu")
    checkpoint_fingerprint(spec)
    model, store = load_streamed(spec, torch.device("cpu"))
    layers = find_stack(model).layers
    total = 0.0
    for index in range(len(layers)):
        with store.resident(index), torch.inference_mode():
            total += sum(float(p.double().abs().sum() if p.numel() < 9 else p.view(-1)[-1])
                         for p in layers[index].parameters())
    return store

small, large, dtype = sys.argv[1:]
walk(small, dtype)  # what the libraries take for themselves
base = memory("VmRSS")
store = walk(large, dtype)
megabytes = footprint(ModelSpec(large, dtype=dtype), torch.device("cpu")).total_bytes / 2**20
print(json.dumps({"grown": memory("VmHWM") - base, "layer": store.largest_layer_bytes / 2**20,
                  "model": megabytes, "read": store.bytes_read / 2**20}))
"""


def write_large(path, family, layers, dtype, **shape):
    """A checkpoint of many layers, one a file: those of a model of one, with other numbers."""
    model = tiny_model(family, num_hidden_layers=1, **shape).to(dtype)
    model.save_pretrained(path)
    stored = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    index = {}
    for layer in range(layers):
        own = {
            name.replace("layers.0.", f"layers.{layer}."): tensor + layer
            for name, tensor in stored.items()
            if "layers.0." in name or layer == 0
        }
        file = f"model-{layer}.safetensors"
        save_file(own, path / file, metadata={"format": "pt"})
        index |= dict.fromkeys(own, file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    config = json.loads((path / "config.json").read_text())
    lists = {key: [v[0]] * layers for key, v in config.items() if key == "layer_types" and v}
    config |= {"num_hidden_layers": layers, **lists}
    (path / "config.json").write_text(json.dumps(config))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own account")
@pytest.mark.parametrize(
    ("family", "layers", "stored", "used"),
    [
        ("llama", 8, torch.float32, "float32"),
        ("mixtral", 4, torch.bfloat16, "float32"),
    ],
)
def test_memory_stays_at_one_layer(family, layers, stored, used, tmp_path):
    wide = {"hidden_size": 1024, "intermediate_size": 2752}
    experts = {"hidden_size": 512, "intermediate_size": 1024, "num_local_experts": 8}
    shape = experts if family == "mixtral" else wide
    write_large(tmp_path / "large", family, layers, stored, **shape)
    tiny_model(family).save_pretrained(tmp_path / "small")
    done = subprocess.run(
        [sys.executable, "-c", _WALK, str(tmp_path / "small"), str(tmp_path / "large"), used],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["model"] > 200, found
    assert found["read"] > 0.9 * found["model"] * stored.itemsize / 4, found
    assert found["layer"] < found["grown"] < 100, found


def test_layers_that_share_weights_are_not_supported(saved, monkeypatch):
    import decoder.checkpoint.offload

    def shared(*arguments):
        model = skeleton(*arguments)
        layers = find_stack(model).layers
        layers[3].mlp = layers[1].mlp
        return model

    skeleton = decoder.checkpoint.offload.skeleton
    monkeypatch.setattr(decoder.checkpoint.offload, "skeleton", shared)
    refused(saved, "share weights", "--memory", kind=UnsupportedModel)
