"""Speed and memory of variants beside the dense model, and what each player costs by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from decoder.cost.decoding import cut_prompt, decode, prefill
from decoder.cost.occupancy import cache_bytes, measure_occupancy
from decoder.cost.player_costs import player_costs
from decoder.cost.speed import architecture, measure_speed, median_interval
from decoder.model.structure import find_stack
from decoder.players import make_roster
from decoder.surgery.apply import applied
from decoder.surgery.edit import Merge, Remove
from decoder.surgery.plan import plan_edits
from sampling import stream
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 60))
PER_LAYER = 2 * 2 * 8 * 4  # keys and values of two heads of 8 numbers, float32


def removals(*layers):
    return tuple(map(Remove, layers))


def peak(speed):
    assert speed.peak_bytes is not None
    return speed.peak_bytes


@pytest.fixture(scope="module")
def llama():
    return tiny_model("llama")


def test_each_variant_is_timed_and_measured_and_the_model_is_whole_again(llama):
    seen = []
    found = measure_speed(
        llama,
        [removals(1), removals(0, 2, 3)],
        TOKENS,
        rounds=6,
        new_tokens=8,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [s.edits for s in found] == [(), removals(1), removals(0, 2, 3)]
    assert seen == [(i, 7) for i in range(1, 8)]
    assert len(find_stack(llama)) == llama.config.num_hidden_layers == 5
    dense, one, three = found
    layer = sum(p.numel() for p in llama.model.layers[0].parameters())
    assert [dense.parameters - s.parameters for s in found] == [0, layer, 3 * layer]
    assert [s.parameter_bytes for s in found] == [4 * s.parameters for s in found]
    for speed, layers in ((dense, 5), (one, 4), (three, 2)):
        assert speed.prompt_tokens + speed.new_tokens == 56 + 8
        assert speed.cache_bytes_per_token == layers * PER_LAYER
        assert speed.cache_bytes == layers * PER_LAYER * 64
        assert speed.rounds == 6
        assert speed.latency_ms[1] == pytest.approx(1000 / speed.decode, rel=0.2)
        assert peak(speed) >= speed.parameter_bytes + speed.cache_bytes
        for middle, interval in (
            (speed.prefill_ratio[1], speed.prefill_interval),
            (speed.decode_ratio[1], speed.decode_interval),
        ):
            assert interval is not None
            assert interval[0] <= middle <= interval[1]
    assert dense.prefill_ratio == dense.decode_ratio == (1.0, 1.0, 1.0)
    assert peak(dense) > peak(one) > peak(three)
    assert three.decode_ratio[1] > 1.2, "two layers of five must decode faster than all"


def test_rounds_stop_at_the_target_and_at_the_most(llama):
    seen = []
    loose = measure_speed(
        llama,
        [removals(1)],
        TOKENS,
        rounds=40,
        new_tokens=2,
        target=1e6,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert loose[0].rounds == 6
    assert seen[-1] == (41, 41)
    strict = measure_speed(llama, [removals(1)], TOKENS, rounds=7, new_tokens=2, target=1e-12)
    assert strict[0].rounds == 7


def test_every_kind_of_edit_is_timed_and_undone(llama):
    before = llama(torch.from_numpy(TOKENS[:1])).logits
    roster = make_roster("sublayers", 5)
    shared = plan_edits(roster, roster.find("L1.mlp,L2.attn"), lambda: llama).edits
    alone = plan_edits(roster, roster.find("L1.mlp"), lambda: llama).edits
    merged = (Merge(2, (3, 4)),)
    dense, one, other, third = measure_speed(
        llama, [shared, alone, merged], TOKENS, rounds=2, new_tokens=2
    )
    layer = sum(p.numel() for p in llama.model.layers[0].parameters())
    assert dense.parameters - one.parameters == layer
    assert one.cache_bytes_per_token == 4 * PER_LAYER
    assert other.parameters == dense.parameters, "a zeroed half saves nothing"
    assert other.cache_bytes == dense.cache_bytes
    assert third.edits == merged
    assert dense.parameters - third.parameters == 2 * layer
    assert third.prefill_interval is None, "two rounds tell no interval"
    assert torch.equal(llama(torch.from_numpy(TOKENS[:1])).logits, before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rounds": 0}, "rounds: at least 1"),
        ({"target": 0.0}, "target: must be above 0"),
        ({"target": 0.02, "rounds": 5}, "at least 6 rounds"),
        ({"new_tokens": 0}, "new_tokens: must be at least 1"),
        ({"new_tokens": 64}, "leave no room for a prompt"),
        ({"tokens": np.zeros((0, 8), dtype=np.int64)}, "tokens: none"),
    ],
)
def test_bad_arguments_are_one_line(changes, said, llama):
    arguments = {"tokens": TOKENS, **changes}
    with pytest.raises(ValueError, match=said) as caught:
        measure_speed(llama, [removals(1)], **arguments)
    assert "\n" not in str(caught.value)


def test_median_interval_covers_as_it_says():
    draws = stream(0, "medians").standard_normal((4000, 15))
    intervals = np.array([median_interval(row) for row in draws])
    inside = (intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)
    assert 0.95 <= inside.mean() <= 0.98  # 96.5 % by the binomial distribution
    assert median_interval(np.arange(5.0)) is None
    assert median_interval(np.arange(6.0)) == (0.0, 5.0)


def test_peak_on_the_cpu_is_what_was_alive_at_one_time():
    """A model whose largest moment is known: the MLP's wide activations."""
    model = tiny_model("gpt2", n_inner=4096, n_layer=1)
    prompt = cut_prompt(model, TOKENS, 2)
    decode(model, prefill(model, prompt), 2)
    found = measure_occupancy(model, prompt, 2)
    wide = prompt.shape[1] * 4096 * 4
    assert found.working_bytes is not None
    assert 2 * wide <= found.working_bytes <= 6 * wide
    assert found.peak_bytes == found.weight_bytes + found.working_bytes
    again = measure_occupancy(model, prompt, 2)
    assert again.working_bytes is not None
    assert abs(again.working_bytes - found.working_bytes) <= 0.01 * found.working_bytes


