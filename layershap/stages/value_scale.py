"""The scale that values are told on: retention, a share of the whole model, or the raw loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cluster import Records
from layershap.errors import UserError
from layershap.results.values import ValueOf
from layershap.runs.utilities import Utility
from shapley import Game, State, retention, start
from shapley.retention import share_of_whole

__all__ = ["Scale", "ScaledGame", "ScaledRecords", "on_scale", "scale_of"]

BETTER = 1e-9
"""By how much a set is better than the whole model at least, for rounding's sake."""


@dataclass(frozen=True)
class Scale:
    """A map of utilities to what values are told in.

    Attributes:
        value_of: what it maps to.
        whole: utility of the whole model; NaN for the raw loss of one that has none.
    """

    value_of: ValueOf
    whole: float

    def __call__(self, utilities: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Returns utilities on the scale."""
        if self.value_of == "retention":
            return retention(utilities, self.whole)
        if self.value_of == "share":
            return share_of_whole(utilities, self.whole)
        return np.asarray(utilities, dtype=np.float64)

    @property
    def nothing(self) -> float:
        """The utility of a set that keeps nothing; NaN where the scale has no such thing."""
        return {"retention": -np.inf, "share": 0.0, "loss": np.nan}[self.value_of]

    def linearised(
        self,
        by_sequence: Float[np.ndarray, "m S"],
        whole: Float[np.ndarray, "S"],
        shares: Float[np.ndarray, "S"],
    ) -> Float[np.ndarray, "m S"]:
        """Returns each sequence's part of sets on the scale, to first order (delta method).

        Their mean over the sequences is the sets' place on the scale. Around it a set moves by
        ``retention * (d utility - d utility of the whole model)``, or, as a share, by ``(d utility
        - share * d utility of the whole model) / utility of the whole model``.

        Args:
            by_sequence: utilities of the sets.
            whole: of the whole model.
            shares: weight of each sequence, adding up to 1.
        """
        if self.value_of == "loss":
            return by_sequence
        lost = ~np.isfinite(by_sequence).all(axis=1, keepdims=True)
        known = np.where(lost, 0.0, by_sequence)
        means = known @ shares
        found = np.where(lost, 0.0, self(means)[:, None])
        own, of_whole = known - means[:, None], whole - whole @ shares
        if self.value_of == "retention":
            return found + found * (own - of_whole)
        return found + np.where(lost, 0.0, own - found * of_whole) / self.whole


class ScaledGame:
    """Another game on a scale."""

    def __init__(self, game: Game, scale: Scale) -> None:
        self.game, self.scale, self.players = game, scale, tuple(game.players)

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns what the game answers, on the scale."""
        return self.scale(self.game(coalitions))


@dataclass(frozen=True, eq=False)
class ScaledRecords:
    """Measurements on a scale.

    Attributes:
        scale: which.
        players: names in depth order.
        coalitions: those that have a place on the scale, True = kept.
        utilities: as measured; of one that keeps nothing the scale's `nothing`.
        by_sequence: places by sequence or item, see :meth:`Scale.linearised`.
        weights: of the sequences in the utility, all above 0.
    """

    scale: Scale
    players: tuple[str, ...]
    coalitions: Bool[np.ndarray, "m n"]
    utilities: Float[np.ndarray, "m"]
    by_sequence: Float[np.ndarray, "m S"]
    weights: Float[np.ndarray, "S"]

    @property
    def values(self) -> Float[np.ndarray, "m"]:
        """The places of the coalitions on the scale."""
        return self.scale(self.utilities)

    def state(self, seed: int) -> State:
        """Returns the measurements in their order, as an estimator takes them."""
        return start(self.players, seed).extended(self.coalitions, self.values)

    @property
    def better(self) -> int:
        """How many sets keep more than the whole model has; 0 for the raw loss."""
        return 0 if self.scale.value_of == "loss" else int((self.values > 1 + BETTER).sum())


def scale_of(records: Records, utility: Utility, wanted: str) -> Scale:
    """Returns the scale of a run's values.

    Args:
        records: of the calibration text, the whole model among them.
        utility: what decides.
        wanted: ``retention`` or ``loss``. Utilities that are no nats, such as the share of tokens
            that are told right, are taken as shares of the whole model's for ``retention``.

    Raises:
        UserError: the whole model has no utility that retention or a share could refer to.
    """
    found = records.utilities[records.coalitions.all(axis=1)]
    whole = float(found[0]) if len(found) else np.nan
    if wanted == "loss":
        return Scale("loss", whole)
    scale = Scale("retention" if utility.in_nats else "share", whole)
    try:
        scale(np.array([whole]))
    except ValueError:
        rule = "a finite loss" if utility.in_nats else "a score above 0"
        raise UserError(
            f"--value-of {wanted}: needs {rule} of the whole model, and its {utility.metric} is "
            f"{whole:g}; ask for --value-of loss"
        ) from None
    return scale


def on_scale(records: Records, scale: Scale) -> ScaledRecords:
    """Returns the measurements that have a place on a scale.

    A set without a finite loss keeps nothing, which is a place on all scales but that of the raw
    loss. One that could not be measured has none.
    """
    lost = np.array(records.status) == "non-finite"
    lost &= ~records.ok & (scale.value_of != "loss")
    known = records.ok | lost
    utilities = np.where(lost, scale.nothing, records.utilities)[known]
    scored = records.weights > 0
    weights = records.weights[scored].astype(np.float64)
    by_sequence = records.vectors[:, scored]
    by_sequence[lost] = np.nan
    whole = by_sequence[records.coalitions.all(axis=1)]
    if scale.value_of != "loss":
        by_sequence = scale.linearised(by_sequence[known], whole[0], weights / weights.sum())
    else:
        by_sequence = by_sequence[known]
    return ScaledRecords(
        scale, records.players, records.coalitions[known], utilities, by_sequence, weights
    )
