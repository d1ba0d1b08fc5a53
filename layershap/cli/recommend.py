"""`layershap recommend`: one verified set within limits, and the reason."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from layershap.cli.options import read_run, run_argument
from layershap.errors import UserError
from layershap.results.numbers import parse_size

if TYPE_CHECKING:
    from layershap.results.estimate import Estimate
    from layershap.results.frontier import FrontierPoint
    from layershap.results.paired_results import RepairedCost
    from layershap.results.recommend import Answer
    from layershap.results.why_set import SetReason

__all__ = ["recommend"]


class _Above(click.ParamType):
    """A finite number above a bound; with `sizes`, 6e9, 6B or 500M."""

    name = "number"

    def __init__(self, least: float, *, closed: bool = False, sizes: bool = False) -> None:
        self.least, self.closed, self.sizes = least, closed, sizes

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        option = param.opts[0] if param else ""
        try:
            number = parse_size(str(value)) if self.sizes else float(value)
        except ValueError as error:
            rule = str(error) if self.sizes else "must be a number"
            raise UserError(f"{option} {value}: {rule}") from None
        if not math.isfinite(number) or number < self.least or (
            number == self.least and not self.closed
        ):  # fmt: skip
            rule = "at least" if self.closed else "above"
            raise UserError(f"{option} {value}: must be {rule} {self.least:g}")
        return number


@click.command()
@run_argument
@click.option(
    "--max-loss",
    type=_Above(0, closed=True),
    metavar="NATS",
    help="Most that it may cost: held-out nats per token above the whole model; alone, the"
    " fastest set within it.",
)
@click.option(
    "--max-perplexity-ratio",
    type=_Above(1, closed=True),
    metavar="X",
    help="The same as a ratio of perplexities, as 1.05.",
)
@click.option(
    "--min-speedup", type=_Above(0), metavar="X", help="Least measured speed-up of decoding."
)
@click.option(
    "--min-prefill-speedup",
    type=_Above(0),
    metavar="X",
    help="Least measured speed-up of reading a prompt.",
)
@click.option(
    "--max-params",
    type=_Above(0, sizes=True),
    metavar="PARAMETERS",
    help="Most parameters that remain, as 6e9, 6B or 500M.",
)
@click.option(
    "--max-memory",
    type=_Above(0),
    metavar="GIB",
    help="Most measured peak memory of the model at work.",
)
@click.option(
    "--sure",
    is_flag=True,
    help="Cost and speed keep to the limits at the far end of their 95 % intervals, too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recommend(
    run: Path,
    max_loss: float | None,
    max_perplexity_ratio: float | None,
    min_speedup: float | None,
    min_prefill_speedup: float | None,
    max_params: float | None,
    max_memory: float | None,
    sure: bool,
    as_json: bool,
) -> None:
    """Name the one verified set of RUN that keeps to the limits best, and say why.

    With a limit of the cost alone it is the fastest set within it; otherwise the set of least cost
    that keeps to all limits. Baselines' sets take part and are named as such.
    """
    from layershap.results.frontier import points
    from layershap.results.limits import Limits
    from layershap.results.recommend import recommend as choose
    from layershap.results.recommendations import RECOMMENDATIONS
    from layershap.results.set_text import export_command, export_method_command
    from layershap.stages.told_values import set_reason

    config, directory = read_run(run)
    verified = RECOMMENDATIONS.read(directory.path)
    limits = Limits(
        max_loss=max_loss,
        max_perplexity_ratio=max_perplexity_ratio,
        min_speedup=min_speedup,
        min_prefill_speedup=min_prefill_speedup,
        max_params=max_params,
        max_memory=max_memory,
        sure=sure,
    )
    answer = choose(points(verified), limits, config.noun)
    point = answer.point
    if point.merged:
        command = export_method_command(run, point.count, point.method)
    else:
        command = export_command(run, point.names)
    warnings = next(
        (
            item.warnings
            for item in verified.recommendations
            if item.removed == point.removed and not point.merged
        ),
        (),
    )
    repair = next(
        (
            item.repair
            for item in verified.recommendations
            if item.removed == point.removed and not point.merged
        ),
        None,
    )
    why = None if point.merged or not point.own else set_reason(directory, config, point.removed)
    if point.deleted is not None or (repair is not None and repair.method != "none"):
        command += " --repair"
    if as_json:
        click.echo(json.dumps(_as_json(answer, command, list(warnings), why, repair)))
        return
    click.echo(f"{'merge' if point.merged else 'remove'} {point.names}: {answer.reason}")
    if why is not None:
        click.echo(why.sentence)
    if repair is not None and repair.method != "none":
        click.echo(
            f"Repaired by {repair.method} it costs {repair.estimate} nats per token, fitted on "
            f"{repair.tokens:,} tokens."
        )
    for sentence in answer.notes:
        click.echo(sentence)
    for sentence in warnings:
        click.echo(f"note: {sentence}")
    click.echo(f"Export: {command}")


def _as_json(
    answer: Answer,
    command: str,
    warnings: list[str],
    why: SetReason | None,
    repair: RepairedCost | None,
) -> dict[str, Any]:
    point: FrontierPoint = answer.point
    return {
        "removed": list(point.removed),
        "names": point.names,
        "method": point.method,
        "merged": point.merged,
        "loss": _ends(point.loss),
        "deleted_loss": _ends(point.deleted),
        "parameters": point.parameters,
        "parameter_share": point.parameter_share,
        "prefill_ratio": _ends(point.prefill),
        "decode_ratio": _ends(point.decode),
        "memory_bytes": point.memory,
        "repaired": None if repair is None else repair.facts(),
        "reason": answer.reason,
        "why": None if why is None else dataclasses.asdict(why),
        "notes": list(answer.notes),
        "warnings": warnings,
        "export": command,
    }


def _ends(measured: Estimate | None) -> dict[str, float | None] | None:
    if measured is None:
        return None
    ends = {"value": measured.value, "lower": measured.lower, "upper": measured.upper}
    return {name: end if math.isfinite(end) else None for name, end in ends.items()}
