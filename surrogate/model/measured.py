"""What a surrogate is shown with: measurements that belong to it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from surrogate.model.regressor import SurrogateRegressor

__all__ = ["check_measured"]


def check_measured(
    regressor: SurrogateRegressor,
    players: int,
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
) -> None:
    """Refuses measurements that do not fit a surrogate and its players.

    Args:
        regressor: fitted.
        players: how many there are.
        coalitions: the measured ones, True = kept.
        utilities: theirs.

    Raises:
        ValueError: numbers of players or rows differ, a utility is not finite, or the coalition
            of all players is not among them.
    """
    if regressor.n_features_in_ != players:
        raise ValueError(
            f"regressor was fitted on {regressor.n_features_in_} players and there are {players};"
            " give those of one run"
        )
    if coalitions.shape != (len(utilities), players):
        raise ValueError(
            f"coalitions must be [{len(utilities)}, {players}], one row a utility, got"
            f" {list(coalitions.shape)}"
        )
    if not np.isfinite(utilities).all():
        raise ValueError("utilities must be finite; leave the other coalitions out")
    if not coalitions.all(axis=1).any():
        raise ValueError("coalitions must hold the whole model; measure it first")
