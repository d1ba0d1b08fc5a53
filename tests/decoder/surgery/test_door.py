"""What cannot be exported is refused before anything is measured, and nothing else is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from decoder import MaskedModel, UnsupportedModel, find_stack
from decoder.surgery.door import Unexportable, check_structure, rehearse
from decoder.surgery.settings import fit_settings, readings
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
