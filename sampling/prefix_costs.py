"""What a coalition costs to measure beside others: shared prefixes of kept layers are free."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Costs", "PrefixCosts"]


class Costs(Protocol):
    """Costs of a pool of coalitions that fall as some of them are taken."""

    def now(self) -> Float[np.ndarray, "N"]:
        """Returns the present cost of each coalition, positive."""
        ...

    def take(self, place: int) -> None:
        """Tells that the coalition at a place will be measured in the same batch."""
        ...


class PrefixCosts:
    """Layer evaluations that a coalition adds to a batch whose members share hidden states.

    A walk computes each prefix of kept layers once, so a coalition costs the layers that it keeps
    after the first player at which it differs from all of the batch, and the head.
    """

    def __init__(
        self,
        pool: Bool[np.ndarray, "N n"],
        head: float = 1.0,
        layers: Float[np.ndarray, "n"] | None = None,
    ) -> None:
        """Builds the costs of a pool from which nothing is taken yet.

        Args:
            pool: coalitions, players in depth order, True = kept.
            head: cost of the head, in layer evaluations; positive.
            layers: cost of each player where it is kept; 1 each when omitted.

        Raises:
            ValueError: if a cost is negative or the head's is not positive.
        """
        each = np.ones(pool.shape[1]) if layers is None else np.asarray(layers, dtype=np.float64)
        if head <= 0 or (each < 0).any():
            raise ValueError(f"costs must not be negative and the head's positive, got head {head}")
        self._pool = pool
        # Cost of what is kept from each player on; the last column is past the end.
        kept = np.cumsum((pool * each)[:, ::-1], axis=1)[:, ::-1]
        self._after = np.concatenate([kept, np.zeros((len(pool), 1))], axis=1)
        self._shared = np.zeros(len(pool), dtype=np.int64)
        self._head = head

    def now(self) -> Float[np.ndarray, "N"]:
        """Returns the layer evaluations that each coalition would add now."""
        return np.take_along_axis(self._after, self._shared[:, None], axis=1)[:, 0] + self._head

    def take(self, place: int) -> None:
        """Puts the coalition at a place into the batch."""
        same = self._pool == self._pool[place]
        length = np.where(same.all(axis=1), same.shape[1], same.argmin(axis=1))
        self._shared = np.maximum(self._shared, length)
