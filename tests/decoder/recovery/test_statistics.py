"""Sums are what they say, massive activations stay out, what cannot be fitted is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from decoder import TextError, find_stack
from decoder.errors import RepairError
from decoder.recovery.choose import choose_repair
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.fitting.path import find_path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.fitting.ridge import fit_ridge, solve
from decoder.recovery.fitting.statistics import Sums, massive, sums_bytes
from decoder.recovery.loss import sequence_losses
from decoder.recovery.modules import repaired
from decoder.recovery.repair import fit_repair, fit_to
from decoder.surgery.edit import EditError, Merge, Patch, Remove, ZeroHalf
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(24, 32))


def test_a_fit_from_sums_is_least_squares():
    chance = torch.Generator().manual_seed(0)
    z = torch.randn(8, 50, 6, generator=chance)
    wanted = torch.randn(6, 3, generator=chance)
    r = z @ wanted
    sums = Sums.empty(6, 3, torch.device("cpu"))
    none = torch.zeros(4, 50, dtype=torch.bool)
    for first in (0, 4):
        sums.add(z[first : first + 4], r[first : first + 4], none, first, "here")
    assert sums.tokens == [300, 100]
    flat = z.flatten(0, 1).double()
    torch.testing.assert_close(sums.gram.sum(0), flat.T @ flat)
    found = fit_ridge(sums, (1e-6, 1.0))
    assert found.strength == 1e-6
    assert found.explained > 0.999
    torch.testing.assert_close(found.matrix.float(), wanted, atol=1e-4, rtol=1e-4)
    shrunk = solve(sums.gram.sum(0), sums.cross.sum(0), 1.0)
    assert shrunk.norm() < found.matrix.norm()


def test_noise_is_not_fitted():
    chance = torch.Generator().manual_seed(0)
    sums = Sums.empty(40, 3, torch.device("cpu"))
    none = torch.zeros(8, 10, dtype=torch.bool)
    z, r = (torch.randn(8, 10, n, generator=chance) for n in (40, 3))
    sums.add(z, r, none, 0, "here")
    found = fit_ridge(sums)
    assert found.explained <= 0.05
    assert found.matrix.abs().max() < 0.2


def test_massive_positions_are_found_by_their_norm():
    states = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    states[:, 0] *= 100
    assert massive(states).nonzero().tolist() == [[0, 0], [1, 0]]
    assert massive(states[:, 1:], states[:, 1:] * 3).sum() == 0


def with_massive_first_position(layer):
    """A tiny model in which one layer writes a huge vector at the first position of a sequence."""
    model = tiny_model("llama")
    stack: Any = find_stack(model).layers
    spike = torch.zeros(32)
    spike[3] = 2000.0

    def write(module, args, output):
        first = torch.zeros_like(output)
        first[:, 0] = spike
        return output + first

    stack[layer].mlp.register_forward_hook(write)
    return model


@pytest.mark.parametrize("layer", [1, 2])
def test_massive_activations_ruin_the_naive_fit_and_not_ours(layer):
    model = with_massive_first_position(layer)
    some = (Remove(2), Remove(3))
    dense = DenseStream(Anatomy(model), TOKENS)
    path = find_path(some, 5)
    end = path.cuts[0].stop

    def missing(keep_massive: bool) -> float:
        stream = RepairedStream(dense, path)
        stream.fit(3, keep_massive=keep_massive)
        stream.advance(end)
        pairs = zip(stream.states, dense.hidden(end), strict=True)
        return sum(float((s[0][:, 1:] - y[:, 1:]).square().sum()) for s, y in pairs)

    deleted = RepairedStream(dense, path)
    deleted.advance(end)
    pairs = zip(deleted.states, dense.hidden(end), strict=True)
    plain = sum(float((s[0][:, 1:] - y[:, 1:]).square().sum()) for s, y in pairs)
    assert missing(False) < 0.9 * plain
    if layer == 2:  # the run holds the layer that writes it
        assert missing(True) > 1.5 * plain


ONE = (Remove(1),)


def refused(
    some: Any = ONE, tokens: Any = TOKENS, method="down_projection", model: Any = None, **more: Any
) -> str:
    with pytest.raises((RepairError, EditError, TextError)) as caught:
        fit_repair(model or tiny_model("llama"), some, tokens, method, **more)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    return said


def test_bad_input_is_one_line():
    assert "tokens: 32 are fewer than the 48 inputs of L0.mlp" in refused(tokens=TOKENS[:1])
    assert "must be whole numbers [sequences, tokens]" in refused(tokens=TOKENS[0])
    assert "must be whole numbers [sequences, tokens]" in refused(tokens=TOKENS / 2)
    assert "vocabulary" in refused(tokens=TOKENS + VOCABULARY)
    assert "method down_projectoin: unknown; choose down_projection" in refused(
        method="down_projectoin"
    )
    assert "there is no layer 7" in refused(some=(Remove(7),))
    assert "merge: such models are not repaired" in refused(some=(Merge(0, (1,)),))
    assert "patch: such models are not repaired" in refused(some=(Patch(("x",), "0" * 32),))
    assert "matrices stand between whole layers" in refused(
        some=(ZeroHalf(1, "mlp"),), method="boundary"
    )
    model = tiny_model("olmo2")
    said = refused(model=model)
    assert said.startswith("method down_projection: no projection at the cuts writes")
    assert "(model type olmo2); methods left: none" in said


def test_too_little_memory_says_what_it_takes():
    model = tiny_model("llama")
    dense = DenseStream(Anatomy(model), TOKENS)
    dense.bound -= dense.free - sums_bytes(48, 32) // 2
    with pytest.raises(RepairError, match=r"memory: the Gram matrices of L0.mlp, down_proj take"):
        fit_to(dense, [Remove(1)], "down_projection")
    assert "memory: the states of 768 tokens take" in refused(memory=0.0)


def test_numbers_that_are_not_finite_are_named():
    model = tiny_model("llama")
    layers: Any = find_stack(model).layers
    layers[1].register_forward_hook(lambda m, args, out: out.log() if len(out) > 1 else out)
    said = refused(model=model)
    assert said.startswith(
        "L0.mlp, down_proj: 100.0% of the tokens have states that are not finite"
    )


def test_few_tokens_are_fitted_with_more_ridge_and_a_warning():
    found = fit_repair(tiny_model("llama"), [Remove(1)], TOKENS[:4], "down_projection")
    assert "128 tokens are fewer than four for each of the 48 inputs" in found.notes[0]


def test_sequences_are_too_few_to_choose():
    with pytest.raises(RepairError, match="2 sequences cannot be split"):
        choose_repair(tiny_model("llama"), [Remove(1)], TOKENS[:2])


def test_narrow_weights_are_rounded_once():
    model = tiny_model("llama")
    found = fit_repair(model, [Remove(1)], TOKENS, stored=torch.bfloat16)
    exact = fit_repair(model, [Remove(1)], TOKENS)
    for name, value in found.patches.items():
        assert torch.equal(value, exact.patches[name].bfloat16())


def test_a_bridge_keeps_one_half_and_says_which():
    model = tiny_model("llama")
    found = fit_repair(model, [Remove(1), Remove(2), Remove(3)], TOKENS, "bridge")
    assert len(found.edits) == 4
    assert sum(isinstance(edit, ZeroHalf) for edit in found.edits) == 1
    with repaired(model, found):
        assert np.isfinite(sequence_losses(model, TOKENS)).all()
    assert "no run of two layers" in refused(some=(Remove(1), Remove(3)), method="bridge")


def test_references_stay_beside_the_weights():
    model = tiny_model("llama")
    whole = sequence_losses(model, TOKENS)
    found = fit_repair(model, [Remove(3), Remove(4)], TOKENS, "boundary")
    assert found.patches == {}
    assert list(found.modules) == [10]
    with repaired(model, found):
        inside = sequence_losses(model, TOKENS)
    assert not np.allclose(inside, whole)
    np.testing.assert_array_equal(sequence_losses(model, TOKENS), whole)
