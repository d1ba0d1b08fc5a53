"""The main job: all stages of a run, one after the other, on one directory."""

from __future__ import annotations

import time
from typing import Any

from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.stages import STAGES
from layershap.runs.workspace import open_workspace
from layershap.terminal.console import Console, clock

__all__ = ["STAGES", "recommendation_table", "run"]


def run(config: RunConfig, directory: RunDirectory, console: Console, command: str) -> None:
    """Run every stage and print the recommendations.

    What an earlier, unfinished run has measured is taken from the ledger.
    """
    from layershap.stages import fit, measure, report, search, values, verify

    started = time.monotonic()
    names = list(STAGES)

    def announce(name: str) -> None:
        console.stage(names.index(name) + 1, len(names), name, STAGES[name])

    with open_workspace(config, directory, console) as work:
        announce("measure")
        measure.measure(work)
        announce("fit")
        fitted = fit.fit(work)
        announce("values")
        values.values(work, fitted)
        announce("search")
        search.search(work, fitted)
        announce("verify")
        content = verify.verify(work)
        announce("report")
        path = report.report(work, command=command, seconds=time.monotonic() - started)
        recommendation_table(console, content)
        console.result(f"Report: {path}")
        console.result(f"Export: {content['recommendations'][0]['export']}")
        console.say(f"done in {clock(time.monotonic() - started)}")


def recommendation_table(console: Console, content: dict[str, Any]) -> None:
    """Print the verified sets, one line a count."""
    dense = content["dense"]
    rows = []
    for item in content["recommendations"]:
        rivals = [b["difference"] for b in item["baselines"] if b["difference"] is not None]
        rows.append(
            [
                item["names"],
                _interval(item),
                f"{item['perplexity']:.2f}",
                _ratio(item, "prefill_ratio"),
                _ratio(item, "decode_ratio"),
                f"{100 * item['parameters_saved'] / dense['parameters']:.1f} %",
                f"{min(rivals):+.4f}" if rivals else "–",
            ]
        )
    console.table(
        f"{content['noun'].capitalize()}s to remove (held-out NLL of the whole model "
        f"{dense['nll']:.4f} nats per token, perplexity {dense['perplexity']:.2f})",
        [
            "remove", "cost, nats/token (95 %)", "perplexity", "prefill", "decoding",
            "params saved", "best baseline",
        ],
        rows,
    )  # fmt: skip


def _interval(item: dict[str, Any]) -> str:
    if item["difference_lower"] is None:
        return f"{item['difference']:+.4f}"
    return (
        f"{item['difference']:+.4f} ({item['difference_lower']:+.4f} to "
        f"{item['difference_upper']:+.4f})"
    )


def _ratio(item: dict[str, Any], name: str) -> str:
    return f"{item['speed'][name][1]:.2f}x" if "speed" in item else "–"
