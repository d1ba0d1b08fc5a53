"""A smaller model is a tuple of edits: data that is checked, applied and undone, and written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from decoder import ModelSpec, UnsupportedModel, find_stack, load_model, make_roster
from decoder.surgery.apply import applied
from decoder.surgery.blocks import (
    blocks_of,
    edits_of,
    plan_blocks,
    remaining_units,
    removed_players,
    removed_units,
)
from decoder.surgery.check import masked_logits
from decoder.surgery.edit import (
    EditError,
    Merge,
    Patch,
    Remove,
    Repack,
    ZeroHalf,
    canonical,
    check_edits,
    edits_from_json,
    edits_to_json,
    fingerprint,
)
from decoder.surgery.export import write
from decoder.surgery.plan import plan_edits
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import FAMILIES, VOCABULARY, tiny_model

IDS = torch.from_numpy(np.random.default_rng(0).integers(2, VOCABULARY, size=(2, 16)))
TOKENS = IDS.numpy()
UNLIKE = {"qwen3_moe", "deepseek_v3"}
"""Families whose layers have unlike weights, so that they cannot be merged."""

layers = st.integers(0, 99_999)
edits = st.one_of(
    st.builds(Remove, layers),
    st.builds(ZeroHalf, layers, st.sampled_from(["attention", "mlp"])),
    st.builds(lambda a, b: Repack(a, a + b), st.integers(0, 999), st.integers(1, 999)),
    st.builds(
        lambda into, rest: Merge(into, tuple(into + step for step in rest)),
        st.integers(0, 999),
        st.lists(st.integers(1, 999), min_size=1, max_size=4, unique=True),
    ),
    st.builds(
        lambda names, digits: Patch(tuple(sorted(names)), digits),
        st.sets(st.text(max_size=8), min_size=1, max_size=3),
        st.text("0123456789abcdef", min_size=32, max_size=32),
    ),
)


@given(st.lists(edits, max_size=6))
def test_edits_go_through_json_and_come_back(some):
    text = json.dumps({"format": 1, "edits": edits_to_json(some)})
    assert edits_from_json(json.loads(text)) == tuple(some)
    assert edits_from_json(json.loads(json.dumps(edits_to_json(some)))) == tuple(some)
    assert fingerprint(edits_from_json(json.loads(text))) == fingerprint(some)


@given(st.lists(edits, max_size=6, unique=True), st.randoms())
def test_only_the_order_of_merges_counts(some, chance):
    merges = [edit for edit in some if isinstance(edit, Merge)]
    shuffled = [edit for edit in some if not isinstance(edit, Merge)]
    chance.shuffle(shuffled)
    assert canonical([*shuffled, *merges]) == canonical(some)
    assert fingerprint([*shuffled, *merges]) == fingerprint(some)
    if len(merges) > 1:
        assert fingerprint([*merges[::-1], *shuffled]) != fingerprint(some)
    if some:
        assert fingerprint(some[1:]) != fingerprint(some)


def test_a_fingerprint_is_the_same_in_every_process():
    assert fingerprint([Remove(4), ZeroHalf(6, "mlp")]) == "724ef61a9279725ac551e9cab64cc3a6"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
near_edits = st.fixed_dictionaries(
    {"kind": st.sampled_from(["remove", "zero_half", "repack", "merge", "patch"]) | json_values},
    optional={
        name: json_values
        for name in ("layer", "part", "attention", "mlp", "into", "layers", "parameters", "digest")
    },
)


@given(json_values | st.lists(near_edits, max_size=3))
def test_anything_else_is_one_line(content):
    said = "one line"
    try:
        found = edits_from_json(content)
        assert edits_from_json(edits_to_json(found)) == found
    except EditError as error:
        said = str(error)
    assert len(said.splitlines()) == 1
    assert len(said) < 300


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"removed_layers": [1]}, "no list of edits"),
        ([4], "edit 1: must be an object with a kind, got 4"),
        ([{"kind": "remove", "layer": 1}, {"kind": "slice"}], "edit 2: unknown kind 'slice'"),
        ([{"kind": ["remove"]}], "edit 1: unknown kind"),
        ([{"kind": "remove"}], "remove needs layer and nothing else"),
        ([{"kind": "remove", "layer": 1, "why": 2}], "remove needs layer and nothing else"),
        ([{"kind": "remove", "layer": -1}], "layer must be a layer's number"),
        ([{"kind": "remove", "layer": True}], "layer must be a layer's number"),
        ([{"kind": "remove", "layer": 10**5000}], "layer must be a layer's number"),
        ([{"kind": "remove", "layer": float("inf")}], "got inf"),
        ([{"kind": "zero_half", "layer": 1, "part": "norm"}], "part must be attention or mlp"),
        ([{"kind": "zero_half", "layer": 1, "part": ["mlp"]}], "part must be attention or mlp"),
        ([{"kind": "repack", "attention": 2, "mlp": 2}], "mlp 2 must be a layer after"),
        ([{"kind": "merge", "into": 1, "layers": "23"}], "layers must be a list"),
        ([{"kind": "merge", "into": 1, "layers": []}], "must name distinct layers"),
        ([{"kind": "merge", "into": 1, "layers": [2, 2]}], "must name distinct layers"),
        ([{"kind": "merge", "into": 1, "layers": [2, None]}], "got None"),
        ([{"kind": "merge", "into": 3, "layers": [1, 4]}], "1 is not deeper than 3"),
        ([{"kind": "patch", "parameters": "ab", "digest": "0" * 32}], "must be a list of names"),
        ([{"kind": "patch", "parameters": [], "digest": "0" * 32}], "must name distinct"),
        ([{"kind": "patch", "parameters": ["b", "a"], "digest": "0" * 32}], "alphabetical order"),
        ([{"kind": "patch", "parameters": ["a"], "digest": "g" * 32}], "32 hexadecimal digits"),
    ],
)
def test_wrong_edits_are_named(content, said):
    with pytest.raises(EditError) as caught:
        edits_from_json(content)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("some", "said"),
    [
        ([Remove(5)], "there is no layer 5; the model has layers 0 to 4"),
        ([Remove(1), Remove(1)], "layer 1 is gone or changed"),
        ([Remove(i) for i in range(5)], "keep at least one"),
        ([Merge(0, (1,)), Merge(0, (1, 2))], "layer 1 is gone or changed"),
        ([Merge(1, (2,)), Merge(2, (3,))], "layer 2 is gone or changed"),
        ([Merge(1, (2,)), Remove(2)], "layer 2 is gone or changed"),
        ([Merge(1, (2,)), Remove(1)], "others were merged into it"),
        ([ZeroHalf(1, "attention"), Remove(1)], "layer 1 is gone or changed"),
        ([ZeroHalf(1, "attention"), ZeroHalf(1, "mlp")], "a layer whose halves both go"),
        ([Repack(0, 2)], "layer 1 between them stays"),
        ([Repack(0, 1), ZeroHalf(0, "mlp")], "layer 0 is gone or changed"),
        ([Repack(0, 1), Repack(1, 2)], "layer 1 is gone or changed"),
        ([Patch(("a",), "0" * 32), Patch(("b",), "0" * 32)], "more than one patch"),
    ],
)
def test_edits_that_contradict_each_other_are_refused(some, said):
    model = tiny_model("llama")
    with pytest.raises(EditError, match=said):
        check_edits(some, 5)
    with pytest.raises(EditError, match=said), applied(model, some):
        pass
    assert len(find_stack(model)) == 5


ROSTER = make_roster("sublayers", 5)


@given(st.sets(st.integers(0, 9), max_size=9))
def test_edits_are_the_blocks_of_a_set_and_tell_its_players(removed):
    blocks = plan_blocks(ROSTER, sorted(removed))
    found = edits_of(blocks, 5)
    check_edits(found, 5)
    assert found == canonical(found)
    assert blocks_of(found, 5) == blocks
    assert removed_players(ROSTER, found) == tuple(sorted(removed))


def test_players_are_told_only_where_whole_ones_go():
    some = (Merge(1, (2,)), Remove(3), ZeroHalf(4, "mlp"))
    assert [unit.name for unit in removed_units(some)] == ["L2", "L3", "L4.mlp"]
    assert removed_players(make_roster("layers", 5), some) is None
    assert removed_players(make_roster("layers", 5), some[:2]) == (2, 3)
    assert removed_players(make_roster("blocks:2", 5), some[:2]) == (1,)
    assert removed_players(make_roster("blocks:2", 5), some[:1]) is None


def logits(model):
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits


ALL = {
    "layers": (Remove(0), Remove(3)),
    "halves": (ZeroHalf(1, "attention"), ZeroHalf(4, "mlp"), Remove(2)),
    "repacked": (Repack(0, 2), Remove(1), ZeroHalf(4, "attention")),
    "merged": (Merge(3, (4,)), Merge(1, (2, 3))),
    "merged and zeroed": (Merge(0, (1,)), ZeroHalf(0, "mlp"), Remove(4)),
    "merged and repacked": (Merge(0, (1, 2)), Repack(0, 3), Remove(4)),
}


@pytest.mark.parametrize("some", ALL.values(), ids=ALL)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "opt"])
def test_the_model_is_bit_for_bit_as_before_also_after_an_exception(family, some):
    model = tiny_model(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config, whole = model.config.to_dict(), logits(model)
    with applied(model, some):
        smaller = logits(model)
        depth = len(find_stack(model))
    assert depth == len(blocks_of(some, 5))
    assert not torch.allclose(smaller, whole)
    with pytest.raises(RuntimeError, match="within"), applied(model, some):
        raise RuntimeError("within")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config
    assert torch.equal(logits(model), whole)


@pytest.mark.parametrize("some", [ALL[name] for name in ("layers", "halves", "repacked")])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "qwen3_moe", "mpt"])
def test_it_computes_what_masked_evaluation_measures(family, some):
    model = tiny_model(family)
    wanted = masked_logits(model, remaining_units(blocks_of(some, 5)), IDS)
    with applied(model, some):
        torch.testing.assert_close(logits(model), wanted, atol=2e-4, rtol=1e-4)


def test_no_edits_are_the_model_itself():
    model = tiny_model("llama")
    whole = logits(model)
    with applied(model, ()):
        assert torch.equal(logits(model), whole)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["some text, any text"], 300, 64)


def stored(model, tokenizer, path):
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return ModelSpec(str(path))


@pytest.mark.parametrize("some", ALL.values(), ids=ALL)
def test_what_is_written_is_what_was_applied(some, tokenizer, tmp_path):
    model = tiny_model("qwen3")
    with applied(model, some):
        wanted = logits(model)
    done = write(stored(model, tokenizer, tmp_path / "model"), some, tmp_path / "small")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert torch.equal(logits(found), wanted)
    assert done.edits == canonical(some)
    assert done.layers_after == len(find_stack(found))
    facts = json.loads((tmp_path / "small" / "layershap.json").read_text())
    assert edits_from_json(facts) == canonical(some)
    assert facts["edits_fingerprint"] == fingerprint(some)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in UNLIKE])
def test_merged_models_of_every_family_are_exported_exactly(family, tokenizer, tmp_path):
    model, some = tiny_model(family), (Merge(2, (3,)), Merge(0, (1,)))
    with applied(model, some):
        wanted = logits(model)
    done = write(stored(model, tokenizer, tmp_path / "model"), some, tmp_path / "small", TOKENS)
    assert done.merged == ((2, (3,)), (0, (1,)))
    assert (done.removed, done.layers_after) == ((), 3)
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    torch.testing.assert_close(logits(found), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", sorted(UNLIKE))
def test_layers_that_are_unlike_are_not_merged_and_nothing_is_written(family, tokenizer, tmp_path):
    spec = stored(tiny_model(family), tokenizer, tmp_path / "model")
    with pytest.raises(UnsupportedModel, match="unlike weights"):
        write(spec, [Merge(0, (1,))], tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_merged_weights_of_a_narrow_checkpoint_keep_the_value_that_was_measured(
    tokenizer, tmp_path
):
    spec = stored(tiny_model("llama").bfloat16(), tokenizer, tmp_path / "model")
    model, some = load_model(spec), (Merge(1, (2, 3)),)
    assert model.dtype == torch.float32
    with applied(model, some):
        wanted = logits(model)
    done = write(spec, some, tmp_path / "small")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "small", dtype=torch.float32)
    assert torch.equal(logits(found), wanted)
    assert done.bytes_written < 4 * done.parameters_after, "other weights stay narrow"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "small").dtype == torch.bfloat16


def test_edits_of_one_copy_are_repeated_on_another(tokenizer, tmp_path):
    spec = stored(tiny_model("llama"), tokenizer, tmp_path / "model")
    plan = plan_edits(ROSTER, ROSTER.find("L0.mlp,L1.attn,3"), lambda: tiny_model("llama"))
    first = write(spec, plan.edits, tmp_path / "one", TOKENS)
    facts = json.loads((tmp_path / "one" / "layershap.json").read_text())
    again = write(spec, edits_from_json(facts), tmp_path / "two")
    assert again.edits == first.edits == (Repack(0, 1), Remove(3))
    one, two = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("one", "two"))
    assert torch.equal(logits(one), logits(two))
    fewer = stored(tiny_model("llama", num_hidden_layers=3), tokenizer, tmp_path / "fewer")
    with pytest.raises(EditError, match="there is no layer 3; the model has layers 0 to 2"):
        write(fewer, first.edits, tmp_path / "three")
