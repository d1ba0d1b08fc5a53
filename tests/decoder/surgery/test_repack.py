"""Halves of different layers share one where they can, in the fewest stock layers there are."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decoder import UnsupportedModel, find_stack, make_roster
from decoder.model.halves import find_half_ownership
from decoder.model.trace import record
from decoder.surgery.apply import applied
from decoder.surgery.blocks import Block, blocks_of, plan_blocks, repacked_halves, zeroed_halves
from decoder.surgery.edit import Remove, Repack, ZeroHalf
from decoder.surgery.plan import plan_edits
from decoder.surgery.readings import readings
from tests.support.tiny_models import STRUCTURES, VOCABULARY, tiny_model

IDS = torch.from_numpy(np.random.default_rng(0).integers(2, VOCABULARY, size=(2, 12)))
ROSTER = make_roster("sublayers", 5)
JOINED = {
    *("phi", "gptj", "gpt_neox", "falcon-rotary", "falcon-new", "stablelm-parallel", "cohere"),
    *("opt-norm_after", "bloom-norm_after"),
}


def plan(text, fits=None):
    return plan_blocks(ROSTER, ROSTER.find(text), fits)


def test_an_attention_and_the_mlp_after_it_become_one_layer():
    blocks = plan("L0.mlp,L1.attn,L3.attn")
    assert blocks == (Block(0, 1), Block(2, 2), Block(None, 3), Block(4, 4))
    assert [half.name for half in repacked_halves(blocks)] == ["L0.mlp", "L1.attn"]
    assert [half.name for half in zeroed_halves(blocks)] == ["L3.attn"]


def test_whole_layers_between_them_do_not_matter():
    assert plan("L0.mlp,1,2,L3.attn") == (Block(0, 3), Block(4, 4))


def test_an_attention_takes_the_first_mlp_after_it_only():
    assert plan("L0.mlp,L1.attn,L2.attn,3,4") == (Block(0, 1), Block(None, 2))
    assert plan("L0.mlp,L1.mlp,L2.attn,3,4") == (Block(0, None), Block(1, 2))


def test_halves_that_do_not_fit_stay_where_they_are():
    blocks = plan("L0.mlp,L1.attn,L3.mlp,L4.attn", lambda i, j: (i, j) != (0, 1))
    assert blocks == (Block(0, None), Block(None, 1), Block(2, 2), Block(3, 4))


def test_nothing_that_remains_is_refused():
    with pytest.raises(ValueError, match="keep at least one"):
        plan("0-4")
    with pytest.raises(ValueError, match="leave it out"):
        Block(None, None)


@given(st.sets(st.integers(0, 9), max_size=9))
def test_no_other_packing_has_fewer_layers(removed):
    halves = [(p // 2, "am"[p % 2]) for p in range(10) if p not in removed]

    @cache
    def fewest(start):
        if start >= len(halves):
            return 0
        pair = [part for _, part in halves[start : start + 2]] == ["a", "m"]
        return 1 + min(fewest(start + 1), fewest(start + 2) if pair else 99)

    blocks = plan_blocks(ROSTER, sorted(removed))
    assert len(blocks) == fewest(0)
    found = [h for b in blocks for h in ((b.attention, "a"), (b.mlp, "m")) if h[0] is not None]
    assert found == halves


@pytest.mark.parametrize("family", STRUCTURES)
def test_sides_cover_each_layer_and_joined_ones_are_never_mixed(family):
    model = tiny_model(family)
    stack = find_stack(model)
    with torch.inference_mode():
        trace = record(model, stack, IDS, every_input=True)
    before = [parameter.clone() for parameter in stack.layers[2].parameters()]
    halves = find_half_ownership(trace.calls[2], trace.inputs[2])
    after = stack.layers[2].parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    with_weights = {
        n for n, c in stack.layers[2].named_children() if any(True for _ in c.parameters())
    }
    assert halves.attention | halves.mlp | halves.shared == with_weights
    assert halves.apart == (family not in JOINED)
    if halves.apart:
        assert not halves.shared


@pytest.mark.parametrize(
    "family", ["llama", "gemma3", "gpt2", "gpt_neo", "opt", "qwen3_moe", "mpt"]
)
@torch.inference_mode()
def test_a_repacked_model_computes_and_decodes_what_the_zeroed_one_does(family):
    model = tiny_model(family)
    removed = ROSTER.find("L0.mlp,L1.attn,L2.mlp,3,L4.attn")
    plan = plan_edits(ROSTER, removed, lambda: model)
    assert plan.edits == (Repack(0, 1), Repack(2, 4), Remove(3))
    assert plan.note is None
    assert blocks_of(plan.edits, 5) == (Block(0, 1), Block(2, 4))
    config, whole = model.config.to_dict(), model(input_ids=IDS, use_cache=False).logits
    with applied(model, plan.edits):
        assert model.config.get_text_config(decoder=True).num_hidden_layers == 2
        found = model(input_ids=IDS, use_cache=False).logits
        first = model(input_ids=IDS[:, :6], use_cache=True)
        later = model(input_ids=IDS[:, 6:], past_key_values=first.past_key_values).logits
        parameters = model.num_parameters()
    torch.testing.assert_close(torch.cat([first.logits, later], 1), found, atol=1e-4, rtol=1e-4)
    assert model.config.to_dict() == config
    assert torch.equal(model(input_ids=IDS, use_cache=False).logits, whole)
    assert parameters < model.num_parameters()
    first, second = ZeroHalf(0, "mlp"), ZeroHalf(1, "attention")
    third, fourth = ZeroHalf(2, "mlp"), ZeroHalf(4, "attention")
    with applied(model, [first, second, third, fourth, Remove(3)]):
        wanted = model(input_ids=IDS, use_cache=False).logits
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_parallel_blocks_are_not_repacked_and_it_says_why():
    model = tiny_model("phi")
    plan = plan_edits(ROSTER, ROSTER.find("L0.mlp,L1.attn"), lambda: model)
    assert plan.edits == (ZeroHalf(0, "mlp"), ZeroHalf(1, "attention"))
    assert "read the same input" in str(plan.note)
    with (
        pytest.raises(UnsupportedModel, match=r"^repack of L0.attn with L1.mlp: .*same input"),
        applied(model, [Repack(0, 1)]),
    ):
        pass


def test_a_plan_asks_for_the_model_only_where_halves_would_share_a_layer():
    def no_model():
        raise AssertionError("asked for")

    plan = plan_edits(ROSTER, ROSTER.find("L0.mlp,3"), no_model)
    assert plan.edits == (ZeroHalf(0, "mlp"), Remove(3))


def test_settings_of_mixed_layers_come_from_the_half_they_are_about():
    text = SimpleNamespace(
        num_hidden_layers=4,
        layer_types=["sliding", "full", "sliding", "full"],
        no_rope_layers=[1, 1, 1, 0],
        mlp_layer_types=["dense", "sparse", "dense", "sparse"],
        intermediate_size=[10, 20, 30, 40],
        moe_layers=[1, 3],
        attn_layer_indices=[0, 3],
        first_k_dense_replace=2,
        moe_layer_start_index=1,
        moe_layer_end_index=-1,
        moe_layer_interval=1,
        architectures=["A", "B", "C", "D"],
    )
    first = {name: values[0] for name, values in readings(text, 4, [0, 3], [1, 3]).items()}
    assert first == {
        "num_hidden_layers": 2,
        "layer_types": ["sliding", "full"],
        "no_rope_layers": [1, 0],
        "mlp_layer_types": ["sparse", "sparse"],
        "intermediate_size": [20, 40],
        "moe_layers": [0, 1],
        "attn_layer_indices": [0, 1],
        "first_k_dense_replace": 1,
        "moe_layer_start_index": 0,
        "moe_layer_end_index": 1,
        "moe_layer_interval": 1,
    }
