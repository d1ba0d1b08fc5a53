"""The surrogate as a game, so that every estimator and every search can play it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from sampling import keys, stream
from shapley.game import default_players
from surrogate.model.regressor import SurrogateRegressor

__all__ = ["SurrogateGame"]


class SurrogateGame:
    """A fitted surrogate with the names of its players.

    Coalitions whose utility is known are answered exactly, all others are predicted.
    """

    def __init__(
        self,
        regressor: SurrogateRegressor,
        players: Sequence[str] | None = None,
        *,
        measured: tuple[Bool[np.ndarray, "m n"], Float[np.ndarray, "m"]] | None = None,
    ) -> None:
        """Builds the game.

        Args:
            regressor: fitted.
            players: names in depth order; ``p0, p1, ...`` when omitted.
            measured: coalitions and their utilities, to be answered as they are.

        Raises:
            ValueError: if the regressor is not fitted, or a size does not fit.
        """
        n = getattr(regressor, "n_features_in_", None)
        if n is None:
            raise ValueError("regressor is not fitted; call fit with measured coalitions first")
        names = default_players(n) if players is None else tuple(players)
        if len(names) != n:
            raise ValueError(f"players must name all {n} players, got {len(names)} names")
        self.regressor = regressor
        self.players = names
        self._known: dict[bytes, float] = {}
        self._marks = stream(0, "surrogate fingerprints").integers(1 << 40, size=n).astype(float)
        if measured is not None:
            coalitions, utilities = np.asarray(measured[0]), np.asarray(measured[1], np.float64)
            if (
                coalitions.ndim != 2
                or coalitions.dtype != np.bool_
                or coalitions.shape[1] != n
                or utilities.shape != (len(coalitions),)
            ):
                raise ValueError(
                    f"measured must be boolean coalitions [m, {n}] and m utilities, got shapes"
                    f" {list(coalitions.shape)} and {list(utilities.shape)}"
                )
            self._known = dict(zip(keys(coalitions), utilities.tolist(), strict=True))
            self._known_prints = np.unique(self._prints(coalitions))

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the known or predicted utility of each coalition."""
        predicted = self.regressor.predict(coalitions)
        if self._known:
            # Fingerprints rule out nearly all of a large batch without a loop in Python.
            maybe = np.flatnonzero(np.isin(self._prints(coalitions), self._known_prints))
            for row, key in zip(maybe, keys(coalitions[maybe]), strict=True):
                predicted[row] = self._known.get(key, predicted[row])
        return predicted

    def _prints(self, coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        return coalitions @ self._marks
