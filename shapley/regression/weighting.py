"""Weighted least squares on coalitions: the algebra under every regression estimator.

For a coalition ``S`` of size ``s``: ``x_S = 1_S - (s/n) 1``, ``y_S = u(S) - u(0) - (s/n) D`` with
``D = u(N) - u(0)``, weight ``w_S = 1 / (s (n - s) k_s)`` with ``k_s`` the number of coalitions
measured at size ``s``. The minimiser of ``sum_S w_S (y_S - x_S' psi - z_S' c)^2`` plus ``D / n`` is
exact once every coalition is measured (Lundberg & Lee 2017; Musco & Witter, ICLR 2025).

``z_S`` has four columns that depend on size alone, the polynomials of degree 0 to 3 in
``t = s / n``. They are orthogonal to ``x`` in every complete size, so they change no limit, but
they take up the curve of the utility over sizes, which in a sample is noise for ``psi``: on games
that fall off steeply the squared error is several times lower than without. Degrees 0 and 1 do the
same for the two ends, which enter every ``y_S``: a model without any layer may be tens of nats
worse than one with a single layer. For the same reason rows whose complement was not measured may
weigh less, see :meth:`Rows.unpaired_weight`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.coalitions import distinct, keys
from sampling.streams import stream

__all__ = [
    "GROUPS",
    "SIZE_COLUMNS",
    "Rows",
    "complement_groups",
    "gram",
    "identified",
    "jackknife_variance",
    "regression_columns",
    "solve",
    "split_rows",
]

GROUPS = 20
SIZE_COLUMNS = 4


@dataclass(frozen=True, eq=False)
class Rows:
    """A measured design, taken apart for regression.

    Attributes:
        inner: positions of the coalitions that are neither empty nor full.
        sizes: their numbers of kept players.
        columns: ``x_S`` and ``z_S`` for each of them.
        partner: place among the inner coalitions of each one's complement, -1 if not measured.
        full: position of the full coalition.
        empty: position of the empty coalition.
    """

    inner: Int[np.ndarray, "k"]
    sizes: Int[np.ndarray, "k"]
    columns: Float[np.ndarray, "k n+4"]
    partner: Int[np.ndarray, "k"]
    full: int
    empty: int

    @property
    def n(self) -> int:
        """Number of players."""
        return self.columns.shape[1] - SIZE_COLUMNS

    def targets(self, utilities: Float[np.ndarray, "m"]) -> Float[np.ndarray, "k"]:
        """Returns ``y_S``: utilities of the inner coalitions less the line from empty to full."""
        span = utilities[self.full] - utilities[self.empty]
        share = self.sizes / self.n
        return utilities[self.inner] - utilities[self.empty] - share * span

    def weights(
        self, kept: Bool[np.ndarray, "k"] | None = None, unpaired: float = 1.0
    ) -> Float[np.ndarray, "k"]:
        """Returns ``w_S`` when only ``kept`` rows count as measured (others get weight 0).

        Args:
            kept: rows that count; all when omitted.
            unpaired: weight of a row whose complement was not measured, relative to one whose
                complement was. The total weight of a size does not depend on it.
        """
        n = self.n
        share = np.where(self.partner >= 0, 1.0, unpaired)
        if kept is not None:
            share = np.where(kept, share, 0.0)
        totals = np.bincount(self.sizes, share, minlength=n + 1)[self.sizes]
        scale = self.sizes * (n - self.sizes) * np.where(totals > 0, totals, 1.0)
        return share / scale

    def unpaired_weight(self, targets: Float[np.ndarray, "k"]) -> float:
        """Returns the best weight of rows without a measured complement, from the residuals.

        In a complement pair the even part of the residual cancels and the odd part, of variance
        ``o``, is the noise; a row alone carries both, ``o + e``. The weight of a row alone
        relative to a row of a pair is hence ``2 o / (o + e)``, here between 0.02 and 1. With too
        few pairs to tell, it is 1/2.
        """
        front = np.flatnonzero(self.partner > np.arange(len(self.partner)))
        if len(front) == 0 or 2 * len(front) == len(self.partner):
            return 1.0
        spare = len(front) - (self.n + 1)
        weight = 0.5
        for _ in range(2 if spare > 1 else 0):
            weights = self.weights(unpaired=weight)
            residual = targets - self.columns @ solve(*gram(self.columns, targets, weights))
            first, second = residual[front], residual[self.partner[front]]
            odd = weights[front] @ (first - second) ** 2 * len(front) / spare
            even = weights[front] @ (first + second) ** 2
            if odd + even > 0:
                weight = min(1.0, max(0.02, float(2.0 * odd / (odd + even))))
        return weight


def split_rows(coalitions: Bool[np.ndarray, "m n"], n: int) -> Rows:
    """Takes a measured design apart.

    Raises:
        ValueError: if a row repeats, the width is not ``n``, or the full or the empty coalition
            is missing.
    """
    rows = np.asarray(coalitions)
    if rows.ndim != 2 or rows.shape[1] != n or rows.dtype != np.bool_:
        raise ValueError(
            f"coalitions must be a boolean array [m, {n}], got {rows.dtype} {list(rows.shape)}"
        )
    if len(distinct(rows)) != len(rows):
        raise ValueError("coalitions must be distinct; drop or average repeated rows first")
    sizes = rows.sum(axis=1)
    ends = {"full": np.flatnonzero(sizes == n), "empty": np.flatnonzero(sizes == 0)}
    for name, found in ends.items():
        if not len(found):
            raise ValueError(f"coalitions must contain the {name} one; measure it as well")
    inner = np.flatnonzero((sizes > 0) & (sizes < n))
    place = {key: at for at, key in enumerate(keys(rows[inner]))}
    partner = np.array([place.get(key, -1) for key in keys(~rows[inner])], dtype=np.int64)
    return Rows(
        inner,
        sizes[inner],
        regression_columns(rows[inner]),
        partner,
        int(ends["full"][0]),
        int(ends["empty"][0]),
    )


def regression_columns(coalitions: Bool[np.ndarray, "k n"]) -> Float[np.ndarray, "k n+4"]:
    """Returns ``x_S`` and ``z_S`` of coalitions."""
    t = coalitions.mean(axis=1)[:, None]
    return np.concatenate([coalitions - t, (2.0 * t - 1.0) ** np.arange(SIZE_COLUMNS)], axis=1)


def gram(
    columns: Float[np.ndarray, "k p"],
    targets: Float[np.ndarray, "k *c"],
    weights: Float[np.ndarray, "k"],
) -> tuple[Float[np.ndarray, "p p"], Float[np.ndarray, "p *c"]]:
    """Returns the two sides of the normal equations.

    Args:
        columns: regressors, one row a coalition.
        targets: what to fit, one or several columns.
        weights: of the rows.
    """
    weighted = columns * weights[:, None]
    return weighted.T @ columns, weighted.T @ targets


def solve(
    left: Float[np.ndarray, "p p"], right: Float[np.ndarray, "p *c"]
) -> Float[np.ndarray, "p *c"]:
    """Returns the smallest solution of symmetric normal equations (pseudo-inverse)."""
    return np.linalg.pinv(left, rcond=1e-11, hermitian=True) @ right


def identified(left: Float[np.ndarray, "n+4 n+4"]) -> bool:
    """Tells whether normal equations determine every player's value."""
    n = len(left) - SIZE_COLUMNS
    return _rank(left) == n - 1 + _rank(left[n:, n:])


