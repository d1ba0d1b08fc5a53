"""Halves of decoder layers: found by function, left out exactly, refused where they cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from decoder.errors import UnsupportedModel
from decoder.model.branches import Branches, find_branches, run_attention, run_mlp, run_whole
from decoder.model.structure import find_stack
from decoder.model.trace import LayerCall, Trace, record
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = torch.randint(2, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(3))


def traced(model: PreTrainedModel, tokens: Tensor = TOKENS) -> Trace:
    with torch.inference_mode():
        return record(model, find_stack(model), tokens, every_input=True)


def halves(family: str, **changes: Any) -> list[tuple[Branches, LayerCall, Tensor]]:
    trace = traced(tiny_model(family, **changes))
    pairs = zip(trace.calls, trace.inputs[:-1], strict=True)
    return [(find_branches(call, hidden), call, hidden) for call, hidden in pairs]


@pytest.mark.parametrize(
    ("family", "attention", "mlp", "joined"),
    [
        ("llama", "self_attn", ("mlp",), False),
        ("opt", "self_attn", ("fc1", "fc2"), False),
        ("opt-norm_after", "self_attn", ("fc1", "fc2"), True),
        ("granitemoeshared", "self_attn", ("block_sparse_moe", "shared_mlp"), False),
        ("gptj", "attn", ("mlp",), True),
        ("gpt_neox", "attention", ("mlp",), True),
        ("gpt_neox-sequential", "attention", ("mlp",), False),
        ("mpt", "attn", ("ffn",), False),
    ],
)
def test_halves_are_found_by_what_they_do(family, attention, mlp, joined):
    for branches, _, _ in halves(family):
        assert (branches.attention, branches.mlp) == ((attention,), mlp)
        assert branches.joined is joined


@pytest.mark.parametrize("family", ["llama", "gemma2", "opt-norm_after", "falcon-rotary", "bloom"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_both_halves_are_the_whole_layer_bit_for_bit(family, dtype):
    trace = traced(tiny_model(family).to(dtype))
    for call, hidden in zip(trace.calls, trace.inputs[:-1], strict=True):
        branches = find_branches(call, hidden)
        halfway = run_attention(branches, call, (hidden,))
        assert {(tensor.shape, tensor.dtype) for tensor in halfway} == {(hidden.shape, dtype)}
        whole = run_whole(call, (hidden,))[0]
        assert torch.equal(run_mlp(branches, call, halfway)[0], whole)
        assert not torch.equal(run_mlp(branches, call, (hidden,))[0], whole)
        assert not torch.equal(halfway[0], whole)


def calls_of(layer: nn.Module, names: Iterable[str]) -> list[str]:
    """A list that gets the name of each of these parts when it runs."""
    ran: list[str] = []
    for name in names:
        part = layer.get_submodule(name)
        part.register_forward_hook(lambda *_, name=name: ran.append(name))
    return ran


@pytest.mark.parametrize("family", ["llama", "opt", "gptj", "bloom", "gpt_oss"])
def test_what_is_left_out_does_not_run(family):
    for branches, call, hidden in halves(family):
        before = dict(call.layer._modules)
        ran = calls_of(call.layer, (*branches.attention, *branches.mlp))
        halfway = run_attention(branches, call, (hidden,))
        assert tuple(ran) == branches.attention
        ran.clear()
        run_mlp(branches, call, halfway)
        assert tuple(ran) == branches.mlp
        assert call.layer._modules == before
        assert list(call.layer._modules) == list(before)


@pytest.mark.parametrize("family", ["llama", "bloom", "falcon-new", "opt"])
def test_states_stay_as_they_are_and_batches_may_grow(family):
    model = tiny_model(family)
    small = traced(model, TOKENS[:1])
    found = [find_branches(c, h) for c, h in zip(small.calls, small.inputs[:-1], strict=True)]
    large = traced(model)
    for branches, call, hidden in zip(found, large.calls, large.inputs[:-1], strict=True):
        halfway = run_attention(branches, call, (hidden,))
        copies = [tensor.clone() for tensor in halfway]
        first = run_mlp(branches, call, halfway)[0]
        assert torch.equal(first, run_mlp(branches, call, halfway)[0])
        assert all(map(torch.equal, halfway, copies))
        assert torch.equal(first, call(hidden))


def test_answers_that_a_layer_changes_in_place_are_not_shared():
    call, hidden = _call(_InPlace(a=_Mean(8), b=nn.Linear(8, 8)))
    branches = find_branches(call, hidden)
    assert branches.joined
    halfway = run_attention(branches, call, (hidden,))
    answer = halfway[2].clone()
    assert torch.equal(run_mlp(branches, call, halfway)[0], call(hidden))
    assert torch.equal(halfway[2], answer)


def test_parts_are_put_back_after_an_error():
    branches, call, hidden = halves("llama")[0]
    before = dict(call.layer._modules)
    with pytest.raises(RuntimeError):
        run_attention(branches, call, (hidden[..., :-1],))
    assert call.layer._modules == before


class _Mean(nn.Module):
    """Each position answers with a map of the mean of those before it and itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(width, width)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        steps = torch.arange(1, hidden_BTD.shape[1] + 1)[:, None]
        return self.map(hidden_BTD.cumsum(1) / steps)


