"""Explain a game of your own: which features a small model lives on, and which go together.

    python examples/own_game.py    # some seconds, no network

A ridge regression is fitted to a few measurements of diabetes patients. The players are its ten
features, the utility is how well it predicts held-out patients when it may see only some of them.

What it shows: a game is any function of boolean coalitions; Shapley values with intervals from 120
of its 1,024 coalitions, beside the exact ones; how sure the ranking is; interactions; and the best
sets of features to leave out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

from sampling import without
from shapley import (
    FunctionGame,
    estimate,
    exact_interactions,
    exact_values,
    propose,
    ranking_sentences,
)
from surrogate.process.adaptive import AdaptiveValues

BUDGET = 120  # of 2^10 = 1,024 coalitions


def main() -> None:
    """Estimate values from a part of all coalitions, search for sets, compare with the truth."""
    data: Any = load_diabetes()
    names = tuple(data.feature_names)
    known, unseen = slice(0, 300), slice(300, None)

    def quality(kept):  # [B, n] booleans, True = kept -> [B] utilities, higher is better
        scores = []
        for row in kept:
            if not row.any():
                scores.append(0.0)
                continue
            model = Ridge(alpha=0.1).fit(data.data[known][:, row], data.target[known])
            scores.append(model.score(data.data[unseen][:, row], data.target[unseen]))
        return np.array(scores)

    game = FunctionGame(quality, names)
    found = estimate(AdaptiveValues(), game, budget=BUDGET)
    print(f"Values from {found.spent} of {2 ** len(names)} coalitions, in R² of unseen patients")
    exact = exact_values(game)
    for player in np.argsort(-found.values):
        ends = f"{found.lower[player]:+.3f} to {found.upper[player]:+.3f}"
        print(f"  {names[player]:<4} {found.values[player]:+.3f} ({ends})", end="")
        print(f"  exact {exact.values[player]:+.3f}")
    for sentence in ranking_sentences(found, 3):
        print(f"  {sentence}")

    pairs = exact_interactions(game)
    first, second = np.unravel_index(np.argmin(pairs), pairs.shape)
    print(f"{names[first]} and {names[second]} replace each other: {pairs[first, second]:+.3f}")

    for count, candidates in propose(game, counts=[2, 4], seed=0).items():
        gone = candidates[0].removed
        left = game(without(len(names), gone)[None])[0]
        print(f"remove {count}: {', '.join(names[i] for i in gone)} leaves R² {left:.3f}")


if __name__ == "__main__":
    main()
