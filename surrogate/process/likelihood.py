"""The marginal likelihood of measurements under a kernel, with its gradient."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float

from surrogate.process.kernel import Kernel, Order, beside, sizes_apart, sizes_kept

__all__ = ["Likelihood"]

# Rows that are worked on at once, so that they stay in the cache from the exponent to the sum.
BLOCK = 64
_potrf, _potri = scipy.linalg.get_lapack_funcs(("potrf", "potri"), dtype=np.float64)
(_symm,) = scipy.linalg.get_blas_funcs(("symm",), dtype=np.float64)


class Likelihood:
    """Minus the log marginal likelihood of some measurements, for one kernel after the other.

    The gradient is analytic (Rasmussen & Williams 2006, equations 2.30 and 5.9). Covariances are
    symmetric: only the lower triangle is ever computed, row block by row block, and room for it is
    taken once for all kernels.
    """

    def __init__(
        self,
        signs: Float[np.ndarray, "m n"],
        targets: Float[np.ndarray, "m"],
        slack: Float[np.ndarray, "m"],
        *,
        components: int,
        ordered: bool,
    ) -> None:
        """Takes what is the same for all kernels.

        Args:
            signs: -1 for a removed player, 1 for a kept one.
            targets: standardised utilities.
            slack: by how much the noise of each row is larger than the kernel's.
            components: product parts of the kernels.
            ordered: whether the kernels have an order.
        """
        m, n = signs.shape
        self._signs, self._targets, self._slack = signs, targets, slack
        ones = np.ones((m, 1))
        of_size = (sizes_kept(signs)[:, None] == np.arange(n + 1)).astype(np.float64)
        compared = [signs, beside(signs)] if ordered else [signs]
        self._columns = np.asfortranarray(np.hstack([*compared, ones]))
        self._smooth = np.asfortranarray(np.hstack([signs, of_size, ones]))
        self._total = np.empty((m, m))
        self._products = np.empty((components, m, m))
        self._blocks = [(at, min(at + BLOCK, m)) for at in range(0, m, BLOCK)]

    def __call__(self, kernel: Kernel) -> tuple[float, dict[str, Float[np.ndarray, "p"] | float]]:
        """Returns minus the logarithm (up to a constant) and its gradient by part of the kernel.

        A gradient is by what the optimiser sees of a part. Where rounding leaves the covariance
        without a factor, the value is huge and the gradient empty.
        """
        n = self._signs.shape[1]
        rough = kernel.rough(self._signs) * self._slack
        self._fill(kernel, rough)
        # The lower part of the rows is the upper one of the columns that LAPACK sees.
        factor, failed = _potrf(self._total.T, lower=0, clean=0, overwrite_a=1)
        if failed:
            return 1e10, {}
        solution = scipy.linalg.cho_solve((factor, False), self._targets, check_finite=False)
        value = 0.5 * float(self._targets @ solution) + float(np.log(np.diag(factor)).sum())

        inverse, _ = _potri(factor, lower=0, overwrite_c=1)
        sensitivity = inverse.T
        for start, stop in self._blocks:
            block = sensitivity[start:stop, :stop]
            block -= np.multiply.outer(solution[start:stop], solution[:stop])
            block *= 0.5
            self._products[:, start:stop, :stop] *= block
        gradient: dict[str, Float[np.ndarray, "p"] | float] = {}
        for c, product in enumerate(self._products):
            gradient |= self._by_product(kernel, c, product)
        smooth = self._smooth
        along = _symm(1.0, sensitivity.T, smooth, lower=0)
        signs, of_size = slice(n), slice(n, -1)
        gradient["slopes"] = (along[:, signs] * smooth[:, signs]).sum(axis=0) * kernel.slopes
        by_sizes = smooth[:, of_size].T @ along[:, of_size] * kernel.size_table(n)
        gradient["curve"] = float(by_sizes.sum())
        gradient["bend"] = -kernel.bend * float((by_sizes * sizes_apart(n)).sum())
        gradient["constant"] = float(along[:, -1].sum()) * kernel.constant
        by_noise = np.diag(sensitivity) * rough
        gradient["noise"] = float(by_noise.sum())
        gradient["fade"] = float(by_noise @ (n - self._signs.sum(axis=1)))
        return value, gradient

    def _fill(self, kernel: Kernel, rough: Float[np.ndarray, "m"]) -> None:
        """Puts the product parts and the covariance into their lower triangles."""
        signs, n = self._signs, self._signs.shape[1]
        linear, of_size = self._smooth[:, :n] * kernel.slopes, self._smooth[:, n:-1]
        ours = [np.hstack([linear, of_size @ kernel.size_table(n)])]
        theirs = [self._smooth[:, :-1]]
        for c, variance in enumerate(kernel.variances):
            there = kernel.alone(c, signs)
            here = there + np.log(variance)
            ours.append(np.column_stack([kernel.weighed(c, signs), here, np.ones(len(signs))]))
            theirs.append(np.column_stack([self._columns, there]))
        for start, stop in self._blocks:
            total = self._total[start:stop, :stop]
            np.matmul(ours[0][start:stop], theirs[0][:stop].T, out=total)
            total += kernel.constant
            for product, left, right in zip(self._products, ours[1:], theirs[1:], strict=True):
                part = product[start:stop, :stop]
                np.matmul(left[start:stop], right[:stop].T, out=part)
                np.exp(part, out=part)
                total += part
        self._total[np.diag_indices(len(signs))] += rough

    def _by_product(
        self, kernel: Kernel, c: int, product: Float[np.ndarray, "m m"]
    ) -> dict[str, Float[np.ndarray, "p"] | float]:
        """Returns the gradient by what a component's covariances are made of.

        Args:
            kernel: of the covariances.
            c: the component.
            product: its covariances times the sensitivities to them, lower triangle.
        """
        n = self._signs.shape[1]
        along = _symm(1.0, product.T, self._columns, lower=0)
        rows = along[:, -1]
        whole = float(rows.sum())
        gradient: dict[str, Float[np.ndarray, "p"] | float] = {
            f"tilts {c}": (1.0 - self._signs).T @ rows,
            f"variances {c}": whole,
        }
        if kernel.order is None:
            by_length = whole - (along[:, :n] * self._signs).sum(axis=0)
            return gradient | {f"lengths {c}": -0.5 * by_length * kernel.lengths[c]}
        return gradient | self._by_order(kernel, kernel.order, c, along)

    def _by_order(
        self, kernel: Kernel, order: Order, c: int, along: Float[np.ndarray, "m f"]
    ) -> dict[str, Float[np.ndarray, "p"] | float]:
        """Returns the gradient by a component's lengths and by what its order means."""
        signs, n = self._signs, self._signs.shape[1]
        both, rows = self._columns[:, n:-1], along[:, -1]
        # By the matrix of the squared distance, times that matrix.
        crossed = (signs * rows[:, None]).T @ signs - signs.T @ along[:, :n]
        by_metric = -0.5 * crossed * kernel.metric(c)
        apart = by_metric.copy()
        apart[np.diag_indices(n)] = 0.0
        by_pairs = float(rows.sum()) - (along[:, n:-1] * both).sum(axis=0)
        blend, reach = order.blend[c], order.reach[c]
        return {
            f"lengths {c}": by_metric.sum(axis=1),
            f"pairs {c}": -0.5 * by_pairs * order.pairs[c],
            f"blend {c}": (1.0 - blend) * float(apart.sum()),
            f"reach {c}": float((apart * sizes_apart(n - 1)).sum()) / reach,
        }
