"""Shares out a number of samples between classes of limited size."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

__all__ = ["allocate"]


def allocate(weights: Sequence[float], capacities: Sequence[int], total: int) -> list[int]:
    """Shares ``total`` samples in proportion to weights, never above a capacity.

    What a small class cannot use goes to the others. Shares are whole numbers by Webster's
    divisor method (the ``j``-th sample of a class is due at time ``(j + 1/2) / weight``; ties go
    to the earlier class), so a larger total never takes a sample away from any class.

    Args:
        weights: positive, one a class.
        capacities: the most samples that each class has; Python integers of any size.
        total: samples to share.

    Returns:
        One count a class; they sum to ``min(total, sum(capacities))``.

    Raises:
        ValueError: if a weight is not positive, a capacity or the total is negative.
    """
    if len(weights) != len(capacities) or any(weight <= 0 for weight in weights):
        raise ValueError("weights must be positive and as many as the capacities")
    if total < 0 or any(capacity < 0 for capacity in capacities):
        raise ValueError(f"total and capacities must be at least 0, got total {total}")
    limits = [min(capacity, total) for capacity in capacities]
    total = min(total, sum(limits))
    if total == 0:
        return [0] * len(limits)

    weight, limit = np.array(weights, dtype=float), np.array(limits, dtype=float)

    def due(time: float) -> np.ndarray:
        return np.minimum(np.floor(time * weight + 0.5), limit)

    low, high = 0.0, (total + 1) / weight.min()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if due(middle).sum() <= total else (low, middle)
    # One sample less in every class makes the start safe against rounding of the time; the heap
    # then hands out the rest in the exact order.
    counts = [max(0, int(count) - 1) for count in due(low)]
    queue = [
        ((count + 0.5) / share, index)
        for index, (count, share) in enumerate(zip(counts, weights, strict=True))
        if count < limits[index]
    ]
    heapq.heapify(queue)
    for _ in range(total - sum(counts)):
        _, index = heapq.heappop(queue)
        counts[index] += 1
        if counts[index] < limits[index]:
            heapq.heappush(queue, ((counts[index] + 0.5) / weights[index], index))
    return counts
