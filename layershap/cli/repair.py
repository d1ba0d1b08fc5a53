"""`layershap repair`: what is left of a smaller model fitted to the whole one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from layershap.cli.options import check_remove, read_run, run_argument
from layershap.errors import UserError

if TYPE_CHECKING:
    from decoder.players import Roster
    from layershap.results.repairs import KeptRepair

__all__ = ["TOKENS", "repair"]

TOKENS = 16_384


@click.command()
@run_argument
@click.option("--remove", metavar="PLAYERS", help="What to leave out, as 4,6 or L4.attn.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="COUNT",
    help="Take the recommended set of this many players.",
)
@click.option(
    "--method",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto compares all methods that a stock checkpoint can hold, fast two cheap ones; a name "
    "fits one, as sequential, down_projection, rotation or scalar.",
)
@click.option(
    "--text",
    metavar="FILE",
    help="Text to fit on, not the held-out one. [default: the run's calibration text]",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=TOKENS,
    show_default=True,
    metavar="TOKENS",
    help="Tokens of it: two thirds fit, one third compares, the best is fitted again on all.",
)
@click.option(
    "--to",
    "destination",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Export the repaired checkpoint there as well; it must be new or empty.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def repair(
    run: Path,
    remove: str | None,
    count: int | None,
    method: str,
    text: str | None,
    tokens: int,
    destination: Path | None,
    as_json: bool,
) -> None:
    """Fit what is left of the model of RUN without some layers to the whole model.

    Every method is fitted on two thirds of the calibration text and compared on the other third,
    no repair among them; the best is measured on the held-out text, paired with plain deletion.
    Weights keep their shapes, so that the checkpoint stays a stock one and inference costs nothing
    more. What was fitted is kept in RUN, where `layershap export --repair` finds it.
    """
    if (remove is None) == (count is None):
        raise UserError("repair: name one of --remove, as --remove 4,6, and --count")
    config, directory = read_run(run)
    if remove is not None:
        check_remove(remove, config, directory)
    from decoder.checkpoint.saving import refuse_taken
    from layershap.results.set_text import export_command
    from layershap.runs.repair import Repairer, check_method, fitting_text
    from layershap.runs.workspace import open_workspace
    from layershap.terminal.console import Console

    check_method(method, "--method")
    if destination is not None:
        refuse_taken(destination)
    console = Console()
    with open_workspace(config, directory, console) as work:
        removed = _removed(run, remove, count, work.roster)
        _ = work.ledger  # nobody else writes in the directory meanwhile
        found = Repairer(work, method, fitting_text(work, tokens, text)).repair(removed)
        if destination is not None:
            from layershap.export.export import export_repair

            export_repair(work, found, destination)
    if as_json:
        click.echo(json.dumps(_as_json(found, destination)))
        return
    _table(console, found)
    for line in _sentences(found):
        click.echo(line)
    if destination is not None:
        what = "checkpoint without repair" if found.cost.method == "none" else "repaired checkpoint"
        click.echo(f"{destination}: the {what}, written and checked")
    elif found.stock and found.cost.method != "none":
        command = export_command(run, found.names)
        click.echo(f"Export: {command}-repaired --repair {found.asked}")


def _removed(run: Path, remove: str | None, count: int | None, roster: Roster) -> list[int]:
    from layershap.export.sources import check_removed, verified_set
    from layershap.results.frontier import OWN
    from layershap.results.recommendations import RECOMMENDATIONS
    from layershap.results.set_text import parse_set

    if remove is None:
        assert count is not None
        return list(verified_set(RECOMMENDATIONS.read(run), count, OWN, run)[0])
    removed = parse_set(remove, "--remove", roster.find)
    check_removed(removed, roster)
    return removed


def _table(console: Any, found: KeptRepair) -> None:
    console.table(
        f"Methods, fitted on {found.fitted_tokens:,} tokens and compared on "
        f"{found.compared_tokens:,} others ({found.cost.text})",
        ["method", "cost, nats/token", "seconds", "notes"],
        [
            [
                one.method,
                "–" if one.cost is None or math.isnan(one.cost) else f"{one.cost:+.4f}",
                f"{one.seconds:.1f}",
                one.notes[0][:60] if one.notes else "",
            ]
            for one in found.tried
        ],
    )


def _sentences(found: KeptRepair) -> list[str]:
    before, after, gain = found.deleted.estimate, found.cost.estimate, found.cost.gain.estimate
    if found.cost.method == "none":
        return [
            f"without {found.names}: no method is better than plain deletion, which costs "
            f"{before} nats per token on the held-out text"
        ]
    share = after.value / before.value if before.value > 0 else math.nan
    told = "" if math.isnan(share) else f", {100 * share:.0f} % of it"
    lines = [
        f"without {found.names}: {before} nats per token on the held-out text, repaired by "
        f"{found.cost.method} {after}{told}; the difference is {gain}"
    ]
    if not gain.upper < 0:
        lines.append("note: the interval of the difference holds zero, so it may have brought none")
    if not found.stock:
        lines.append(
            "note: its matrices at the cuts fit in no stock checkpoint; it is a reference, and is "
            "not exported"
        )
    return lines + [f"note: {note}" for note in found.notes]


def _as_json(found: KeptRepair, destination: Path | None) -> Any:
    from layershap.files import finite
    from layershap.results.repairs import REPAIRS, Repairs

    content = REPAIRS.to_dict(Repairs((found,)))["repairs"][0]
    return finite({**content, "exported": None if destination is None else str(destination)})
