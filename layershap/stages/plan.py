"""How the budget is shared between the design and the search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from layershap.config import RunConfig
from layershap.errors import UserError
from sampling import campaign_design

__all__ = ["Plan", "make_plan"]

_SEARCH_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """What a run will measure.

    Attributes:
        n: number of layers.
        counts: numbers of layers to remove.
        budget: distinct coalitions that design and search may measure.
        exact: whether every coalition is measured.
        design: coalitions of the design.
    """

    n: int
    counts: tuple[int, ...]
    budget: int
    exact: bool
    design: Bool[np.ndarray, "m n"]

    @property
    def for_search(self) -> int:
        """Evaluations left for the search."""
        return self.budget - len(self.design)


def make_plan(config: RunConfig, n: int) -> Plan:
    """The plan of a configuration for a model of `n` layers.

    Raises:
        UserError: the model is too shallow, or a count or the budget does not fit.
    """
    if n < 3:
        raise UserError(f"the model has {n} layers; choosing among them needs at least 3")
    counts = config.counts(n)
    budget = config.evaluations(n)
    exact = n < 63 and budget >= 2**n
    share = 0 if exact or config.rounds == 0 else int(_SEARCH_SHARE * budget)
    size = max(budget - share, min(budget, n + 2))
    rows = campaign_design(n, size, max(counts), config.seed).coalitions
    return Plan(n, tuple(counts), budget, exact, rows)
