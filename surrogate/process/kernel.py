"""A Gaussian process on coalitions: every player has an influence and an asymmetry of its own."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

__all__ = [
    "Kernel",
    "Order",
    "Process",
    "beside",
    "covariance",
    "factor",
    "sizes_apart",
    "sizes_kept",
]

CHUNK = 4096
LITTLE = (0.0, *10.0 ** np.arange(-12, -2))  # shares of a variance that rounding may take


@dataclass(frozen=True, eq=False)
class Order:
    """What the order of the players means to a kernel; see there.

    Attributes:
        pairs: decay for neighbours that are alike in one coalition only, by component.
        blend: share of their lengths that neighbours have in common, 0 to 1, by component.
        reach: distance over which that fades, in players, by component.
    """

    pairs: Float[np.ndarray, "c n-1"]
    blend: Float[np.ndarray, "c"]
    reach: Float[np.ndarray, "c"]


@dataclass(frozen=True, eq=False)
class Kernel:
    """Covariance of two coalitions with signs ``z, z'`` in {-1, 1} (1 = kept).

    ``sum_c variances_c exp(-sum_i lengths_ci [z_i != z'_i] + sum_i tilts_ci (a_i + a'_i)) +
    sum_i slopes_i z_i z'_i + curve exp(-bend |s - s'|) + constant`` with ``a_i = [z_i = -1]`` and
    ``s`` the number of kept players; and ``noise exp(2 fade (n - s))`` more for a coalition with
    itself: what no smooth function explains belongs to the game, since its utilities are
    deterministic. The product over players holds interactions of all orders, damped with their
    order; a tilt makes the game wilder (or tamer) where its player is gone.

    Where the order of the players means something, as that of layers does, each exponent has two
    parts more. ``- sum_{i != j} d_i d_j sqrt(lengths_i lengths_j) blend exp(-|i - j| / reach)``
    with ``d = (z - z') / 2`` says that neighbours stand in for each other: sets that lack one or
    the other are alike. ``- sum_i pairs_i [z_i z_{i+1} != z'_i z'_{i+1}]`` tells layers that go
    together from layers that go apart. Such a kernel is no product over players any more, so that
    what averages over players in closed form is had of kernels without them alone.

    Attributes:
        lengths: decay for a player that differs (an inverse length scale), by component.
        tilts: growth of the standard deviation's logarithm with each absent player.
        variances: prior variance of each product part.
        slopes: prior variance of each player's linear effect.
        curve: prior variance of a function of the number of kept players alone.
        bend: its decay a player.
        constant: prior variance of the level.
        noise: variance of the targets around the smooth function, where all players are kept.
        fade: half the growth of its logarithm with each absent player.
        order: what the order of the players means; None where it means nothing.
    """

    lengths: Float[np.ndarray, "c n"]
    tilts: Float[np.ndarray, "c n"]
    variances: Float[np.ndarray, "c"]
    slopes: Float[np.ndarray, "n"]
    curve: float
    bend: float
    constant: float
    noise: float
    fade: float = 0.0
    order: Order | None = None

    def __call__(
        self, left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
    ) -> Float[np.ndarray, "B p"]:
        """Returns the covariances of the smooth function."""
        total = (left * self.slopes) @ right.T
        total += self.constant
        total += self.by_size(left, right)
        for part in self.products(left, right):
            total += part
        return total

    def by_size(
        self, left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
    ) -> Float[np.ndarray, "B p"]:
        """Returns the part that depends on the numbers of kept players alone."""
        table = self.size_table(left.shape[1])
        return table[np.ix_(sizes_kept(left), sizes_kept(right))]

    def size_table(self, n: int) -> Float[np.ndarray, "s s"]:
        """Returns the same for all numbers of kept players, from none to all."""
        return self.curve * np.exp(-self.bend * sizes_apart(n))

    def products(
        self, left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
    ) -> list[Float[np.ndarray, "B p"]]:
        """Returns the product part of each component."""
        parts = []
        plain = self.plain(right)
        for part, variance in enumerate(self.variances):
            here = self.alone(part, left) + np.log(variance)
            there = self.alone(part, right)
            # [z != z'] = (1 - z z') / 2 turns the exponent into one matrix product.
            exponent = np.column_stack([self.weighed(part, left), here, np.ones(len(left))]) @ (
                np.column_stack([plain, np.ones(len(right)), there]).T
            )
            np.exp(exponent, out=exponent)
            parts.append(exponent)
        return parts

    def alone(self, part: int, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns what each coalition adds to a component's exponents, whatever the other is."""
        own = 0.5 * (1.0 - signs) @ self.tilts[part]
        if self.order is None:
            return own - 0.25 * self.lengths[part].sum()
        own -= 0.25 * ((signs @ self.metric(part)) * signs).sum(axis=1)
        return own - 0.25 * self.order.pairs[part].sum()

    def plain(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B f"]:
        """Returns what two coalitions are compared by: signs and, in order, of neighbours."""
        return signs if self.order is None else np.hstack([signs, beside(signs)])

    def weighed(self, part: int, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B f"]:
        """Returns the same so weighed that its products with the other's `plain` are exponents."""
        if self.order is None:
            return signs * (0.5 * self.lengths[part])
        ours = beside(signs) * (0.5 * self.order.pairs[part])
        return np.hstack([signs @ (0.5 * self.metric(part)), ours])

    def metric(self, part: int) -> Float[np.ndarray, "n n"]:
        """Returns the matrix ``M`` of a component's squared distance ``d' M d``."""
        lengths = self.lengths[part]
        if self.order is None:
            return np.diag(lengths)
        reach = self.order.reach[part]
        common = self.order.blend[part] * np.exp(-sizes_apart(len(lengths) - 1) / reach)
        common[np.diag_indices(len(lengths))] = 1.0
        return np.sqrt(np.outer(lengths, lengths)) * common

    def rough(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the variance of what no smooth function explains at each coalition."""
        return self.noise * np.exp(self.fade * (signs.shape[1] - signs.sum(axis=1)))

    def diagonal(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the variance of the smooth function at each coalition."""
        growth = np.exp((1.0 - signs) @ self.tilts.T)
        return growth @ self.variances + self.slopes.sum() + self.curve + self.constant


@dataclass(frozen=True, eq=False)
class Process:
    """Posterior mean of a Gaussian process at signs in {-1, 1}.

    Attributes:
        kernel: the covariance.
        points: the signs of the measured coalitions.
        weights: their coefficients in the posterior mean.
    """

    kernel: Kernel
    points: Float[np.ndarray, "p n"]
    weights: Float[np.ndarray, "p"]

    def __call__(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the posterior mean of the smooth function, one value a row."""
        parts = [
            self.kernel(signs[at : at + CHUNK], self.points) @ self.weights
            for at in range(0, len(signs), CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)


def covariance(
    kernel: Kernel, signs: Float[np.ndarray, "m n"], slack: Float[np.ndarray, "m"] | float = 1.0
) -> Float[np.ndarray, "m m"]:
    """Returns the covariance of measurements, ``noise * slack`` included.

    Args:
        kernel: of the process.
        signs: of the measured coalitions, in {-1, 1}.
        slack: by how much the noise of each measurement is larger than the kernel's.
    """
    total = kernel(signs, signs)
    total[np.diag_indices(len(signs))] += kernel.rough(signs) * slack
    return total


def factor(kernel: Kernel, signs: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m m"]:
    """Returns the covariance's lower Cholesky factor.

    A kernel that suits the rows it was fitted to may vary so much over others that the least noise
    is lost in their variances; then each gets as little more as rounding demands.
    """
    total = covariance(kernel, signs)
    places = np.diag_indices(len(total))
    variances = total[places]
    for more in LITTLE:
        total[places] = (1.0 + more) * variances
        with contextlib.suppress(np.linalg.LinAlgError):
            # A transposed view is in LAPACK's order: its lower part is the upper one of the rows.
            return scipy.linalg.cholesky(total.T, lower=True, check_finite=False)
    raise ValueError("utilities span too many orders of magnitude to be learnt; press their scale")


def beside(signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B n-1"]:
    """Returns 1 for neighbours that are both kept or both gone, -1 for others."""
    return signs[:, 1:] * signs[:, :-1]


def sizes_kept(signs: Float[np.ndarray, "B n"]) -> Int[np.ndarray, "B"]:
    """Returns the numbers of kept players."""
    return (signs > 0).sum(axis=1)


def sizes_apart(n: int) -> Float[np.ndarray, "s s"]:
    """Returns the differences between numbers of kept players, from none to all."""
    sizes = np.arange(n + 1.0)
    return np.abs(np.subtract.outer(sizes, sizes))
