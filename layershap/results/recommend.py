"""One verified set that keeps to given limits, and the reason for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from layershap.errors import UserError
from layershap.results.frontier import WHOLE, FrontierPoint, non_dominated
from layershap.results.limits import Limits, Rule, gibibytes, loss_text, rules, surely, times

__all__ = ["Answer", "recommend"]

LOSS = ("--max-loss", "--max-perplexity-ratio")


@dataclass(frozen=True)
class Answer:
    """The set that is recommended.

    Attributes:
        point: the set.
        reason: why this one, in a sentence or two.
        notes: what else a person should know, a sentence each.
    """

    point: FrontierPoint
    reason: str
    notes: tuple[str, ...] = ()


def recommend(points: Sequence[FrontierPoint], limits: Limits, noun: str = "layer") -> Answer:
    """The best verified set within the limits.

    With a limit of the cost alone, the fastest set (the smallest where no speed was measured) that
    keeps to it; with any other limit, the set of least cost that keeps to all. Of equally good sets
    the run's own is taken; a baseline's where it is better, and the reason says so.

    Args:
        points: verified sets, as `layershap.results.frontier.points` returns them.
        limits: at least one.
        noun: what a player is called.

    Raises:
        UserError: no limit is given, one cannot be told from what was measured, or no set keeps to
            them (the message names the nearest).
    """
    whole = next(point for point in points if point.method == WHOLE)
    sets = [point for point in points if point.parameters < whole.parameters]
    if not sets:
        raise UserError(
            "recommend: no set that saves parameters was verified; run layershap verify again"
            if len(points) == 1
            else "recommend: every verified set zeroes halves of layers and saves nothing; search "
            "again without --zero-halves"
        )
    asked = rules(limits, sets)
    if not asked:
        raise UserError(
            "recommend: names no limit; give --max-loss, --max-perplexity-ratio, --min-speedup, "
            "--min-prefill-speedup, --max-params or --max-memory"
        )
    within = [point for point in sets if _kept(point, asked)]
    if not within:
        raise UserError(_unreached(sets, asked))
    goals = [rule for rule in asked if rule.option not in LOSS]
    if goals:
        best = min(within, key=lambda p: (p.loss.value, p.parameters, not p.own))
        reason = _least(best, limits, noun)
    else:
        axis = "decode" if all(point.measured for point in sets) else "parameters"
        ahead = non_dominated(within, axis)
        best = max(ahead, key=lambda p: (_gain(p, axis), -p.parameters, -p.loss.value, p.own))
        reason = _furthest(best, sets, limits, noun, axis)
    notes = _about_method(best, within, sets)
    if best.deleted is not None:
        notes.append(
            "Costs are those once repaired, by one fit a cut and alike for all sets; without "
            f"repair this set costs {loss_text(best, best.deleted)}."
        )
    if best.merged:
        notes.append("Its layers are merged into earlier ones, not dropped.")
    if goals and _kept(whole, goals):
        notes.append("The whole model keeps to these limits already.")
    return Answer(best, reason, tuple(notes))


def _kept(point: FrontierPoint, asked: Sequence[Rule]) -> bool:
    return all(rule.miss(point) <= 0 for rule in asked)


def _unreached(sets: Sequence[FrontierPoint], asked: Sequence[Rule]) -> str:
    """One line: the limit that no set keeps to, or that none keeps together, and the nearest."""
    for rule in asked:
        if all(rule.miss(point) > 0 for point in sets):
            near = min(sets, key=lambda p: (rule.miss(p), p.loss.value, not p.own))
            if math.isinf(rule.miss(near)):
                return (
                    f"{rule.failure} for sure: no set has an interval; verify on more sequences "
                    "and rounds, or leave out --sure"
                )
            shown = f"{near.names}{_whose(near)} with {rule.shown(near)}"
            return f"{rule.failure}; the nearest is {shown}"

    # Each is reached by some set; the nearest misses fewest limits.
    def missed(point: FrontierPoint) -> list[Rule]:
        return [rule for rule in asked if rule.miss(point) > 0]

    near = min(sets, key=lambda p: (len(missed(p)), sum(max(r.miss(p), 0) for r in asked)))
    shown = " and ".join(rule.shown(near) for rule in missed(near))
    options = " and ".join(rule.option for rule in asked)
    return (
        f"{options}: no verified set keeps to all of them; the nearest is {near.names}"
        f"{_whose(near)} with {shown}; loosen {missed(near)[0].option}"
    )


def _furthest(
    best: FrontierPoint, sets: Sequence[FrontierPoint], limits: Limits, noun: str, axis: str
) -> str:
    what = "fastest" if axis == "decode" else "smallest"
    edge = "even the upper end of its interval" if limits.sure else f"its cost of {loss_text(best)}"
    held = f"{edge} stays within {limits.loss:.4g} nats per token"
    if limits.sure:
        held = f"its cost is {loss_text(best)}, and {held}"
    text = f"{what} verified set within the limit: {held}{_gains(best)}."
    larger = [p for p in sets if p.count > best.count]
    if larger:
        size = min(p.count for p in larger)
        nearest = min((p for p in larger if p.count == size), key=lambda p: p.loss.value)
        cost = f"the best of {size} {noun}s costs {loss_text(nearest)}"
        edge = surely(nearest.loss, upper=True) if limits.sure else nearest.loss.value
        text += f" {cost[0].upper()}{cost[1:]}" + (
            "." if edge > limits.loss else ", and is no faster."
        )
    else:
        text += f" Nothing larger than {best.count} {noun}s was verified."
    return text


def _least(best: FrontierPoint, limits: Limits, noun: str) -> str:
    wanted = []
    if limits.min_speedup is not None and best.decode is not None:
        wanted.append(f"decodes {times(best.decode)} as fast (wanted {limits.min_speedup:g}x)")
    if limits.min_prefill_speedup is not None and best.prefill is not None:
        wanted.append(
            f"reads prompts {times(best.prefill)} as fast (wanted {limits.min_prefill_speedup:g}x)"
        )
    if limits.max_params is not None:
        wanted.append(f"has {best.parameters:,} parameters (at most {limits.max_params:,.0f})")
    if limits.max_memory is not None:
        wanted.append(f"needs {gibibytes(best)} GiB (at most {limits.max_memory:g})")
    bound = "" if limits.loss == math.inf else f", within {limits.loss:.4g}"
    size = f"{best.count} {noun}{'s' if best.count > 1 else ''}"
    return (
        f"least cost of the verified sets that reach it: {loss_text(best)} nats per token{bound}; "
        f"with {size} removed it {' and '.join(wanted)}."
    )


def _about_method(
    best: FrontierPoint, within: Sequence[FrontierPoint], sets: Sequence[FrontierPoint]
) -> list[str]:
    if best.own:
        return []
    for own in sets:
        if own.own and own.loss.value < best.loss.value and _as_fast(own, best):
            return [
                f"This is the set of {best.method}, not of the search: the search's {own.names} is "
                f"as large and costs less, {loss_text(own)}; that it was timed slower is within "
                "the noise, so time both again before deciding."
            ]
    rival = min(
        (p for p in within if p.own),
        key=lambda p: (abs(p.count - best.count), p.loss.value),
        default=None,
    )
    beside = (
        "no set of the search keeps to the limits"
        if rival is None
        else f"the nearest set of the search, {rival.names}, costs {loss_text(rival)}"
    )
    return [f"This is the set of {best.method}, not of the search: {beside}."]


def _as_fast(own: FrontierPoint, best: FrontierPoint) -> bool:
    """Whether two models of one size were timed within each other's intervals."""
    pairs = ((own.decode, best.decode), (own.prefill, best.prefill))
    return own.parameters == best.parameters and all(
        a is not None and b is not None and a.high >= b.low and b.high >= a.low for a, b in pairs
    )


def _gain(point: FrontierPoint, axis: str) -> float:
    if axis == "decode" and point.decode is not None:
        return point.decode.value
    return -point.parameters


def _gains(best: FrontierPoint) -> str:
    share = f"{100 * (1 - best.parameter_share):.1f} % of the parameters go"
    return f", {share}" if best.decode is None else f"; decoding {times(best.decode)}, {share}"


def _whose(point: FrontierPoint) -> str:
    return "" if point.own else f" of {point.method}"
