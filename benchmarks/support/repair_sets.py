"""Sets of layers and halves to repair, drawn by a seed, and how repairs of them compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from decoder.players import make_roster
from decoder.surgery.blocks import edits_of, plan_blocks
from decoder.surgery.edit import Edits, Remove
from sampling import stream

__all__ = ["RepairSet", "geometric_mean", "paired_interval", "repair_sets"]


@dataclass(frozen=True)
class RepairSet:
    """One set.

    Attributes:
        name: its players.
        kind: "run", "scattered" or "halves".
        edits: that remove them.
    """

    name: str
    kind: str
    edits: Edits


def repair_sets(depth: int, count: int, seed: int = 0) -> list[RepairSet]:
    """Draw sets of 2 to 10 layers, at most half of them: runs, scattered ones and halves in turn.

    First and last layers stay, as every published method keeps them.

    Args:
        depth: decoder layers.
        count: how many sets.
        seed: of the draw.
    """
    rng = stream(seed, "sets to repair")
    most = min(10, depth // 2)
    found = []
    for number in range(count):
        size = 2 + (number // 3) % (most - 1)
        kind = ("run", "scattered", "halves")[number % 3]
        if kind == "run":
            first = int(rng.integers(1, depth - size))
            layers: list[int] = list(range(first, first + size))
        elif kind == "scattered":
            layers = sorted(int(i) for i in rng.choice(range(1, depth - 1), size, replace=False))
        else:
            found.append(_halves(depth, size, rng))
            continue
        name = ",".join(map(str, layers))
        found.append(RepairSet(name, kind, tuple(map(Remove, layers))))
    return found


def _halves(depth: int, size: int, rng: np.random.Generator) -> RepairSet:
    roster = make_roster("sublayers", depth)
    inner = np.arange(2, 2 * depth - 2)
    players = sorted(int(i) for i in rng.choice(inner, size, replace=False))
    # Every half in its own layer, so that any family takes it.
    blocks = plan_blocks(roster, players, lambda attention, mlp: False)
    name = ",".join(roster.names[i] for i in players)
    return RepairSet(name, "halves", edits_of(blocks, depth))


def geometric_mean(shares: Sequence[float]) -> float:
    """Returns the geometric mean of shares, those below a thousandth counted as that."""
    return math.exp(float(np.mean([math.log(max(share, 1e-3)) for share in shares])))


def paired_interval(
    ours: Float64[np.ndarray, "S"], theirs: Float64[np.ndarray, "S"], seed: int = 0
) -> tuple[float, float]:
    """A 95 % bootstrap interval over sequences of the mean of ours minus theirs.

    Args:
        ours: loss of each held-out sequence.
        theirs: the same of another model.
        seed: of the resampling.
    """
    difference = ours - theirs
    rows: Int[np.ndarray, "R S"] = stream(seed, "paired interval").integers(
        0, len(difference), (2000, len(difference))
    )
    low, high = np.quantile(difference[rows].mean(1), [0.025, 0.975])
    return float(low), float(high)
