"""What is measured without some layers or halves equals a plain forward without them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from decoder import MaskedModel, find_stack
from decoder.model.branches import Branches, find_branches, run_attention, run_mlp
from decoder.model.lm_head import injected
from decoder.model.null_branch import listened
from decoder.model.structure import Stack
from decoder.model.trace import Trace, record
from tests.support.tiny_models import FAMILIES, tiny_model

TOKENS = np.random.default_rng(0).integers(2, 90, size=(3, 12))
IDS = torch.from_numpy(TOKENS)
ATTENTION = r"(self_attn|attn|attention|self_attention)\..*(o_proj|out_proj|dense|c_proj)\.\w+"
MLP = r".*(down_proj|fc2|c_proj|fc_out|dense_4h_to_h|output_linear)(\.\w+|_bias)?"
HALVES = ("attention", "mlp")
PARALLEL = {"phi", "gptj", "gpt_neox", "falcon-rotary", "falcon-new", "stablelm-parallel", "cohere"}


class Parts(NamedTuple):
    model: PreTrainedModel
    stack: Stack
    trace: Trace
    branches: tuple[Branches, ...]


@cache
def parts(family: str) -> Parts:
    model = tiny_model(family)
    stack = find_stack(model)
    with torch.inference_mode():
        trace = record(model, stack, IDS, every_input=True)
    pairs = zip(trace.calls, trace.inputs[:-1], strict=True)
    return Parts(model, stack, trace, tuple(find_branches(call, hidden) for call, hidden in pairs))


def reduced(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A copy with the other layers deleted and the configuration told so."""
    model = copy.deepcopy(model)
    stack = find_stack(model)
    depth = len(stack)
    layers = nn.ModuleList(layer for i, layer in enumerate(stack.layers) if i in kept)
    setattr(stack.owner, stack.attribute, layers)
    text = model.config.get_text_config(decoder=True)
    text.num_hidden_layers = len(kept)
    if len(getattr(text, "layer_types", None) or ()) == depth:
        text.layer_types = [text.layer_types[i] for i in kept]
    return model


def zeroed(model: PreTrainedModel, gone: Iterable[tuple[int, str]]) -> PreTrainedModel:
    """A copy whose output projections are zero in these halves; without layers that lose both."""
    gone = set(gone)
    whole = {layer for layer, _ in gone if {(layer, half) for half in HALVES} <= gone}
    model = copy.deepcopy(model)
    for layer, half in gone:
        matched = 0
        for name, parameter in find_stack(model).layers[layer].named_parameters():
            attention = re.fullmatch(ATTENTION, name) is not None
            if attention if half == "attention" else re.fullmatch(MLP, name) and not attention:
                parameter.zero_()
                matched += 1
        assert matched, f"no projection of the {half} is known by name"
    return reduced(model, [i for i in range(len(find_stack(model))) if i not in whole])


@torch.inference_mode()
def logits_without(family: str, gone: Iterable[tuple[int, str]]) -> Tensor:
    """Logits of the halves that stay, run one by one over the recorded calls."""
    gone = set(gone)
    model, stack, trace, branches = parts(family)
    state = (trace.inputs[0],)
    for layer, (found, call) in enumerate(zip(branches, trace.calls, strict=True)):
        state = state[:1]
        if (layer, "attention") not in gone:
            state = run_attention(found, call, state)
        if (layer, "mlp") not in gone:
            state = run_mlp(found, call, state)
    with injected(model, stack, trace.returns) as logits:
        return logits(IDS, state[0])


def gone_sets() -> list[set[tuple[int, str]]]:
    every = [(layer, half) for layer in range(5) for half in HALVES]
    rows = np.random.default_rng(1).random((6, len(every))) < 0.5
    some = [{half for half, out in zip(every, row, strict=True) if out} for row in rows]
    seam = {(2, "mlp"), (3, "attention")}  # an attention half, then the MLP of the next layer
    return [set(), seam, {(0, "attention")}, {(4, "mlp")}, *some]


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_left_out_are_as_if_deleted(family):
    model = parts(family).model
    masked = MaskedModel(model, TOKENS, micro_batch=24)
    sets = [(0, 1, 2, 3, 4), (1, 2, 3, 4), (0, 2, 4), (0, 1, 3), (3,), (1, 4), (0, 1, 2, 3)]
    coalitions = np.array([[i in kept for i in range(5)] for kept in sets])
    found = masked.measure(coalitions)
    dense = model(input_ids=IDS, use_cache=False).logits
    for row, kept in enumerate(sets):
        logits = reduced(model, kept)(input_ids=IDS, use_cache=False).logits
        for metric, values in plain_metrics(logits, dense).items():
            np.testing.assert_allclose(found[metric][row], values, atol=1e-4, err_msg=metric)
    assert np.ptp(found["nll"].mean(1)) > 0.01, "the layers of this model change nothing"


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_halves_left_out_are_as_if_their_projections_were_zero(family):
    model, dense = parts(family).model, parts(family).trace.logits_BTV
    largest = float(dense.abs().max())
    for gone in gone_sets():
        expected = zeroed(model, gone)(input_ids=IDS, use_cache=False).logits
        found = logits_without(family, gone)
        assert float((found - expected).abs().max()) <= 1e-4 * largest, gone
    assert torch.equal(logits_without(family, ()), dense)
    for half in HALVES:
        changed = logits_without(family, [(2, half)])
        assert float((changed - dense).abs().max()) > 1e-2 * largest, f"{half} changes nothing"


@pytest.mark.parametrize("family", sorted(PARALLEL))
@torch.inference_mode()
def test_parallel_mlps_see_the_layers_own_input(family):
    _, _, trace, branches = parts(family)
    for found, call, hidden in zip(branches, trace.calls, trace.inputs[:-1], strict=True):
        (mlp,) = found.mlp
        with listened(call.layer.get_submodule(mlp)) as heard:
            call(hidden)
            run_mlp(found, call, (hidden,))
            run_mlp(found, call, run_attention(found, call, (hidden,)))
        own, alone, after = (args[0] for args, _, _ in heard)
        assert torch.equal(own, alone)
        assert torch.equal(own, after)


def test_parallel_families_are_known_as_such():
    joined = {f for f in FAMILIES if all(b.joined for b in parts(f).branches)}
    assert joined == PARALLEL | {"opt-norm_after", "bloom-norm_after"}


def test_both_kinds_of_return_are_covered():
    returns = {parts(family).trace.returns for family in FAMILIES}
    assert 0 in returns
    assert max(returns) >= 2


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
    logits = model(input_ids=IDS, use_cache=False).logits
    expected = plain_metrics(logits, logits)
    np.testing.assert_allclose(found["nll"][0], expected["nll"], atol=1e-4)


def plain_metrics(logits: Tensor, dense: Tensor) -> dict[str, np.ndarray]:
    log = logits[:, :-1].double().log_softmax(-1)
    reference = dense[:, :-1].double().log_softmax(-1)
    nll = -log.gather(2, IDS[:, 1:, None])[..., 0].mean(1)
    kl = (reference.exp() * (reference - log)).sum(-1).mean(1)
    top1 = (log.argmax(-1) == reference.argmax(-1)).double().mean(1)
    return {"nll": nll.numpy(), "kl": kl.numpy(), "top1": top1.numpy()}
