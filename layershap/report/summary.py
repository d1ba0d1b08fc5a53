"""The three sentences at the top, the set put forward, and the warnings that matter."""

from __future__ import annotations

import math

from layershap.report.data import Ranking, Report
from layershap.report.sets import BaselineSet, Recommendation
from layershap.report.wording import (
    count,
    fixed,
    interval,
    joined,
    percent,
    ratio,
    share,
    signed,
)
from layershap.results.estimate import Estimate
from layershap.results.perplexity import rise

__all__ = [
    "best_rival",
    "finding_sentence",
    "headline",
    "question_sentence",
    "ranking",
    "recommended",
    "warnings",
    "why",
    "within",
]

FEW_TOKENS = 10_000
"""Below this, which layers look unimportant depends on the text more than on the model."""
LOW_R2 = 0.8
FEW_PLAYERS = 3
"""Whose place in the ranking is told where the set put forward is smaller."""


def within(report: Report, item: Recommendation) -> bool:
    """Whether a set keeps perplexity inside the tolerance, upper end of its interval included."""
    edge = item.delivered.high
    return math.isfinite(edge) and rise(edge) <= report.tolerance


def headline(report: Report) -> Recommendation | None:
    """Returns the set to put forward.

    It is the chosen one, else the largest inside the tolerance, else the smallest one.
    """
    items = report.recommendations
    if report.chosen is not None:
        return next(item for item in items if item.size == report.chosen)
    items = tuple(item for item in items if item.parameters_saved) or items
    inside = [item for item in items if within(report, item)]
    return inside[-1] if inside else (items[0] if items else None)


def best_rival(item: Recommendation) -> BaselineSet | None:
    """Returns the published heuristic that costs least at this size."""
    measured = [rival for rival in item.rivals if math.isfinite(rival.compared.value)]
    return min(measured, key=lambda rival: rival.compared.value, default=None)


def question_sentence(report: Report) -> str:
    """Returns what the run was for."""
    n, noun = len(report.players), report.player_noun
    return (
        f"Which of the {n} {noun}s of {report.model} can be deleted together, and what does that"
        f" cost? {count(report.spent)} of at most {count(report.budget)} combinations of {noun}s"
        f" were measured on {count(report.calibration.tokens)} tokens of"
        f" {report.calibration.name}."
    )


def finding_sentence(report: Report) -> str:
    """Returns what the set put forward costs and brings."""
    item = headline(report)
    if report.pending is not None:
        return report.pending.finding
    if item is None or report.dense is None or report.held_out is None:
        return "No set of " + report.player_noun + "s was verified, so there is nothing to compare."
    names = joined([report.players[player] for player in item.removed])
    saved = share(item.parameters_saved / max(1, report.dense.parameters), 0)
    cost = item.delivered
    value, repair = cost.value, ""
    if item.repaired is not None and item.repair != "none":
        repair = (
            " That is once what is left is fitted to the whole model (--repair); without, it is"
            f" {signed(item.difference.value)}."
        )
    before, after = math.exp(report.dense.nll), math.exp(report.dense.nll + value)
    return (
        f"Removing {item.size} of {len(report.players)} {report.player_noun}s ({names})"
        f" saves {saved} of the parameters{_pace(item.decoding)}. On"
        f" {count(report.held_out.tokens)} tokens of {report.held_out.name}, which the search never"
        f" saw, perplexity goes from {fixed(before)} to {fixed(after)} ({percent(rise(value))}):"
        f" {signed(value)} nats per token{_bracket(cost)}.{repair}"
    )


def _pace(decoding: Estimate | None) -> str:
    """Says how much faster text is generated, or that this could not be told."""
    if decoding is None:
        return ""
    if decoding.has_interval and decoding.lower <= 1 <= decoding.upper:
        ends = interval(decoding, 2, sign=False)
        return f"; decoding was timed at {ratio(decoding)} ({ends}), not surely another speed"
    return f" and makes decoding {ratio(decoding)} as fast"


def _bracket(estimate: Estimate) -> str:
    ends = interval(estimate)
    return f" (95 % interval {ends})" if ends else ""


