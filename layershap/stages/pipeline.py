"""The main job: all stages of a run, one after the other, on one directory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from layershap.results.estimate import Estimate
from layershap.results.recommendations import Recommendations, VerifiedVariant
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.stages import STAGES
from layershap.runs.workspace import open_workspace
from layershap.terminal.console import Console, clock

__all__ = ["STAGES", "recommendation_table", "run"]


def run(config: RunConfig, directory: RunDirectory, console: Console, command: str) -> None:
    """Run every stage and print the recommendations.

    What an earlier, unfinished run has measured is taken from the ledger.

    Args:
        config: of the run.
        directory: where to.
        console: who tells a person.
        command: what was typed, for the report.
    """
    from layershap.runs.exportable import check_exportable, rehearse_export
    from layershap.runs.repair import check_method
    from layershap.stages import fit, measure, report, search, values, verify

    check_method(config.repair.method, "--repair-method")
    started = time.monotonic()
    names = list(STAGES)

    def announce(name: str) -> None:
        console.stage(names.index(name) + 1, len(names), name, STAGES[name])

    with open_workspace(config, directory, console) as work:
        config.at_most(len(work.players))  # refused before anything is measured
        rehearse_export(work, check_exportable(work))
        announce("measure")
        measure.measure(work)
        recorded = work.recorded

        @contextmanager
        def stage(name: str) -> Iterator[None]:
            announce(name)
            with recorded.stage(name):
                yield

        with stage("fit"):
            fitted = fit.fit(recorded, first=True)
        with stage("values"):
            values.values(recorded, fitted)
        with stage("search"):
            search.search(work, fitted)
        with stage("verify"):
            verified = verify.verify(work)
        with stage("report"):
            path = report.report(recorded, command=command, seconds=time.monotonic() - started)
        recommendation_table(console, verified)
        console.result(f"Report: {path}")
        if (best := verified.put_forward()) is not None:
            console.result(f"Export: {best.export}")
        console.say(f"done in {clock(time.monotonic() - started)}")


def recommendation_table(console: Console, verified: Recommendations) -> None:
    """Print the verified sets, one line a count.

    Args:
        console: where to.
        verified: what to print.
    """
    dense = verified.dense
    repaired = any(item.repair is not None for item in verified.recommendations)
    alike = any(item.repaired is not None for item in verified.recommendations)
    rows = []
    for item in verified.recommendations:
        rows.append(
            [
                item.names,
                _cost(item.estimate),
                *([_repaired(item)] if repaired else []),
                f"{item.perplexity:.2f}" if item.perplexity is not None else "–",
                _ratio(item, "prefill"),
                _ratio(item, "decode"),
                f"{100 * (item.parameters_saved or 0) / dense.parameters:.1f} %"
                + (f", {len(item.zeroed)} zeroed" if item.zeroed else ""),
                _beside(item, alike),
            ]
        )
    console.table(
        f"{verified.noun.capitalize()}s to remove, cost in nats per token on the held-out text "
        f"(the whole model: {dense.nll or float('nan'):.4f}, perplexity "
        f"{dense.perplexity or float('nan'):.2f})",
        [
            "remove", "cost (95 %)", *(["repaired (95 %)"] if repaired else []),
            "perplexity", "prefill", "decoding", "params saved",
            "to baseline" if alike else "best baseline",
        ],
        rows,
        spare=("perplexity", "prefill", "params saved", "decoding", "best baseline", "to baseline"),
    )  # fmt: skip


def _repaired(item: VerifiedVariant) -> str:
    return "–" if item.repair is None else _cost(item.repair.estimate)


def _beside(item: VerifiedVariant, alike: bool) -> str:
    """The best baseline's cost, or how far the set is from it once both are repaired alike."""
    if alike and item.against_best is not None:
        return f"{item.against_best.estimate.value:+.4f}"
    rival = item.cheapest_baseline
    if alike or rival is None:
        return "–"
    return f"{rival.estimate.value:+.4f}{' zeroed' if rival.zeroed else ''}"


def _cost(cost: Estimate) -> str:
    """With half of its interval, which lies even about a paired mean: two fit in one line."""
    if not cost.has_interval:
        return f"{cost.value:+.4f}"
    return f"{cost.value:+.4f} ±{(cost.upper - cost.lower) / 2:.4f}"


def _ratio(item: VerifiedVariant, name: str) -> str:
    return "–" if item.speed is None else f"{item.speed.ratio(name).value:.2f}x"
