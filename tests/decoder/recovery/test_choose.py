"""Which methods are fitted before one is chosen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from decoder.recovery.choose import choose_on
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.methods.catalog import METHODS
from decoder.surgery.edit import Remove, ZeroHalf
from tests.support.tiny_models import VOCABULARY, tiny_model

TOKENS = np.random.default_rng(0).integers(2, VOCABULARY, size=(36, 32))


def test_methods_that_others_contain_are_named_in_the_catalogue():
    for method in METHODS.values():
        if method.within is not None:
            assert METHODS[method.within].within is None


@pytest.mark.parametrize("some", [(Remove(1), Remove(3)), (Remove(2), ZeroHalf(3, "mlp"))])
def test_parts_of_a_method_are_left_out_once_one_falls_behind(some):
    dense = DenseStream(Anatomy(tiny_model("llama")), TOKENS[:24])
    all_of_them = {o.method: o.cost for o in choose_on(dense, some, TOKENS[24:]).tried}
    told: list[str] = []
    chosen = choose_on(
        dense, some, TOKENS[24:], every=False, progress=lambda one: told.append(one.method)
    )
    found = {one.method: one for one in chosen.tried}
    assert sorted(told) == sorted(all_of_them), "those left out are told as well"
    fitted = {name: one.cost for name, one in found.items() if not math.isnan(one.cost)}
    assert len(fitted) < len(all_of_them)
    for name, cost in fitted.items():
        assert cost == pytest.approx(all_of_them[name], abs=1e-6)
    for name in found.keys() - fitted.keys():
        whole = METHODS[name].within or ""
        assert found[name].notes[0].startswith(f"left out: fits less than {whole}")
        parts = [other for other in fitted if METHODS[other].within == whole]
        assert any(fitted[part] > fitted[whole] for part in parts)
    assert chosen.deleted == pytest.approx(all_of_them["none"])
