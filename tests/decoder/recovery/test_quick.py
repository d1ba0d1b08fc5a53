"""Many sets repaired on one dense stream, with what they share taken over."""

from __future__ import annotations

import numpy as np
import torch

from decoder.recovery.choose import choose_repair
from decoder.recovery.loss import sequence_losses
from decoder.recovery.modules import repaired
from decoder.recovery.quick import QuickRepair
from decoder.recovery.repair import fit_repair
from decoder.surgery.edit import Remove, ZeroHalf
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(24, 32))
SETS = (
    (Remove(1), Remove(3)),
    (Remove(1),),
    (Remove(1), ZeroHalf(3, "attention")),
    (Remove(2), Remove(3)),
    (Remove(1), Remove(3), ZeroHalf(4, "mlp")),
)


def test_sets_are_repaired_as_each_alone_and_share_what_they_can():
    model = tiny_model("llama")
    quick = QuickRepair(model, TOKENS)
    for some in SETS:
        found, alone = quick.repair(some), fit_repair(model, some, TOKENS, "down_projection")
        assert found.patches.keys() == alone.patches.keys()
        for name, value in found.patches.items():
            torch.testing.assert_close(value, alone.patches[name], atol=1e-4, rtol=1e-4)
    assert quick.shared == 4  # 1 of the second set, of the third, two of the last
    assert quick.fits == 2 + 0 + 1 + 1 + 1, "one for each cut that no set before had"


def test_a_set_without_a_block_before_it_is_fitted_after():
    quick = QuickRepair(tiny_model("llama"), TOKENS)
    found = quick.repair([Remove(0)])
    assert list(found.patches) == ["model.layers.1.mlp.down_proj.weight"]
    assert quick.losses([Remove(0)], TOKENS[:3]).shape == (3,)


def test_the_best_method_is_chosen_on_text_apart():
    model = tiny_model("llama")
    some = (Remove(1), Remove(3))
    found = choose_repair(model, some, TOKENS)
    assert found.fitted_tokens == 16 * 32
    assert found.compared_tokens == 8 * 32
    costs = [one.cost for one in found.tried]
    assert costs == sorted(costs)
    assert found.cost == costs[0] <= found.deleted
    assert found.tried[0].method == found.repair.method
    again = choose_repair(model, some, TOKENS, refit=False)
    assert [one.cost for one in again.tried] == costs
    assert again.repair.edits != found.repair.edits, "fitted on fewer tokens"
    with repaired(model, again.repair):
        losses = sequence_losses(model, TOKENS[2::3])
    whole = sequence_losses(model, TOKENS[2::3])
    np.testing.assert_allclose((losses - whole).mean(), found.cost, atol=1e-6)
