"""Whether what a run will find can be saved, said before anything is measured."""

from __future__ import annotations

from layershap.errors import UserError
from layershap.runs.workspace import Workspace

__all__ = ["check_exportable", "rehearse_export"]

_SMALL_BYTES = 2**31  # what is loaded for a rehearsal alone; larger models are checked at export


def check_exportable(work: Workspace) -> tuple[int, ...]:
    """Refuse a model whose smaller ones no configuration describes; it needs no weights.

    Args:
        work: the run.

    Returns:
        Layers that must stay, and do.

    Raises:
        Unexportable: no smaller model can be saved in the stock architecture.
        UserError: some layers must stay and are not protected.
    """
    from decoder.checkpoint.inspect import skeleton
    from decoder.surgery.door import check_structure

    model = skeleton(work.spec)
    stays = check_structure(model)
    playing = {layer for layers in work.roster.layers for layer in layers}
    free = [str(layer) for layer in stays if layer in playing]
    if free:
        both = ",".join(filter(None, [work.config.measure.protect, *free]))
        raise UserError(
            f"--protect: model type {model.config.model_type} builds layer {' and '.join(free)} "
            "in another way than the rest, so sets without it cannot be exported; give --protect "
            f"{both}"
        )
    return stays


def rehearse_export(work: Workspace, stays: tuple[int, ...]) -> None:
    """Refuse a model that, made smaller in memory, does not compute what is measured.

    Large models are left to the check that every export makes.

    Args:
        work: the run.
        stays: layers that must stay.

    Raises:
        Unexportable: some difference was found, or stock code raised.
    """
    from decoder import load_model
    from decoder.surgery.door import rehearse

    if work.footprint.total_bytes > _SMALL_BYTES or work.config.cluster.address:
        return
    with work.console.status("rehearsing an export"):
        rehearse(load_model(work.spec), stays)