def _rank(left: Float[np.ndarray, "p p"]) -> int:
    spectrum = np.abs(np.linalg.eigvalsh(left)) if left.size else np.zeros(0)
    return int((spectrum > 1e-11 * spectrum.max(initial=0.0)).sum())


def complement_groups(
    coalitions: Bool[np.ndarray, "k n"], groups: int = GROUPS, seed: int = 0
) -> Int[np.ndarray, "k"]:
    """Returns a group for each row: complements share one, and each group spans all sizes.

    Pairs are shuffled inside their size and dealt out in turn, so that leaving a group out
    removes about the same share of each size.

    Args:
        coalitions: rows, True = kept.
        groups: how many to form.
        seed: of the shuffling.
    """
    rows = np.asarray(coalitions)
    canonical = np.where(rows[:, :1], rows, ~rows)  # the member of the pair with player 0
    _, first, pair = np.unique(
        np.array(keys(canonical), dtype=f"V{(rows.shape[1] + 7) // 8}"),
        return_index=True,
        return_inverse=True,
    )
    sizes = rows.sum(axis=1)[first]
    smaller = np.minimum(sizes, rows.shape[1] - sizes)
    shuffle = stream(seed, "groups", groups).random(len(first))
    dealt = np.empty(len(first), dtype=np.int64)
    dealt[np.lexsort((shuffle, smaller))] = np.arange(len(first)) % groups
    return dealt[pair]


def jackknife_variance(
    leave_out: Float[np.ndarray, "G n"], centre: Float[np.ndarray, "n"], share: float
) -> Float[np.ndarray, "n"]:
    """Returns the delete-a-group variance ``(G-1)/G sum_g (phi_(g) - phi)^2 (1 - share)``.

    Args:
        leave_out: estimates with one group left out.
        centre: the estimate from everything.
        share: the part of all coalitions that was measured, m / 2^n.
    """
    groups = len(leave_out)
    return (groups - 1) / groups * ((leave_out - centre) ** 2).sum(axis=0) * (1.0 - share)
