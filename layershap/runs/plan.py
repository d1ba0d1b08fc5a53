"""How the budget is shared between the design, its opening and the search."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from layershap.errors import UserError
from layershap.runs.config import RunConfig
from sampling import campaign_design

__all__ = ["Plan", "make_plan"]

_SEARCH_SHARE = 0.2
_OPENING_SHARE = 0.6
# Values of retention: sets that keep half of a deep model are noise and hardly tell anything.
_NEAR_OVER_ALL = 0.1
_NEAR_REMOVED = 3


@dataclass(frozen=True)
class Plan:
    """What a run will measure.

    Attributes:
        n: number of layers.
        counts: numbers of layers to remove.
        budget: distinct coalitions that design and search may measure.
        exact: whether every coalition is measured.
        design: coalitions of a fixed design; an adaptive one has as many.
        opening: the part of them that an adaptive design begins with, all where the design is
            fixed; see :func:`layershap.runs.design.read_design` for what was measured.
    """

    n: int
    counts: tuple[int, ...]
    budget: int
    exact: bool
    design: Bool[np.ndarray, "m n"]
    opening: Bool[np.ndarray, "k n"]

    @property
    def size(self) -> int:
        """Coalitions of the design."""
        return len(self.design)

    @property
    def adaptive(self) -> bool:
        """Whether a part of the design is chosen from what is measured."""
        return len(self.opening) < len(self.design)

    @property
    def for_search(self) -> int:
        """Evaluations left for the search."""
        return self.budget - self.size

    def budget_for(self, evaluations: int) -> int:
        """The budget whose design has about so many coalitions, never less than this one's."""
        most = 2**self.n if self.n < 63 else 2**63
        return min(most, max(self.budget, math.ceil(evaluations * self.budget / self.size)))


def make_plan(config: RunConfig, n: int) -> Plan:
    """The plan of a configuration for a model of `n` layers.

    An adaptive design for values of retention opens near the whole model, where all sets but a few
    lie that keep anything; values of the raw loss rest on sets of all sizes, and so does a fixed
    design, which serves both.

    Raises:
        UserError: the model is too shallow, or a count or the budget does not fit.
    """
    if n < 3:
        raise UserError(f"the model has {n} layers; choosing among them needs at least 3")
    counts = config.counts(n)
    budget = config.evaluations(n)
    exact = n < 63 and budget >= 2**n
    share = 0 if exact or config.search.rounds == 0 else int(_SEARCH_SHARE * budget)
    size = max(budget - share, min(budget, n + 2))
    seed = config.measure.seed
    rows = campaign_design(n, size, max(counts), seed).coalitions
    first = max(n + 2, round(_OPENING_SHARE * size))
    if exact or config.measure.design == "fixed" or size - first < n:
        return Plan(n, tuple(counts), budget, exact, rows, rows)
    if config.values.value_of == "retention":
        removed = max(max(counts), n // _NEAR_REMOVED)
        opening = campaign_design(n, first, removed, seed, over_all=_NEAR_OVER_ALL).coalitions
    else:
        opening = campaign_design(n, first, max(counts), seed).coalitions
    return Plan(n, tuple(counts), budget, exact, rows, opening)
