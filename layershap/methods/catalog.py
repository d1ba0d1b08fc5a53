"""The published methods that a run can be compared with, in one list."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from layershap.errors import UserError
from layershap.methods.adapters import (
    check_contiguous,
    check_mergeable,
    run_angular_distance,
    run_block_influence,
    run_clp_gate,
    run_cooperative_game,
    run_evopress,
    run_greedy,
    run_laco,
    run_rescored_influence,
    run_reverse_order,
    run_shortened_ppl,
    run_shortened_taylor,
    run_single_ablation,
)
from layershap.methods.protocol import Baseline

__all__ = ["BASELINES", "find_baselines"]

WHOLE = ("layers", "blocks")
_COOPERATIVE = "ICLR 2026, arXiv 2602.07804"
BASELINES = (
    Baseline(
        "greedy",
        "SLEB: Song et al., ICML 2024, arXiv 2402.09025",
        "evaluations of the run's utility",
        run_greedy(""),
        also=("sleb",),
    ),
    Baseline(
        "single ablation",
        "for example Csordás et al., arXiv 2505.13898",
        "evaluations of the run's utility",
        run_single_ablation,
        also=("ablation",),
    ),
    Baseline(
        "Block Influence",
        "ShortGPT: Men et al., arXiv 2403.03853, equation 1",
        "the model",
        run_block_influence,
        passes=True,
        also=("shortgpt",),
    ),
    Baseline(
        "reverse order",
        "the simple strategy of Gromov et al., arXiv 2403.17887",
        "nothing",
        run_reverse_order,
        also=("deepest",),
    ),
    Baseline(
        "re-scored Block Influence",
        "the depth analogue of MRP: Gao et al., arXiv 2503.18377",
        "the model",
        run_rescored_influence,
        passes=True,
        also=("mrp",),
    ),
    Baseline(
        "angular distance",
        "Gromov et al., arXiv 2403.17887, equation 5",
        "the model; whole layers or blocks, removed side by side",
        run_angular_distance,
        passes=True,
        players=WHOLE,
        also=("pruneme",),
        check=check_contiguous("angular distance"),
    ),
    Baseline(
        "Shortened-LLaMA PPL",
        "Kim et al., arXiv 2402.02834",
        "evaluations of NLL",
        run_shortened_ppl,
        metric="nll",
        also=("shortened-llama",),
    ),
    Baseline(
        "Shortened-LLaMA Taylor",
        "Kim et al., arXiv 2402.02834, section 3.1",
        "the model and its gradients",
        run_shortened_taylor,
        passes=True,
        also=("taylor",),
    ),
    Baseline(
        "LaCo",
        "Yang et al., arXiv 2402.11187, algorithm 1",
        "the model, its layers alike; whole layers",
        run_laco,
        passes=True,
        players=("layers",),
        check=check_mergeable,
    ),
    Baseline(
        "FinerCut",
        "Zhang et al., arXiv 2405.18218",
        "evaluations of KL; attention and MLP players",
        run_greedy("kl"),
        players=("sublayers",),
        metric="kl",
    ),
    Baseline(
        "BlockPruner",
        "Zhong et al., arXiv 2406.10594",
        "evaluations of NLL; attention and MLP players",
        run_greedy("nll"),
        players=("sublayers",),
        metric="nll",
    ),
    Baseline(
        "EvoPress",
        "Sieberling et al., ICML 2025, arXiv 2410.14649, algorithm 1",
        "evaluations of KL, any number",
        run_evopress("kl"),
        metric="kl",
        spends=True,
    ),
    Baseline(
        "EvoPress PPL",
        "the same with the perplexity as fitness, the other choice of its authors' code",
        "evaluations of NLL, any number",
        run_evopress("nll"),
        metric="nll",
        spends=True,
    ),
    Baseline(
        "CLP gate",
        "Lu et al., arXiv 2510.23652; the gate's form is this project's",
        "the model and its gradients; whole layers or blocks, removed side by side",
        run_clp_gate,
        passes=True,
        players=WHOLE,
        also=("clp",),
        check=check_contiguous("CLP"),
    ),
    Baseline(
        "cooperative game",
        f"Pruning as a Cooperative Game: {_COOPERATIVE}, as published",
        "evaluations of NLL, any number",
        run_cooperative_game(False),
        metric="nll",
        spends=True,
        also=("parent-paper",),
    ),
    Baseline(
        "cooperative game, tuned",
        f"Pruning as a Cooperative Game: {_COOPERATIVE}, its training tuned on held-out masks",
        "evaluations of NLL, any number",
        run_cooperative_game(True),
        metric="nll",
        spends=True,
    ),
)


def find_baselines(names: Sequence[str]) -> tuple[Baseline, ...]:
    """The methods of these names, slugs or other names, each once, in the order of the list.

    Raises:
        UserError: a name is unknown.
    """
    known = {
        word.lower(): baseline
        for baseline in BASELINES
        for word in (*baseline.also, baseline.name, baseline.slug)
    }
    for name in names:
        if name.lower() not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
            hint = f" (nearest: {known[near[0]].slug})" if near else ""
            raise UserError(
                f"--method {name}: unknown{hint}; choose all or "
                f"{', '.join(baseline.slug for baseline in BASELINES)}"
            )
    wanted = {known[name.lower()].name for name in names}
    return tuple(baseline for baseline in BASELINES if baseline.name in wanted)