class _Layer(nn.Module):
    """A layer of given parts, one after the other, in the order of their names."""

    def __init__(self, *, inside: bool = False, **parts: nn.Module) -> None:
        super().__init__()
        self._inside = inside
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        for part in self.children():
            answer = part(hidden_BTD)
            hidden_BTD = answer if self._inside else hidden_BTD + answer
        return hidden_BTD


class _Around(nn.Module):
    """A part that adds what it is given to its answer by itself."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        return hidden_BTD + self.part(hidden_BTD)


class _Uncalled(_Layer):
    def forward(self, hidden_BTD: Tensor) -> Tensor:
        mixer, mlp = self.children()
        return hidden_BTD + cast(_Mean, mixer).map(hidden_BTD) + mlp(hidden_BTD)


class _InPlace(_Layer):
    """Both parts on the layer's input, summed in the memory of the first one's answer."""

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        mixer, mlp = self.children()
        answer = mixer(hidden_BTD)
        answer += mlp(hidden_BTD)
        return hidden_BTD + answer


@pytest.mark.parametrize(("norms", "joined"), [({}, False), ({"norm": nn.LayerNorm(8)}, True)])
def test_any_token_mixer_counts_as_attention(norms, joined):
    call, hidden = _call(_Layer(conv=_Mean(8), body=nn.Linear(8, 8), **norms))
    branches = find_branches(call, hidden)
    assert (branches.attention, branches.mlp) == (("conv",), ("body",))
    assert branches.joined is joined  # a norm on the residual path must not be run twice
    halfway = run_attention(branches, call, (hidden,))
    assert torch.equal(run_mlp(branches, call, halfway)[0], call(hidden))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: _Layer(a=_Mean(8)), "it has no MLP beside its attention"),
        (lambda: _Layer(a=nn.Linear(8, 8)), "none of its parts looks at earlier positions"),
        (lambda: _Layer(a=_Mean(8), b=_Mean(8), c=nn.Linear(8, 8)), "a and b all look"),
        (lambda: _Layer(a=nn.Linear(8, 8), b=_Mean(8)), "its attention, then its MLP, are not"),
        (
            lambda: _Layer(inside=True, a=_Around(_Mean(8)), b=_Around(nn.Linear(8, 8))),
            "its residual connections lie inside its parts",
        ),
        (lambda: _Uncalled(a=_Mean(8), b=nn.Linear(8, 8)), "its parts a, b are not called once"),
    ],
)
def test_layers_without_two_halves_are_refused(layer, message):
    call, hidden = _call(layer())
    with pytest.raises(UnsupportedModel, match=message) as caught:
        find_branches(call, hidden)
    assert "--players layers or blocks:K" in str(caught.value)
    assert "\n" not in str(caught.value)


def _call(layer: nn.Module) -> tuple[LayerCall, Tensor]:
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return LayerCall(layer, 0, (None,), {}), torch.randn(2, 6, 8)


@pytest.mark.parametrize("family", ["gemma3n_text", "gemma4_text"])
def test_shared_keys_and_values_are_refused(family):
    model = tiny_model(family)
    with pytest.raises(UnsupportedModel, match="2 of its layers use the keys and values") as caught:
        find_stack(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", ["o_proj", "self_attn"])
def test_an_attention_of_zeros_is_still_the_attention(weights):
    model = tiny_model("llama")
    layer = find_stack(model).layers[1]
    for name, parameter in layer.named_parameters():
        if weights in name:
            parameter.zero_()
    trace = record(model, find_stack(model), torch.arange(8)[None], every_input=True)
    found = find_branches(trace.calls[1], trace.inputs[1])
    assert found.attention == ("self_attn",)
    assert found.mlp == ("mlp",)
