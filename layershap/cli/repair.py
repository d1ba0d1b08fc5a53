"""`layershap repair`: what is left of a smaller model fitted to the whole one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from layershap.cli.options import check_remove, read_run, run_argument, set_options
from layershap.errors import UserError

if TYPE_CHECKING:
    from layershap.results.repairs import KeptRepair

__all__ = ["repair"]


@click.command()
@run_argument
@set_options
@click.option(
    "--method",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="auto compares all methods that a stock checkpoint can hold, fast two cheap ones; a name "
    "fits one, as sequential, down_projection, rotation or scalar.",
)
@click.option(
    "--module",
    is_flag=True,
    help="Allow matrices at the cuts, which no stock checkpoint holds and layershap.load puts "
    "there; auto then compares boundary and linear_patch too.",
)
@click.option(
    "--text",
    metavar="FILE",
    help="Text to fit on, not the held-out one. [default: the run's calibration text]",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    metavar="TOKENS",
    help="Tokens of it: two thirds fit, one third compares, the best is fitted again on all. "
    "[default: 16384]",
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
    module: bool,
    text: str | None,
    tokens: int | None,
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
    from layershap.export.repaired import TOKENS, export_repair, fit_set, refuse_matrices
    from layershap.export.sources import asked_set
    from layershap.results.set_text import export_command
    from layershap.runs.repair import check_method
    from layershap.runs.workspace import open_workspace
    from layershap.terminal.console import Console

    check_method(method, "--method")
    if destination is not None:
        refuse_taken(destination)
        if not module:
            refuse_matrices(method, "--method")
    console = Console()
    with open_workspace(config, directory, console) as work:
        removed, _ = asked_set(run, work.roster, remove, count)
        found = fit_set(work, removed, method, text=text, tokens=tokens or TOKENS, module=module)
        if destination is not None:
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
    elif found.cost.method != "none":
        command = f"{export_command(run, found.names)}-repaired --repair {found.asked}"
        click.echo(f"Export: {command}{'' if found.stock else ' --module'}")


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
            "note: its matrices at the cuts fit in no stock checkpoint, so it is not what reports "
            "show; --module writes them for layershap.load"
        )
    return lines + [f"note: {note}" for note in found.notes]


def _as_json(found: KeptRepair, destination: Path | None) -> Any:
    from layershap.files import finite
    from layershap.results.repairs import REPAIRS, Repairs

    content = REPAIRS.to_dict(Repairs((found,)))["repairs"][0]
    return finite({**content, "exported": None if destination is None else str(destination)})
