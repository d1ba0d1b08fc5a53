"""A learner that is cheap and good enough, for tests of estimators that need one."""

from __future__ import annotations

import numpy as np


def ridge(rows, utilities, seed):
    """A linear fit, shrunk a little; `seed` decides nothing."""

    def columns(batch):
        return np.concatenate([batch - 0.5, np.ones((len(batch), 1))], axis=1)

    x, mean = columns(rows), utilities.mean()
    weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ (utilities - mean))
    return lambda batch: mean + columns(batch) @ weights
