"""Plans stay within their bound by their own count, and say so when nothing does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder.errors import ModelError
from decoder.evaluate.walk_plan import GIB, Needs, WalkPlan, make_plan, shrunk

NEEDS = Needs(
    state=4096,
    layer=60_000,
    head=9_000,
    held=8_200,
    fixed=GIB,
    tokens=8192,
    row=256,
    steps=32,
    streamed=False,
)


def bytes_of(needs, plan):
    """Peak of a plan, counted anew: what is held, states, and one call's work."""
    held = needs.fixed + needs.held * needs.tokens
    if not plan.breadth:
        batch = plan.tokens_a_batch
        return held + batch * ((needs.steps + 1) * needs.state + max(needs.layer, needs.head))
    batch = min(plan.tokens_a_batch, needs.tokens) * plan.stack
    states = plan.chunk + 1 + (needs.steps + 1 if plan.carry else 0)
    return held + states * needs.tokens * needs.state + batch * max(needs.layer, needs.head)


@settings(deadline=None)
@given(
    st.integers(1, 40).map(lambda gib: gib * GIB // 4),
    st.sampled_from(["auto", "depth", "breadth"]),
    st.booleans(),
    st.integers(1, 64),
    st.integers(64, 8192),
    st.sampled_from(["cpu", "cuda"]),
)
def test_a_plan_stays_within_its_bound(bound, walk, streamed, steps, tokens, device):
    needs = Needs(
        **{
            **vars(NEEDS),
            "fixed": GIB // 8,
            "steps": steps,
            "tokens": tokens,
            "row": min(tokens, 256),
            "streamed": streamed,
        }
    )
    try:
        plan = make_plan(needs, bound, device, walk=walk)
    except ModelError:
        return
    assert bytes_of(needs, plan) <= bound
    assert plan.tokens_a_batch >= needs.row
    assert min(plan.stack, plan.chunk) >= 1
    assert plan.breadth or not streamed
    assert walk == "auto" or streamed or plan.breadth == (walk == "breadth")


def test_short_texts_are_walked_breadth_first_with_stacked_prefixes():
    short = Needs(**{**vars(NEEDS), "tokens": 64, "row": 64})
    plan = make_plan(short, 8 * GIB, "cpu")
    assert plan == WalkPlan(True, 2048, stack=2048 // 64, chunk=plan.chunk)
    assert not make_plan(NEEDS, 8 * GIB, "cpu").breadth
    tiny = Needs(**{**vars(NEEDS), "tokens": 16, "row": 16})
    assert not make_plan(tiny, 8 * GIB, "cpu").breadth, "too few rows for equal bits"
    assert make_plan(short, 8 * GIB, "cpu", walk="depth") == WalkPlan(False, 2048)


def test_the_micro_batch_is_the_users():
    assert make_plan(NEEDS, 8 * GIB, "cpu", micro_batch=512).tokens_a_batch == 512
    assert make_plan(NEEDS, 8 * GIB, "cuda").tokens_a_batch == 16384


def test_less_memory_means_smaller_batches():
    sizes = [make_plan(NEEDS, int(gib * GIB), "cuda").tokens_a_batch for gib in (1.3, 2, 3, 8)]
    assert sizes == sorted(set(sizes))


def test_too_little_memory_says_how_much_is_needed():
    with pytest.raises(
        ModelError, match=r"--memory 1: too little for a single layer.* 1\.\d\d GiB"
    ):
        make_plan(NEEDS, GIB, "cpu")


def test_shrinking_ends():
    plan = WalkPlan(True, 4096, stack=8, chunk=37)
    seen = []
    while plan is not None:
        seen.append(plan)
        plan = shrunk(plan, row=256)
    assert seen[-1] == WalkPlan(True, 256, stack=1, chunk=1, carry=False)
    assert len(set(seen)) == len(seen)