def recommended(report: Report) -> str:
    """Returns what to do, and how it compares with the published heuristics."""
    item = headline(report)
    if report.pending is not None:
        return report.pending.advice
    if item is None:
        return "Raise the budget and run again."
    limit = f"{share(report.tolerance, 0)}"
    if within(report, item):
        largest = report.chosen is None and item is not report.recommendations[-1]
        advice = (
            f"Export this set: it {'is the largest that ' if largest else ''}keeps perplexity"
            f" within {limit} of the whole model"
            f"{', its interval included' if item.delivered.has_interval else ''}."
        )
    else:
        advice = (
            f"Do not prune without retraining: this set does not keep perplexity within {limit}"
            " of the whole model."
        )
    rival = best_rival(item)
    if rival is None:
        return advice
    gap = rival.compared.value - item.compared.value
    if abs(gap) < 5e-4:
        verdict = f"The best published heuristic, {rival.method}, does as well at this size."
    elif gap > 0:
        verdict = (
            f"The best published heuristic at this size, {rival.method}, costs"
            f" {fixed(gap, 3)} nats per token more{_against(item, rival)}."
        )
    else:
        verdict = (
            f"At this size {rival.method} costs {fixed(-gap, 3)} nats per token"
            f" less{_against(item, rival)}; consider its set"
            f" ({joined([report.players[player] for player in rival.removed])})."
        )
    return f"{advice} {verdict}"


def _against(item: Recommendation, rival: BaselineSet) -> str:
    """Says how sure the difference from the best heuristic is."""
    against = item.against
    if against is None or against.method != rival.method or not against.difference.has_interval:
        return ""
    found = against.difference
    ends = sorted((abs(found.lower), abs(found.upper)))
    if found.lower <= 0 <= found.upper:
        return ", which its 95 % interval does not tell from none"
    return f" (95 % interval {fixed(ends[0], 3)} to {fixed(ends[1], 3)})"


def why(report: Report) -> str:
    """Returns why the set put forward is this one, beside the least values; may be empty."""
    item = headline(report)
    return item.why if item is not None and report.pending is None else ""


def ranking(report: Report) -> Ranking | None:
    """Returns how sure the ranking is, of as many players as the set put forward has, or a few."""
    item = headline(report)
    size = max(FEW_PLAYERS, item.size if item else 0)
    return min(report.rankings, key=lambda found: (abs(found.k - size), found.k), default=None)


def warnings(report: Report) -> list[str]:
    """Returns the warnings that matter: the pipeline's own, then what the numbers show."""
    found = list(report.warnings)
    if report.excluded:
        found.append(
            f"{count(report.excluded)} measured combinations had no finite utility and were left"
            " out of every estimate."
        )
    for text, use in ((report.calibration, "calibration"), (report.held_out, "held-out")):
        if text is not None and text.tokens < FEW_TOKENS:
            found.append(
                f"The {use} text is small ({count(text.tokens)} tokens); with fewer than"
                f" {count(FEW_TOKENS)} the ranking may follow the text more than the model."
            )
    found.extend(_about_the_surrogate(report))
    item = headline(report)
    if item is not None:
        width = item.delivered.upper - item.delivered.lower
        if not item.delivered.has_interval:
            found.append("The set put forward has no interval: its cost is a point estimate.")
        elif width > max(0.05, abs(item.delivered.value)):
            found.append(
                f"The cost of the set put forward is known only to within {fixed(width, 3)} nats"
                " per token; a longer held-out text narrows it."
            )
    for item in report.recommendations:
        names = joined([report.players[player] for player in item.removed])
        found.extend(f"Without {names} {warning}." for warning in item.warnings)
    losses = [
        (item, rival)
        for item in report.recommendations
        if (rival := best_rival(item)) is not None
        and rival.compared.value < item.compared.value - 5e-4
    ]
    if losses:
        cases = joined([f"{item.size} removed ({rival.method})" for item, rival in losses])
        found.append(f"A published heuristic found a cheaper set at {cases}.")
    return found


def _about_the_surrogate(report: Report) -> list[str]:
    fit = report.surrogate
    if fit is None or not fit.scores:
        return []
    found = []
    overall = [score for score in fit.scores if score.removed is None]
    if overall:
        own = overall[0]
        if fit.near is None and own.r2 is not None and own.r2 < LOW_R2:
            found.append(
                f"The surrogate explains only {fixed(own.r2)} of the held-out variance (R²);"
                " values that rest on it deserve caution. Raise the budget."
            )
        better = [
            x for x in overall[1:] if x.r2 is not None and own.r2 is not None and x.r2 > own.r2
        ]
        if better:
            found.append(
                f"On held-out combinations {joined([x.learner for x in better])} predicted better"
                " than the surrogate."
            )
    if fit.coverage is not None and fit.coverage < fit.level - 0.1:
        found.append(
            f"The surrogate's {share(fit.level, 0)} intervals held only"
            f" {share(fit.coverage, 0)} of the held-out utilities."
        )
    return found
