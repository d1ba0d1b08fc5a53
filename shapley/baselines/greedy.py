"""Greedy removal on the real model: always drop the player whose loss hurts least.

Three papers do it, each with a metric and players of its own:
    SLEB: Song et al., ICML 2024, arXiv 2402.09025: whole blocks, by the loss;
    FinerCut: Zhang et al., arXiv 2405.18218: attention and MLP apart, by the divergence;
    BlockPruner: Zhong et al., arXiv 2406.10594: attention and MLP apart, by the perplexity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from shapley.baselines.found import Found
from shapley.baselines.method import Method, MethodContext
from shapley.game import BudgetedGame, Game
from shapley.search.greedy import greedy_removal

__all__ = ["BLOCKPRUNER", "FINERCUT", "SLEB", "greedy", "greedy_price"]


def greedy(game: Game, counts: Iterable[int]) -> Found:
    """Returns the sets of greedy removal and how many distinct coalitions it evaluated.

    Raises:
        ValueError: if a count cannot be reached.
    """
    counted = BudgetedGame(game, None)
    found = greedy_removal(counted, counts)
    return Found({count: best.removed for count, best in found.items()}, counted.spent)


def greedy_price(n: int, counts: Sequence[int]) -> int:
    """Returns the evaluations it takes: of every player that is left, before each removal."""
    return sum(range(n - max(counts) + 1, n + 1))


def run_by(
    metric: str | None = None,
) -> Callable[[MethodContext, Sequence[int]], Found]:
    """Greedy removal by one metric; by the run's own utility when omitted."""

    def run(context: MethodContext, counts: Sequence[int]) -> Found:
        return greedy(context.game(metric or context.utility), counts)

    return run


SLEB = Method(
    name="greedy",
    source="SLEB: Song et al., ICML 2024, arXiv 2402.09025",
    needs="evaluations of the run's utility",
    kind="selects sets",
    metric="utility",
    also=("sleb",),
    default=1,
    price=greedy_price,
    run=run_by(),
)

FINERCUT = Method(
    name="FinerCut",
    source="Zhang et al., arXiv 2405.18218",
    needs="evaluations of KL; attention and MLP players",
    kind="selects sets",
    players=("sublayers",),
    metric="kl",
    price=greedy_price,
    run=run_by("kl"),
)

BLOCKPRUNER = Method(
    name="BlockPruner",
    source="Zhong et al., arXiv 2406.10594",
    needs="evaluations of NLL; attention and MLP players",
    kind="selects sets",
    players=("sublayers",),
    metric="nll",
    price=greedy_price,
    run=run_by("nll"),
)
