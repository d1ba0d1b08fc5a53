"""Shortened LLaMA by perplexity: one-shot scores, with the ends of the model left alone.

Source: Kim et al., "Shortened LLaMA: Depth Pruning for Large Language Models", arXiv 2402.02834:
the perplexity without each block, the first four and the last two blocks never removed. Its models
have 32 and 40 blocks. In shallower ones four and two blocks could be half of the model, so the
ends shrink with the depth: 4/32 and 2/32 of it, rounded, at least one block each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from shapley.baselines.found import Found, in_order
from shapley.baselines.method import Method, MethodContext
from shapley.game import Game

__all__ = ["METHOD", "end_players", "ends_kept", "ends_note", "shortened_ppl"]

FIRST, LAST = 4, 2
PUBLISHED_DEPTH = 32


def ends_kept(depth: int) -> tuple[int, int]:
    """Returns how many of the first and of the last layers of a model are left alone.

    Raises:
        ValueError: if the depth is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1 layer, got {depth}")
    share = min(1.0, depth / PUBLISHED_DEPTH)
    first, last = (max(1, math.floor(share * most + 0.5)) for most in (FIRST, LAST))
    return first, last


def end_players(layers: Sequence[Sequence[int]], first: int, last: int, depth: int) -> list[int]:
    """Returns the players that reach into the first or the last layers.

    Args:
        layers: those of each player.
        first: layers at the bottom that are left alone.
        last: layers at the top that are left alone.
        depth: layers of the model.
    """
    inner = range(first, depth - last)
    return [player for player, own in enumerate(layers) if any(layer not in inner for layer in own)]


def ends_note(depth: int) -> str:
    """Returns what a reader should know of the ends."""
    first, last = ends_kept(depth)
    return (
        f"the first {first} and last {last} of {depth} layers go last of all "
        "(published: 4 and 2 of 32 and 40)"
    )


def shortened_ppl(game: Game, counts: Iterable[int], ends: Sequence[int] | None = None) -> Found:
    """Returns the players whose removal alone raises the perplexity least, the ends last of all.

    Args:
        game: any utility that falls as the perplexity rises, such as minus the NLL.
        counts: numbers of players to remove. One that the players between the ends cannot
            fill takes from the ends, again those that cost least.
        ends: players left alone; the first and last ones by :func:`ends_kept` when omitted, for
            players that are whole layers.

    Returns:
        The sets; ``n`` evaluations, one game call.

    Raises:
        ValueError: if a count cannot be reached or an end does not exist.
    """
    n = len(game.players)
    if ends is None:
        first, last = ends_kept(n)
        ends = [*range(min(first, n)), *range(max(n - last, 0), n)]
    for player in ends:
        if not 0 <= player < n:
            raise ValueError(f"ends has player {player}; players are 0 to {n - 1}")
    utilities = np.asarray(game(~np.eye(n, dtype=bool)))
    late = np.isin(np.arange(n), np.asarray(ends, dtype=np.int64))
    return Found(in_order(np.lexsort((-utilities, late)), counts), n)


def run_shortened_ppl(context: MethodContext, counts: Sequence[int]) -> Found:
    """Shortened LLaMA by the NLL, for players of any kind."""
    ends = end_players(context.layers, *ends_kept(context.depth), context.depth)
    found = shortened_ppl(context.game("nll"), counts, ends)
    return replace(found, note=ends_note(context.depth))


METHOD = Method(
    name="Shortened-LLaMA PPL",
    source="Kim et al., arXiv 2402.02834",
    needs="evaluations of NLL",
    kind="selects sets",
    metric="nll",
    also=("shortened-llama",),
    price=lambda n, counts: n,
    run=run_shortened_ppl,
)
