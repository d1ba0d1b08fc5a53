"""What cannot be exported is refused before anything is measured, and nothing else is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from decoder import MaskedModel, UnsupportedModel, find_stack
from decoder.surgery.apply import check_described
from decoder.surgery.blueprint import Numbering, numbering
from decoder.surgery.door import Unexportable, check_structure, rehearse
from decoder.surgery.edit import Remove
from decoder.surgery.readings import readings
from decoder.surgery.settings import fit_settings
from tests.support.tiny_models import STRUCTURES, tiny_model

TOKENS = np.random.default_rng(0).integers(2, 90, size=(2, 12))


@pytest.mark.parametrize("family", [*STRUCTURES, "qwen3_moe", "gpt_neo", "deepseek_v3"])
def test_families_that_export_pass_the_door(family):
    model = tiny_model(family)
    before = model.config.to_dict()
    check_structure(model)
    rehearse(model)
    assert model.config.to_dict() == before


def test_layers_that_depend_on_their_depth_are_refused_at_the_door():
    model = tiny_model("gpt2", scale_attn_by_inverse_layer_idx=True)
    MaskedModel(model, TOKENS)
    with pytest.raises(
        Unexportable, match=r"^model type gpt2: can be measured, cannot be exported"
    ):
        check_structure(model)


def test_a_pattern_that_repeats_becomes_an_explicit_list():
    model = tiny_model("recurrent_gemma")
    stack, kept = find_stack(model), (0, 2, 3, 4)
    fit = fit_settings(model, [stack.layers[i] for i in kept], kept)
    assert fit.trouble is None
    assert fit.settings["block_types"] == ["recurrent", "attention", "recurrent", "recurrent"]


def test_periods_are_found_where_they_can_say_the_pattern():
    model = tiny_model("jamba")
    stack = find_stack(model)
    fit = fit_settings(model, [stack.layers[i] for i in (0, 1)], (0, 1))
    assert fit.trouble is None
    odd = fit_settings(model, [stack.layers[i] for i in (0, 1, 4)], (0, 1, 4))
    assert odd.trouble is not None


def test_what_is_not_stored_may_go_with_the_last_layer_of_its_kind():
    model = tiny_model("gemma3_text")
    check_described(model, [Remove(1), Remove(3)])  # the rotary table of full attention goes too


def test_a_layer_built_in_another_way_must_stay():
    model = tiny_model("gpt_neox_japanese")
    assert check_structure(model) == (4,)
    with pytest.raises(UnsupportedModel, match="no configuration describes it"):
        check_described(model, [Remove(4)])
    rehearse(model, (4,))


def test_numbers_count_layers_by_module():
    layers = [nn.ModuleDict({"one": nn.Identity(), "other": nn.Identity()}) for _ in range(4)]
    for index, layer in enumerate(layers):
        vars(layer["one"])["layer_idx"] = 2 * index + 1
        vars(layer["other"])["place"] = index
    rules = numbering(layers)
    assert rules == {"one.layer_idx": Numbering(2, 1), "other.place": Numbering(1, 0)}
    assert rules["one.layer_idx"].again(7, [3], 1) == 3
    assert rules["one.layer_idx"].again(6, [3], 1) == 6


def test_heads_that_look_at_the_tokens_are_not_measured():
    model = tiny_model("llama")
    head, embedding = model.forward, model.get_input_embeddings()

    def forward(input_ids, **kwargs):
        out = head(input_ids, **kwargs)
        out.logits = out.logits + embedding(input_ids).mean(-1, keepdim=True) ** 2 * 1e3
        out.logits = out.logits.tanh() * 5
        return out

    model.forward = forward
    with pytest.raises(UnsupportedModel, match="depend on more than its last layer's output"):
        MaskedModel(model, TOKENS)


def test_entries_keyed_by_layer_move_with_their_layers():
    text = SimpleNamespace(num_hidden_layers=5, overrides={"3": {"head_dim": 8, "moe_size": 4}})
    found = readings(text, 5, (1, 3, 4), (1, 2, 3))
    assert found["overrides"][0] == {"1": {"head_dim": 8}, "2": {"moe_size": 4}}


def test_lists_numbered_from_one_are_read_so():
    text = SimpleNamespace(num_hidden_layers=4, ple_layer_ids=[2, 4])
    assert readings(text, 4, (1, 3), (1, 3))["ple_layer_ids"][0] == [1, 2]


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_models_that_look_ahead_are_not_measured(family):
    with pytest.raises(UnsupportedModel, match="looks ahead"):
        MaskedModel(tiny_model(family, is_decoder=False), TOKENS)
