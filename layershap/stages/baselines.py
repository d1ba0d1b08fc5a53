"""The published heuristics' sets, measured on the same text as everything else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layershap.stages.measure import measured_game
from layershap.workspace import CALIBRATION, Workspace
from llm.influence import block_influence
from sampling import anchors, without
from shapley import greedy_removal

__all__ = ["BASELINES", "baseline_sets"]

Sets = dict[int, tuple[int, ...]]

BASELINES = ("greedy", "single ablation", "Block Influence", "reverse order")


def baseline_sets(work: Workspace, counts: Sequence[int]) -> dict[str, Sets]:
    """The set of each baseline for each count; all of them are measured afterwards.

    Greedy is SLEB's search on the real model (Song et al., ICML 2024); single ablation removes
    the layers that cost least alone; Block Influence is ShortGPT's score (arXiv 2403.03853);
    reverse order removes the deepest layers but keeps the last.
    """
    n = len(work.players)
    game = measured_game(work)
    single = game(anchors(n)[2:])
    influence = block_influence(work.model, work.texts.calibration.tokens, work.roster)
    orders = {
        "single ablation": np.argsort(-single, kind="stable"),
        "Block Influence": np.argsort(influence, kind="stable"),
        "reverse order": np.array([*range(n - 2, -1, -1), n - 1]),
    }
    with work.console.status("greedy removal on the real model"):
        greedy = greedy_removal(game, counts)
    found: dict[str, Sets] = {"greedy": {count: greedy[count].removed for count in counts}}
    for name, order in orders.items():
        found[name] = {count: tuple(sorted(order[:count].tolist())) for count in counts}
    rows = [without(n, removed) for name in orders for removed in found[name].values()]
    work.measure(CALIBRATION, np.array(rows), "baselines")
    return {name: found[name] for name in BASELINES}
