from __future__ import annotations

import numpy as np
import pytest

from shapley import exact_values, regression_values
from tests.support.shapley_games import random_table, smooth


@pytest.mark.parametrize(("make", "n"), [(smooth, 12), (random_table, 10)])
@pytest.mark.parametrize("per_player", [12, 25, 50])
def test_errors_are_as_large_as_they_say(make, n, per_player):
    # Most sizes are small enough to be measured for the greater part or wholly.
    missed, stated, inside = [], [], []
    for seed in range(12):
        game = make(n, seed % 3)
        found = regression_values(game, per_player * n, seed)
        truth = exact_values(game).values
        missed.append(((found.values - truth) ** 2).mean())
        stated.append((found.standard_errors**2).mean())
        inside.append((found.lower <= truth) & (truth <= found.upper))
    assert 0.8 < np.sqrt(np.mean(stated) / np.mean(missed)) < 1.4
    assert 0.9 < np.mean(inside) < 0.99


def test_errors_vanish_as_the_design_fills_up():
    game = random_table(8, 0)
    errors = [
        regression_values(game, m, 0).standard_errors.max() for m in (120, 200, 240, 254, 256)
    ]
    assert (np.diff(errors) < 0).all()
    assert errors[-1] == 0.0
