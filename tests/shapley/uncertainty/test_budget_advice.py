from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapley import LeverageRegression, advance, advise, start
from tests.support.shapley_games import smooth

SIZES = [60, 120, 240, 480]


def law(exponent, sizes=SIZES, scale=3.0):
    return [(m, scale * m**-exponent) for m in sizes]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_a_power_law_is_followed(exponent):
    history = law(exponent)
    for needed in (100, 480, 1_000, 50_000):
        assert advise(history, 3.0 * needed**-exponent * 1.0001) == pytest.approx(needed, rel=0.01)
    assert advise(history[::-1], 3.0 * 960**-exponent) == pytest.approx(960, abs=1)


def test_one_odd_error_does_not_mislead():
    history = law(0.5, [60, 90, 120, 180, 240, 360, 480])
    history[4] = (240, 9.0)
    assert advise(history, 3.0 * 2_000**-0.5) == pytest.approx(2_000, rel=0.1)


@given(
    points=st.lists(
        st.tuples(st.integers(1, 10_000), st.floats(1e-6, 1e3)), min_size=0, max_size=8
    ),
    targets=st.tuples(st.floats(1e-9, 1e4), st.floats(1e-9, 1e4)),
    most=st.one_of(st.none(), st.integers(10_000, 100_000)),
)
def test_a_smaller_target_never_needs_less(points, targets, most):
    strict, lenient = (advise(points, target, most) for target in sorted(targets))
    limit = math.inf if most is None else most
    if lenient is None:
        assert strict is None
    else:
        assert lenient <= (math.inf if strict is None else strict) <= limit or strict is None
    if points and lenient is not None and strict is not None:
        last, final = max(points)
        for needed, target in ((strict, min(targets)), (lenient, max(targets))):
            assert (needed <= last) if target >= final else (needed > last or needed == most)


def test_silence_where_nothing_can_be_told():
    assert advise([], 0.1) is None
    assert advise(law(0.5)[:2], 0.01) is None
    assert advise([(60, 0.3), (60, 0.2), (120, 0.1)], 0.01) is None
    flat = [(m, 0.5) for m in SIZES]
    assert advise(flat, 0.1) is None
    assert advise(flat, 0.5) == 480
    assert advise(flat, 0.1, most=4096) == 4096
    assert advise([*law(0.5)[:2], (240, math.nan)], 0.01) is None
    with pytest.raises(ValueError, match="target must be a positive"):
        advise(law(0.5), 0.0)


def test_exact_values_end_it():
    assert advise([(64, 0.0)], 0.1) == 64
    assert advise([*law(0.5), (4096, 0.0)], 1e-9) == 4096
    assert advise(law(0.5), 1e-9, most=4096) == 4096


def test_a_real_estimator_reaches_its_target_about_there():
    game, estimator = smooth(12, 1), LeverageRegression()
    state, history = start(game.players, 0), []
    for _ in range(4):
        state = advance(estimator, state, game, 80)
        history.append((state.spent, float(estimator.result(state).standard_errors.max())))
    target = history[-1][1] / 2
    needed = advise(history, target, most=4096)
    assert needed is not None
    assert 320 < needed < 2_000
    state = advance(estimator, state, game, needed - state.spent)
    assert np.max(estimator.result(state).standard_errors) < 1.6 * target
