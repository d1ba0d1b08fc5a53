"""Published methods that look inside the model: known answers, models given back as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from decoder import MaskedModel, ModelSpec, find_stack, load_model, make_roster
from decoder.baselines import (
    GateSettings,
    Spend,
    angular_blocks,
    angular_distances,
    block_influence,
    clp_segments,
    gates,
    laco_merges,
    rescored_influence,
    taylor_removed,
    taylor_scores,
)
from decoder.surgery.apply import applied
from decoder.surgery.edit import Remove
from layershap.demo import MODEL_DIRECTORY
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(3, 12))
IDS = torch.from_numpy(TOKENS)
LAYERS = make_roster("layers", 5)
HALVES = make_roster("sublayers", 5)
LAST = ("o_proj", "down_proj", "c_proj", "dense", "dense_4h_to_h")
QUICK = GateSettings(steps=8)

METHODS = {
    "block influence": lambda model: block_influence(model, TOKENS, HALVES),
    "rescored influence": lambda model: rescored_influence(model, TOKENS, LAYERS, [2]),
    "angular distance": lambda model: angular_blocks(model, TOKENS, LAYERS, [2]),
    "taylor": lambda model: taylor_scores(model, TOKENS, HALVES),
    "laco": lambda model: laco_merges(model, TOKENS, LAYERS, [1, 3]),
    "clp": lambda model: clp_segments(model, TOKENS, LAYERS, [2], settings=QUICK),
}


def silenced(family, layers):
    """A model some of whose layers add nothing to the residual stream."""
    model = tiny_model(family)
    for layer in layers:
        silence(find_stack(model).layers[layer])
    return model


def silence(layer):
    for name, module in layer.named_modules():
        if name.rpartition(".")[2] in LAST:
            for parameter in module.parameters():
                parameter.data.zero_()


def lowest(scores, count):
    return set(np.argsort(scores)[:count].tolist())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["llama", "gptj", "gemma3_text", "bloom"])
def test_the_model_is_given_back_as_it_was(family, method):
    model = tiny_model(family)
    first = next(model.parameters()).requires_grad_(True)
    first.grad = torch.ones_like(first)
    stack = find_stack(model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    config, layers = model.config.to_dict(), list(stack.layers)
    MaskedModel(model, TOKENS).measure(np.ones((1, 5), dtype=bool))  # in inference mode
    once, spend = METHODS[method](model)
    again, _ = METHODS[method](model)
    np.testing.assert_equal(once, again)
    assert spend.forward_tokens > 0
    assert model.config.to_dict() == config
    assert list(find_stack(model).layers) == layers
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert [p.requires_grad for p in model.parameters()].count(True) == 1
    assert first.requires_grad
    assert first.grad is not None
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(p.grad is None for p in model.parameters() if p is not first)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_scores_find_the_layers_that_do_nothing(family):
    model = silenced(family, [1, 3])
    influence, spend = block_influence(model, TOKENS, LAYERS)
    assert lowest(influence, 2) == {1, 3}
    assert spend == Spend(TOKENS.size)
    assert rescored_influence(model, TOKENS, LAYERS, [2])[0] == {2: (1, 3)}
    halves, _ = taylor_scores(model, TOKENS, HALVES)
    assert lowest(halves, 4) == {2, 3, 6, 7}
    np.testing.assert_array_equal(halves[[2, 3, 6, 7]], 0)
    assert (np.delete(halves, [2, 3, 6, 7]) > 1e-3).all()
    whole, spend = taylor_scores(model, TOKENS, LAYERS)
    np.testing.assert_array_equal(whole[[1, 3]], 0)
    assert spend.tokens == 3 * TOKENS.size
    blocks, _ = taylor_scores(model, TOKENS, make_roster("blocks:2", 5))
    np.testing.assert_allclose(blocks, np.add.reduceat(whole, [0, 2, 4]), rtol=1e-6)


def test_rescoring_scores_the_shorter_model_itself():
    model = tiny_model("qwen3")
    scores, _ = block_influence(model, TOKENS, LAYERS, [1, 3])
    assert np.isinf(scores[[1, 3]]).all()
    with applied(model, [Remove(1), Remove(3)]):
        shorter, _ = block_influence(model, TOKENS, make_roster("layers", 3))
    np.testing.assert_allclose(scores[[0, 2, 4]], shorter, rtol=1e-5)
    sets, spend = rescored_influence(model, TOKENS, HALVES, [4, 1, 4])
    assert set(sets[1]) < set(sets[4])
    assert (list(sets), len(sets[4])) == ([1, 4], 4)
    assert spend == Spend(4 * TOKENS.size)


def test_taylor_scores_are_weights_times_gradients_summed_before_the_absolute_value():
    model = tiny_model("gpt2")
    scores, _ = taylor_scores(model, TOKENS, LAYERS, rows=2)
    np.testing.assert_allclose(scores, taylor_scores(model, TOKENS, LAYERS)[0], rtol=1e-4)
    model.requires_grad_(True)
    out = model(input_ids=IDS, use_cache=False).logits[:, :-1].flatten(0, 1)
    functional.cross_entropy(out, IDS[:, 1:].flatten()).backward()
    for layer, score in zip(find_stack(model).layers, scores, strict=True):
        terms = [
            (parameter * parameter.grad).abs().sum().item()
            for name, parameter in layer.named_parameters()
            if "weight" in name and parameter.grad is not None
        ]
        assert score == pytest.approx(sum(terms), rel=1e-4)


def test_gradients_work_in_half_precision_and_within_inference_mode():
    model = tiny_model("llama").bfloat16()
    with torch.inference_mode():
        scores, _ = taylor_scores(model, TOKENS, LAYERS)
        found, _ = clp_segments(model, TOKENS, LAYERS, [2], settings=QUICK)
        merges, _ = laco_merges(model, TOKENS, LAYERS, [2])
    exact, _ = taylor_scores(tiny_model("llama"), TOKENS, LAYERS)
    np.testing.assert_allclose(scores, exact, rtol=0.1)
    assert (len(found[2]), len(merges[2].removed)) == (2, 2)


def test_taylor_spares_the_ends_until_nothing_else_is_left():
    roster = make_roster("layers", 8, "3")
    scores = np.array([0.0, 0.1, 5.0, 4.0, 3.0, 0.2, 0.3])  # of layers 0 1 2 4 5 6 7
    sets = taylor_removed(scores, roster, [1, 3, 4], first=2, last=2)
    assert sets == {1: (4,), 3: (2, 3, 4), 4: (0, 2, 3, 4)}


def test_angular_distances_are_angles():
    a, b = np.array([2.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    found = angular_distances(np.stack([[a, a], [b, -a], [3 * a, a]]))
    np.testing.assert_allclose(found, [[0, 0.75, 0], [0.75, 0, 0.75], [0, 0.75, 0]], atol=1e-12)
    tiny = angular_distances(np.array([[[1.0, 0.0]], [[np.cos(1e-9), np.sin(1e-9)]]]))
    assert tiny[0, 1] == pytest.approx(1e-9 / np.pi, rel=1e-6)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_segments_that_do_nothing_are_found(family):
    model = silenced(family, [1, 2])
    assert angular_blocks(model, TOKENS, LAYERS, [2])[0] == {2: (1, 2)}
    found, spend = clp_segments(model, TOKENS, LAYERS, [2], seed=1)
    assert found == {2: (1, 2)}
    assert spend.backward_tokens == 24 * 4 * TOKENS.shape[1]
    by_text = GateSettings(loss="nll", steps=8)
    assert clp_segments(model, TOKENS, LAYERS, [1, 4], settings=by_text)[0].keys() == {1, 4}


@pytest.mark.parametrize(("layers", "start"), [([1, 2, 3], 1), ([5, 6, 7], 5)])
def test_the_gate_moves_to_the_segment_by_its_gradient(layers, start):
    model = tiny_model("llama", num_hidden_layers=9)
    for layer in layers:
        silence(find_stack(model).layers[layer])
    lone = GateSettings(starts=1, steps=30, rate=0.2)  # from the middle, at 3
    found, _ = clp_segments(model, TOKENS, make_roster("layers", 9), [3], settings=lone)
    assert found == {3: (start, start + 1, start + 2)}


def test_segments_hold_only_adjacent_players():
    model = silenced("llama", [2, 3])
    roster = make_roster("layers", 5, "2")
    assert angular_blocks(model, TOKENS, roster, [1])[0] == {1: (2,)}
    assert clp_segments(model, TOKENS, roster, [1], settings=QUICK)[0] == {1: (2,)}
    assert angular_blocks(model, TOKENS, make_roster("blocks:2", 5), [1])[0] == {1: (1,)}
    assert clp_segments(model, TOKENS, make_roster("blocks:2", 5), [1])[0] == {1: (1,)}
    for method in (angular_blocks, clp_segments):
        with pytest.raises(ValueError, match=r"needs 3 adjacent players.*L2"):
            method(model, TOKENS, roster, [3])


def test_gates_close_over_the_segment_alone():
    closed = gates(torch.tensor([1.0, 2.0]), 2, 5, 0.02)
    wanted = torch.tensor([[1.0, 0, 0, 1, 1], [1, 1, 0, 0, 1]])
    torch.testing.assert_close(closed, wanted)
    between = gates(torch.tensor([1.5]), 2, 5, 0.02)
    torch.testing.assert_close(between, torch.tensor([[1, 0.5, 0, 0.5, 1]]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: block_influence(m, TOKENS[0], LAYERS), "tokens must be"),
        (lambda m: taylor_scores(m, TOKENS[:, :1], LAYERS), "tokens must be"),
        (lambda m: taylor_scores(m, TOKENS, LAYERS, rows=0), "rows must be"),
        (lambda m: block_influence(m, TOKENS, make_roster("layers", 4)), "roster is of 4"),
        (lambda m: rescored_influence(m, TOKENS, LAYERS, [5]), "counts must be from 1 to 4"),
        (lambda m: rescored_influence(m, TOKENS, LAYERS, []), "counts must be"),
        (lambda m: angular_blocks(m, TOKENS, LAYERS, [0]), "counts must be"),
        (lambda m: angular_blocks(m, TOKENS, HALVES, [1]), "contiguous whole layers"),
        (lambda m: clp_segments(m, TOKENS, HALVES, [1]), "contiguous whole layers"),
        (lambda m: laco_merges(m, TOKENS, HALVES, [1]), "merges whole layers"),
        (lambda m: laco_merges(m, TOKENS, LAYERS, [1], sizes=[1]), "sizes must be"),
        (lambda m: GateSettings(cold=0), "warm >= cold > 0"),
        (lambda m: GateSettings(steps=0), "starts and steps"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(tiny_model("llama"))
    assert "\n" not in str(caught.value)


def test_the_demo_model_is_judged_by_every_method():
    model = load_model(ModelSpec(str(MODEL_DIRECTORY), device="cpu"))
    tokens = np.random.default_rng(0).integers(0, 2048, size=(2, 24))
    roster = make_roster("layers", 12)
    scores = [block_influence(model, tokens, roster)[0], taylor_scores(model, tokens, roster)[0]]
    assert all((score > 0).all() and score.shape == (12,) for score in scores)
    for found, _ in (
        rescored_influence(model, tokens, roster, [3]),
        angular_blocks(model, tokens, roster, [3]),
        clp_segments(model, tokens, roster, [3], settings=QUICK),
    ):
        assert len(set(found[3])) == 3
    merges, _ = laco_merges(model, tokens, roster, [3], sizes=(2, 4))
    assert len(merges[3].removed) == 3
    assert merges[3].similarity > merges[3].threshold
