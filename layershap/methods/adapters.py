"""How each published method is run: from what a bench offers to the sets that it would remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from layershap.methods.protocol import BaselineResult, MethodContext
from shapley import BudgetedGame, greedy_removal
from shapley.baselines import (
    ends_kept,
    evopress,
    in_order,
    reverse_order,
    shortened_ppl,
    single_ablation,
)

__all__ = [
    "check_contiguous",
    "check_mergeable",
    "run_angular_distance",
    "run_block_influence",
    "run_clp_gate",
    "run_cooperative_game",
    "run_evopress",
    "run_greedy",
    "run_laco",
    "run_rescored_influence",
    "run_reverse_order",
    "run_shortened_ppl",
    "run_shortened_taylor",
    "run_single_ablation",
]

Run = Callable[[MethodContext, Sequence[int]], BaselineResult]
MASKS_PUBLISHED = 8000


def _measured(
    bench: MethodContext, metric: str, evaluations: float, sets: Mapping[int, tuple[int, ...]]
) -> BaselineResult:
    tokens = round(evaluations * bench.evaluation_tokens[metric])
    return BaselineResult(dict(sets), evaluations, tokens)


def run_greedy(metric: str) -> Run:
    """Greedy removal by one metric; by the run's own utility where it is ""."""

    def run(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
        name = metric or bench.utility
        game = BudgetedGame(bench.game(name), None)
        found = greedy_removal(game, counts)
        sets = {count: found[count].removed for count in counts}
        return _measured(bench, name, game.spent, sets)

    return run


def run_single_ablation(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """Single ablation by the run's utility."""
    found = single_ablation(bench.game(bench.utility), counts)
    return _measured(bench, bench.utility, found.evaluations, found.sets)


def run_reverse_order(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """The deepest players before the last."""
    return BaselineResult(reverse_order(bench.players, counts).sets, 0, 0)


def run_block_influence(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """ShortGPT: the lowest scores, one shot."""
    from decoder.baselines import block_influence

    scores, spend = block_influence(bench.model(), bench.tokens, bench.roster)
    return BaselineResult(in_order(np.argsort(scores, kind="stable"), counts), 0, spend.tokens)


def run_rescored_influence(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """Block Influence, anew after each removal."""
    from decoder.baselines import rescored_influence

    sets, spend = rescored_influence(bench.model(), bench.tokens, bench.roster, counts)
    return BaselineResult(sets, 0, spend.tokens)


def run_angular_distance(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """The adjacent players whose ends are most alike."""
    from decoder.baselines import angular_blocks

    sets, spend = angular_blocks(bench.model(), bench.tokens, bench.roster, counts)
    return BaselineResult(sets, 0, spend.tokens)


def run_shortened_ppl(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """Shortened-LLaMA by perplexity."""
    first, last = ends_kept(bench.roster.depth)
    inner = range(first, bench.roster.depth - last)
    ends = [
        slot.player
        for slot in bench.roster.slots
        if slot.player is not None and any(unit.layer not in inner for unit in slot.units)
    ]
    found = shortened_ppl(bench.game("nll"), counts, ends)
    return replace(_measured(bench, "nll", found.evaluations, found.sets), note=_ends(bench))


def run_shortened_taylor(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """Shortened-LLaMA by Taylor scores."""
    from decoder.baselines import taylor_removed, taylor_scores

    scores, spend = taylor_scores(bench.model(), bench.tokens, bench.roster)
    first, last = ends_kept(bench.roster.depth)
    sets = taylor_removed(scores, bench.roster, counts, first=first, last=last)
    return BaselineResult(sets, 0, spend.tokens, note=_ends(bench))


def _ends(bench: MethodContext) -> str:
    first, last = ends_kept(bench.roster.depth)
    return (
        f"the first {first} and last {last} of {bench.roster.depth} layers go last of all "
        "(published: 4 and 2 of 32 and 40)"
    )


def run_laco(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """LaCo: layers merged into earlier ones."""
    from decoder.baselines import laco_merges

    found, spend = laco_merges(bench.model(), bench.tokens, bench.roster, counts)
    return BaselineResult(
        {count: merged.removed for count, merged in found.items()},
        0,
        spend.tokens,
        merges={count: merged.merges for count, merged in found.items()},
        note="removed layers are merged into others, not dropped",
    )


def check_mergeable(bench: MethodContext, counts: Sequence[int]) -> None:
    """Raises UnsupportedModel, a ValueError, where layers cannot be added to each other."""
    from decoder import find_stack
    from decoder.surgery.merge import check_alike

    model = bench.model()
    check_alike(model, find_stack(model))


def check_contiguous(method: str) -> Callable[[MethodContext, Sequence[int]], None]:
    """A check that there are so many players side by side."""

    def check(bench: MethodContext, counts: Sequence[int]) -> None:
        from decoder.baselines.arguments import segments

        for count in counts:
            segments(bench.roster, count, method)

    return check


def run_evopress(metric: str) -> Run:
    """EvoPress with all of the budget, by one metric."""

    def run(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
        # Fewer evaluations than counts would leave a count without a single set to compare.
        budget = max(bench.budget, len(counts))
        game = bench.parts(metric)
        found = evopress(game, counts, bench.seed, budget)
        note = f"a share of the text is whole sequences, at least 1 of {game.parts}"
        return replace(_measured(bench, metric, found.evaluations, found.sets), note=note)

    return run


def run_clp_gate(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
    """The segment under CLP's gate."""
    from decoder.baselines import clp_segments

    sets, spend = clp_segments(bench.model(), bench.tokens, bench.roster, counts, seed=bench.seed)
    return BaselineResult(sets, 0, spend.tokens)


def run_cooperative_game(tuned: bool) -> Run:
    """The paper that this project grows from, as published or with its training tuned."""

    def run(bench: MethodContext, counts: Sequence[int]) -> BaselineResult:
        from surrogate.baselines.cooperative_game import cooperative_game

        budget = min(bench.budget, MASKS_PUBLISHED + 1)
        found = cooperative_game(bench.game("nll"), counts, budget, bench.seed, tuned=tuned)
        note = f"{round(found.evaluations) - 1:,} masks (published: {MASKS_PUBLISHED:,})"
        return replace(_measured(bench, "nll", found.evaluations, found.sets), note=note)

    return run
