"""Retention: what a set keeps of the whole model's quality, as a share.

A loss has no upper bound, and half of all sets of a deep model are worse than guessing: they
carry the Shapley values of the raw loss and say nothing about pruning. Retention is
``exp(-(loss - loss of the whole model))``, which for a negative log-likelihood is the perplexity of
the whole model over that of the set: 1 for the whole model, 0 for noise, above 1 for a set that
is better than the whole model.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import full
from shapley.game import Game, evaluate

__all__ = ["RetentionGame", "retention", "share_of_whole"]


def retention(utilities: Float[np.ndarray, "m"], whole: float) -> Float[np.ndarray, "m"]:
    """Returns the retention of utilities that are minus a loss in nats.

    Args:
        utilities: minus the losses; minus infinity keeps nothing.
        whole: the same of the whole model.

    Raises:
        ValueError: if the whole model's is not finite, or a set is better than it by more than
            a floating-point number can tell.
    """
    if not np.isfinite(whole):
        raise ValueError(
            f"retention needs a finite utility of the whole model, got {whole}; without one, take"
            " the values of the raw loss"
        )
    with np.errstate(over="ignore"):
        kept = np.exp(np.asarray(utilities, dtype=np.float64) - whole)
    if np.isinf(kept).any():
        raise ValueError(
            "retention is for utilities that are minus a loss in nats, and one is"
            f" {np.max(utilities) - whole:.4g} above the whole model's; take the raw values"
        )
    return kept


def share_of_whole(utilities: Float[np.ndarray, "m"], whole: float) -> Float[np.ndarray, "m"]:
    """Returns bounded utilities, such as accuracies, as shares of the whole model's.

    Args:
        utilities: 0 where nothing is right.
        whole: the same of the whole model.

    Raises:
        ValueError: if the whole model's is not finite and above 0.
    """
    if not (np.isfinite(whole) and whole > 0):
        raise ValueError(
            f"a share of the whole model needs its utility above 0, got {whole}; take the raw"
            " values"
        )
    return np.asarray(utilities, dtype=np.float64) / whole


class RetentionGame:
    """The retention of another game, whose utilities are minus a loss in nats."""

    def __init__(self, game: Game) -> None:
        """Asks the game for the utility of all players.

        Raises:
            ValueError: see :func:`retention`.
        """
        self.game, self.players = game, tuple(game.players)
        self.whole = float(evaluate(game, full(len(self.players))[None])[0])
        retention(np.array([self.whole]), self.whole)

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the retention of each coalition."""
        return retention(evaluate(self.game, coalitions), self.whole)
