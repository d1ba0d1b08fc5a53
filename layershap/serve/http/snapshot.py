"""What a query service serves: a surrogate and what was found with it, as of one moment."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float

from shapley import Values
from surrogate.model.measured import check_measured
from surrogate.model.regressor import SurrogateRegressor

__all__ = ["Snapshot", "Source", "named_players"]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A fitted surrogate with what is known beside it.

    Attributes:
        title: what a person calls the model.
        players: names in depth order.
        regressor: fitted; predicts the utility, which is the sign times the metric.
        coalitions: the measured ones, the coalition of all players among them; True = kept.
        utilities: theirs, finite.
        metric: name of what was measured, as ``nll``.
        unit: what it is counted in.
        sign: 1 where a higher metric is better, -1 where a lower one is.
        names: what else than a player's name may be asked for, as a layer's number, and which
            players it means.
        values: Shapley values by what they say, as ``{"shapley": Values, "restricted": Values}``.
        shown: which of them is shown first.
        value_of: what values and interactions are of: ``retention``, ``share`` or ``loss``.
        value_unit: what those are counted in.
        whole_utility: of the whole model, which shares refer to; None where it is not kept.
        interactions: symmetric, in units of the values; NaN where not computed.
        interaction_errors: their standard errors; None where they are exact.
        recommendations: verified sets as they are served, see `schemas.Recommendation`.
        missing: what to run for what is not there, by its name in the API.
    """

    title: str
    players: tuple[str, ...]
    regressor: SurrogateRegressor
    coalitions: Bool[np.ndarray, "m n"]
    utilities: Float[np.ndarray, "m"]
    metric: str = "utility"
    unit: str = "utility"
    sign: int = 1
    names: Mapping[str | int, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[str, Values] = field(default_factory=dict)
    shown: str = "shapley"
    value_of: str = "loss"
    value_unit: str = "utility"
    whole_utility: float | None = None
    interactions: Float[np.ndarray, "n n"] | None = None
    interaction_errors: Float[np.ndarray, "n n"] | None = None
    recommendations: Sequence[Mapping[str, Any]] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_measured(self.regressor, len(self.players), self.coalitions, self.utilities)


class Source(Protocol):
    """Where snapshots come from."""

    def stamp(self) -> Hashable:
        """Returns something cheap that changes when a new snapshot is to be loaded."""
        ...

    def load(self) -> Snapshot:
        """Returns what is there now; called outside the event loop."""
        ...


def named_players(snapshot: Snapshot) -> dict[str | int, tuple[int, ...]]:
    """Returns the players that each name or number means; a player's own name comes first."""
    found = dict(snapshot.names)
    found.update({name: (place,) for place, name in enumerate(snapshot.players)})
    return found