def test_the_profiler_says_nothing_on_standard_error(llama, capfd):
    measure_occupancy(llama, cut_prompt(llama, TOKENS, 2), 2)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "falcon-alibi", "deepseek_v3", "mpt"])
def test_cache_bytes_are_those_of_its_tensors(family):
    model = tiny_model(family)
    out = prefill(model, torch.from_numpy(TOKENS[:1, :5]))
    whole = cache_bytes(out.past_key_values)
    layers = out.past_key_values.layers
    assert whole == sum(4 * (layer.keys.numel() + layer.values.numel()) for layer in layers) > 0
    with applied(model, removals(1)):
        out = prefill(model, torch.from_numpy(TOKENS[:1, :5]))
        assert cache_bytes(out.past_key_values) == whole * 4 // 5


@pytest.mark.parametrize("kind", ["layers", "blocks:2", "sublayers"])
@pytest.mark.parametrize("family", ["llama", "gpt_neox", "qwen3_moe"])
def test_costs_of_players_add_up_to_the_whole_model(family, kind):
    model = tiny_model(family)
    roster = make_roster(kind, 5, "4") if kind != "blocks:2" else make_roster(kind, 5)
    costs = player_costs(model, roster, TOKENS, rounds=5, new_tokens=4)
    n = len(roster.names)
    assert costs.names == roster.names
    for name in ("parameters", "bytes", "prefill_seconds", "decode_seconds"):
        own = getattr(costs, name)
        assert own.shape == (n,)
        assert (own > 0).all(), name
        assert getattr(costs, f"rest_{name}") > 0
    assert costs.parameters.sum() + costs.rest_parameters == model.num_parameters()
    assert costs.bytes.sum() + costs.rest_bytes == 4 * model.num_parameters()
    dense = measure_speed(model, [], TOKENS, rounds=5, new_tokens=4)[0]
    cache = costs.cache_bytes_per_token.sum() + costs.rest_cache_bytes_per_token
    assert cache == dense.cache_bytes_per_token
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_costs_belong_to_whom_they_should():
    model = tiny_model("llama", tie_word_embeddings=True)
    roster = make_roster("sublayers", 5, "L0")
    costs = player_costs(model, roster, TOKENS, rounds=1, new_tokens=2)
    layer = model.model.layers[1]
    attention = sum(p.numel() for p in layer.self_attn.parameters())
    mlp = sum(p.numel() for p in layer.mlp.parameters())
    assert costs.parameters.tolist() == [attention, mlp] * 4
    assert costs.cache_bytes_per_token.tolist() == [PER_LAYER, 0] * 4
    assert costs.rest_cache_bytes_per_token == PER_LAYER, "the protected layer's"


class Clock:
    """A clock that goes on only when it is told to, so that no other process can disturb it."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def passes(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("kind", ["layers", "sublayers"])
def test_times_are_given_to_whom_they_belong(kind, monkeypatch):
    """MLPs and a head that take a known time, and nothing else takes any."""
    clock = Clock()
    monkeypatch.setattr("decoder.cost.player_costs.time", clock)
    model = tiny_model("llama")
    waits = [0.01, 0.03, 0.02, 0.05, 0.04]
    for layer, seconds in zip(model.model.layers, waits, strict=True):
        layer.mlp.act_fn.register_forward_hook(lambda *_, s=seconds: clock.passes(s))
    model.lm_head.register_forward_hook(lambda *_: clock.passes(0.03))
    costs = player_costs(model, make_roster(kind, 5), TOKENS, rounds=3, new_tokens=2)
    for name in ("prefill_seconds", "decode_seconds"):
        own = getattr(costs, name)
        if kind == "sublayers":
            np.testing.assert_allclose(own[0::2], 0.0, atol=1e-9)
            own = own[1::2]
        np.testing.assert_allclose(own, waits, err_msg=name)
        np.testing.assert_allclose(getattr(costs, f"rest_{name}"), 0.03, err_msg=name)


def test_costs_refuse_another_models_roster(llama):
    with pytest.raises(ValueError, match="roster: is of 6 layers and the model has 5"):
        player_costs(llama, make_roster("layers", 6), TOKENS)


def test_variants_of_one_architecture_share_one_timing(llama):
    variants = [removals(1), removals(2), removals(0, 3), (Merge(2, (3, 4)),)]
    dense, one, other, two, merged = measure_speed(llama, variants, TOKENS, rounds=3, new_tokens=2)
    assert [s.edits for s in (one, other, two, merged)] == variants
    assert replace(one, edits=()) == replace(other, edits=())
    assert replace(two, edits=()) == replace(merged, edits=())
    assert one.decode_ratio != two.decode_ratio
    assert dense.decode_ratio == (1.0, 1.0, 1.0)


def test_layers_that_do_other_work_are_timed_apart():
    gemma = tiny_model("gemma2")
    kinds = gemma.config.layer_types
    windowed, full = kinds.index("sliding_attention"), kinds.index("full_attention")
    with applied(gemma, removals(windowed)):
        without_windowed = architecture(gemma)
    with applied(gemma, removals(full)):
        without_full = architecture(gemma)
    assert without_windowed != without_full
    assert architecture(gemma) not in (without_windowed, without_full)
