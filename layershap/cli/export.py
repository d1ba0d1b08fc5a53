"""`layershap export`: a stock checkpoint of a smaller model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from layershap.cli.options import check_remove, model_options, read_run, set_options
from layershap.errors import UserError

if TYPE_CHECKING:
    from decoder.surgery.export import Export

__all__ = ["export"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument(
    "run", required=False, type=click.Path(path_type=Path, file_okay=False), metavar="[RUN]"
)
@set_options
@click.option(
    "--method",
    metavar="SLUG",
    help="With --count: take the verified set of a published method, as laco, which merges layers.",
)
@click.option(
    "--edits",
    "edits_file",
    type=_FILE,
    metavar="FILE",
    help="Repeat the edits of an earlier export, its layershap.json; without RUN on --model.",
)
@click.option(
    "--repair",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[METHOD]",
    help="Write the repaired weights that RUN keeps of this set, by METHOD where it is named; they "
    "are fitted first where there are none, as layershap repair does.",
)
@click.option(
    "--module",
    is_flag=True,
    help="With --repair: write matrices at the cuts beside the checkpoint, for layershap.load."
    " Stock loaders get the model without them.",
)
@click.option(
    "--anyway",
    is_flag=True,
    help="Write a model whose weights are not those that RUN has measured, with a warning.",
)
@click.option(
    "--to",
    "destination",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory to write; it must be new or empty.",
)
@model_options
def export(
    run: Path | None,
    remove: str | None,
    count: int | None,
    method: str | None,
    edits_file: Path | None,
    repair: str | None,
    module: bool,
    anyway: bool,
    destination: Path,
    **model: Any,
) -> None:
    """Write the model of RUN without some layers as a stock Hugging Face checkpoint.

    Whole layers are deleted, or merged where a method merges them. Where an attention and the MLP
    before it are both gone, what remains of their layers becomes one layer; the weights of any
    other half that goes alone become zero. The checkpoint is loaded again, and its logits, its
    decoding with a cache, `generate` and saving once more are compared with what was measured,
    before it gets its name. Beside the weights lie `layershap.json`, which holds these edits, and a
    model card. With --edits they are done to another copy of the model.
    """
    if [remove, count, edits_file].count(None) != 2:
        raise UserError("export: name one of --remove, as --remove 4,6, --count and --edits")
    if method is not None and count is None:
        raise UserError(f"--method {method}: needs --count, the number of players to remove")
    if repair is not None and edits_file is not None:
        raise UserError("--repair: fits a set of a run; leave it out with --edits")
    if module and repair is None:
        raise UserError("--module: writes what --repair fits; add --repair")
    given = {name: value for name, value in model.items() if value}
    if run is not None and given:
        raise UserError(f"--{next(iter(given))}: RUN has a model of its own; leave out one of both")
    if run is None and (edits_file is None or model["model"] is None):
        raise UserError("export: name RUN, the directory of a run, or --edits with --model")
    if run is not None and remove is not None:
        check_remove(remove, *read_run(run))
    from decoder.checkpoint.saving import refuse_taken

    refuse_taken(destination)
    if run is None:
        done = _from_model(given, edits_file, destination)
    else:
        done = _from_run(
            run, remove, count, method, edits_file, repair, module, destination, anyway
        )
    for line in _summary(done):
        click.echo(line)


def _from_run(
    run: Path,
    remove: str | None,
    count: int | None,
    method: str | None,
    edits_file: Path | None,
    repair: str | None,
    module: bool,
    destination: Path,
    anyway: bool,
) -> Export:
    from layershap.export.export import export_edits, export_set
    from layershap.export.repaired import export_repair, kept_or_fitted
    from layershap.export.sources import asked_set, check_fit, check_weights, read_edits
    from layershap.runs.workspace import open_workspace
    from layershap.terminal.console import Console

    config, directory = read_run(run)
    edits = None if edits_file is None else read_edits(edits_file)
    with open_workspace(config, directory, Console()) as work:
        check_weights(work, anyway)
        if edits_file is not None and edits is not None:
            check_fit(edits_file, edits, work.roster.depth)
            return export_edits(work, edits, destination)
        removed, merges = asked_set(run, work.roster, remove, count, method)
        if repair is not None:
            if merges:
                raise UserError(
                    f"--repair: {method} merges layers, and repair fits what deletion leaves; "
                    "leave out one of both"
                )
            kept = kept_or_fitted(work, removed, repair or None, module=module)
            return export_repair(work, kept, destination)
        if merges:
            return export_edits(work, merges, destination)
        return export_set(work, removed, destination)


def _from_model(model: dict[str, Any], edits_file: Path | None, destination: Path) -> Export:
    from decoder import ModelSpec
    from decoder.checkpoint.inspect import skeleton
    from decoder.model.structure import find_stack
    from layershap.export.export import repeat_edits
    from layershap.export.sources import check_fit, read_edits
    from layershap.terminal.console import Console

    assert edits_file is not None
    edits = read_edits(edits_file)
    spec = ModelSpec(model.pop("model"), **model)
    check_fit(edits_file, edits, len(find_stack(skeleton(spec))))
    return repeat_edits(spec, edits, destination, Console())


def _summary(done: Export) -> list[str]:
    saved, before = done.parameters_before - done.parameters_after, done.parameters_before
    lines = [
        f"{done.path}: {done.parameters_after:,} parameters, {done.bytes_written:,} bytes",
        f"saved {saved:,} parameters ({100 * saved / before:.1f} %), {done.layers_before} layers "
        f"became {done.layers_after}",
    ]
    for into, layers in done.merged:
        listed = ", ".join(f"L{layer}" for layer in layers)
        lines.append(f"merged: {listed} into L{into}")
    if done.repacked:
        pairs = ", ".join(f"L{a}.attn with L{m}.mlp" for a, m in done.repacked)
        lines.append(
            f"repacked, so really smaller and faster: {', '.join(done.gone)} (now {pairs})"
        )
    if done.zeroed:
        zeroed = ", ".join(done.zeroed)
        lines.append(f"zeroed, so neither smaller nor faster in a stock model: {zeroed}")
    if done.note:
        lines.append(f"note: {done.note}")
    checks = done.agreement
    return [
        *lines,
        f"checked: logits differ by {checks.logits:.1e}, decoding with a cache by "
        f"{checks.cached:.1e}, generate by {checks.generated:.1e}, saved again by "
        f"{checks.saved_again:.1e} (of the largest logit)",
    ]
