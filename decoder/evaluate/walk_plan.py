"""How to walk: depth first or breadth first, how much at once, within a bound on memory.

Everything is counted in bytes from what was measured on the model itself: the state of one token,
the peak of one layer's call a token, the work space of the head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from decoder.errors import ModelError

__all__ = ["Needs", "WalkChoice", "WalkPlan", "make_plan", "shrunk"]

WalkChoice = Literal["auto", "depth", "breadth"]
_USUAL_TOKENS = {"cpu": 2048, "cuda": 16384}
_STACK_BELOW = {"cpu": 256, "cuda": 4096}  # tokens at which one prefix alone keeps a device busy
# A CPU's products of fewer rows take other ways than those of many: the last bits of a result
# would depend on what it is stacked with, and a resumed run would differ from an undisturbed one.
_STACK_FROM = {"cpu": 32, "cuda": 1}
_MARGIN = 0.05  # of the bound, for what no count sees
GIB = 2**30


@dataclass(frozen=True)
class Needs:
    """What measuring takes, in bytes.

    Attributes:
        state: hidden states of one token between two steps.
        layer: most that one layer's call holds for one token, its result included.
        head: most that scoring holds for one token, its chunk of logits apart.
        held: what is kept of each token for the whole measurement (embeddings, dense reference).
        fixed: in use before anything is measured, weights included, and one layer's weights
            where they are brought in.
        tokens: of all rows.
        row: of the longest row.
        steps: steps of the walk.
        streamed: whether layers are brought in one at a time.
    """

    state: int
    layer: int
    head: int
    held: int
    fixed: int
    tokens: int
    row: int
    steps: int
    streamed: bool


@dataclass(frozen=True)
class WalkPlan:
    """How a model is walked.

    Attributes:
        breadth: whether chunks of coalitions go through a layer together.
        tokens_a_batch: tokens of one coalition that go through a layer at once.
        stack: prefixes that go through a layer at once.
        chunk: coalitions a chunk.
        carry: whether a chunk hands the path of its last coalition to the next one.
    """

    breadth: bool
    tokens_a_batch: int
    stack: int = 1
    chunk: int = 1
    carry: bool = True


def make_plan(
    needs: Needs,
    bound: int,
    device: str,
    *,
    walk: WalkChoice = "auto",
    micro_batch: int | None = None,
) -> WalkPlan:
    """The fastest plan that stays within the bound.

    Args:
        needs: measured needs.
        bound: most bytes in all.
        device: "cpu" or "cuda".
        walk: the user's choice; a model whose layers are brought in is always walked breadth
            first, a chunk of coalitions for each time that its weights are.
        micro_batch: tokens that go through a layer at once; default by device.

    Raises:
        ModelError: not even one row at a time fits.
    """
    most = micro_batch or _USUAL_TOKENS.get(device, 2048)
    room = int(bound * (1 - _MARGIN)) - needs.fixed - needs.held * needs.tokens
    few = _STACK_FROM.get(device, 32) <= needs.tokens < _STACK_BELOW.get(device, 256)
    deep = _depth_plan(needs, room, most)
    wide = _breadth_plan(needs, room, most)
    if needs.streamed or walk == "breadth":
        chosen = wide
    elif walk == "depth":
        chosen = deep
    else:
        chosen = wide or deep if few else deep or wide
    if chosen is None:
        least = needs.fixed + needs.held * needs.tokens + _least(needs)
        raise ModelError(
            f"--memory {bound / GIB:.2g}: too little for a single layer, which needs about "
            f"{least / (1 - _MARGIN) / GIB:.2f} GiB here; allow more, or measure on fewer or "
            "shorter sequences"
        )
    return chosen


def shrunk(plan: WalkPlan, row: int) -> WalkPlan | None:
    """The plan with half the memory, after an allocation failed; None where nothing is left."""
    if plan.stack > 1:
        return replace(plan, stack=plan.stack // 2)
    if plan.chunk > 1:
        return replace(plan, chunk=plan.chunk // 2, carry=False)
    if plan.tokens_a_batch > row:
        return replace(plan, tokens_a_batch=max(row, plan.tokens_a_batch // 2))
    return None


def _depth_plan(needs: Needs, room: int, most: int) -> WalkPlan | None:
    each = (needs.steps + 1) * needs.state + max(needs.layer, needs.head)
    tokens = min(most, room // max(each, 1))
    return None if tokens < needs.row else WalkPlan(False, tokens)


def _breadth_plan(needs: Needs, room: int, most: int) -> WalkPlan | None:
    """Chunks of as many coalitions as fit, over all rows at once; None where not one does."""
    busy = max(needs.layer, needs.head)
    batch = max(needs.row, min(most, (room // 2) // max(busy, 1)))
    free = room - batch * busy
    each = needs.tokens * needs.state
    chunk = free // max(each, 1) - 1
    if chunk < 1:
        return None
    stack = max(1, batch // max(needs.tokens, 1))
    path = needs.steps + 1
    carry = chunk >= 4 * path
    return WalkPlan(True, batch, stack, chunk - path if carry else chunk, carry)


def _least(needs: Needs) -> int:
    """One row depth first, or two coalitions of all rows where layers are brought in."""
    busy = needs.row * max(needs.layer, needs.head)
    if needs.streamed:
        return busy + 2 * needs.tokens * needs.state
    return busy + min((needs.steps + 1) * needs.row * needs.state, 2 * needs.tokens * needs.state)
