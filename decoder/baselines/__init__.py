"""Published pruning methods that look inside the model, each declared in its file.

Every one leaves the model bit for bit as it was. Those that only ask a game for utilities (greedy
removal, single ablation, evolution) are in `shapley.baselines`.
"""

from __future__ import annotations

from decoder.baselines.angular import angular_blocks, angular_distances
from decoder.baselines.block_influence import block_influence
from decoder.baselines.clp import GateSettings, clp_segments, gates
from decoder.baselines.context import MergedSets, ModelContext
from decoder.baselines.laco import Merged, laco_merges
from decoder.baselines.rescored_influence import rescored_influence
from decoder.baselines.spend import Spend
from decoder.baselines.taylor import taylor_removed, taylor_scores

__all__ = [
    "GateSettings",
    "Merged",
    "MergedSets",
    "ModelContext",
    "Spend",
    "angular_blocks",
    "angular_distances",
    "block_influence",
    "clp_segments",
    "gates",
    "laco_merges",
    "rescored_influence",
    "taylor_removed",
    "taylor_scores",
]
