"""Published pruning methods that look inside the model, one a file, each with what it costs.

Every one leaves the model bit for bit as it was. Those that only ask a game for utilities (greedy
removal, single ablation, evolution) are in `shapley`.
"""

from __future__ import annotations

from llm.baselines.angular import angular_blocks, angular_distances
from llm.baselines.clp import GateSettings, clp_segments, gates
from llm.baselines.influence import block_influence, rescored_influence
from llm.baselines.laco import Merged, laco_merges
from llm.baselines.merging import Merge, merged
from llm.baselines.spend import Spend
from llm.baselines.taylor import taylor_removed, taylor_scores

__all__ = [
    "GateSettings",
    "Merge",
    "Merged",
    "Spend",
    "angular_blocks",
    "angular_distances",
    "block_influence",
    "clp_segments",
    "gates",
    "laco_merges",
    "merged",
    "rescored_influence",
    "taylor_removed",
    "taylor_scores",
]
