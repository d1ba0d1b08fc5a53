"""A fitted surrogate as text: what a browser needs to predict as Python does."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Bool

from sampling import pack, stream
from surrogate import SurrogateRegressor

__all__ = ["LEVELS", "packed", "packed_bits", "surrogate_weights"]

LEVELS = (0.95, 0.9, 0.8)
"""Levels of the interval, the first that the measurements suffice for is taken."""
CHECKS = 64


def surrogate_weights(regressor: SurrogateRegressor) -> dict[str, Any]:
    """Returns the weights of the stacked prediction and the half-widths of its interval.

    With them come random coalitions and what Python predicts for them, so that whoever evaluates
    the weights can check himself.

    Args:
        regressor: fitted.
    """
    n = regressor.n_features_in_
    rng = stream(0, "explorer checks", n)
    rows = rng.random((CHECKS, n)) < rng.random((CHECKS, 1))
    level, half = _interval(regressor)
    return {
        "warp": asdict(regressor.ensemble_.warp),
        "learners": {
            learner: {name: packed(array) for name, array in part.items()}
            for learner, part in regressor.predictor_.weights.items()
        },
        "level": level,
        "half_widths": half,
        "checks": {
            "coalitions": packed_bits(rows),
            "predictions": packed(regressor.predict(rows)),
        },
    }


def packed(array: np.ndarray) -> dict[str, Any]:
    """Returns an array as base64 of its little-endian bytes, row by row.

    They are floats of four bytes where those hold every number exactly, of eight bytes otherwise.
    """
    short = array.astype(np.float32)
    kind = "f4" if np.array_equal(short.astype(np.float64), array) else "f8"
    data = np.ascontiguousarray(array, f"<{kind}").tobytes()
    return {"kind": kind, "shape": list(array.shape), "data": base64.b64encode(data).decode()}


def packed_bits(coalitions: Bool[np.ndarray, "m n"]) -> dict[str, Any]:
    """Returns coalitions as base64 of bits; each row begins a byte, the first player its bit 0."""
    data = pack(coalitions).tobytes()
    return {"shape": list(coalitions.shape), "data": base64.b64encode(data).decode()}


def _interval(regressor: SurrogateRegressor) -> tuple[float | None, dict[str, Any] | None]:
    for level in LEVELS:
        try:
            found = regressor.conformal_.half_widths(level)
        except ValueError:
            # Too few measurements for this level.
            continue
        return level, {"places": found.places.tolist(), "halves": found.halves.tolist()}
    return None, None
