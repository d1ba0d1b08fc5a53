"""Speed, memory and size of smaller models as an export would write them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from decoder.cost.speed import Speed as TimedSpeed
from decoder.cost.speed import Untimed, measure_speed
from decoder.players import Unit
from decoder.surgery.apply import applied, owners_for
from decoder.surgery.edit import Edits, ZeroHalf
from decoder.surgery.plan import plan_edits
from layershap.results.recommendations import Speed
from layershap.runs.workspace import Workspace
from layershap.stages.contenders import Variant
from layershap.terminal.progress import Progress

__all__ = ["Size", "measure_sizes"]


@dataclass(frozen=True)
class Size:
    """How small and how fast a variant is.

    Attributes:
        parameters_saved: against the whole model.
        speed: None where nothing is timed.
        untimed: why it is not, where it was tried.
        zeroed: halves that are made zero.
    """

    parameters_saved: int
    speed: Speed | None = None
    untimed: str | None = None
    zeroed: tuple[str, ...] = ()


def measure_sizes(work: Workspace, variants: Sequence[Variant]) -> dict[Variant, Size]:
    """Measure the size of each variant and, unless the run times nothing, its speed.

    Whole layers go; an attention and the MLP of a deeper layer that follow each other share one
    layer where the model allows it; any other half that goes alone is zeroed and saves nothing.
    Where layers are merged, those that stay are as large as before.

    Args:
        work: the run.
        variants: what to time, the whole model among them.
    """
    model = work.model
    plans = {v: plan_edits(work.roster, v.removed, lambda: model).edits for v in variants}
    distinct = list(dict.fromkeys(plans.values()))
    owners, dense, saved = owners_for(model, chain(*distinct)), model.num_parameters(), {}
    for edits in distinct:
        with applied(model, _sized(edits), owners=owners):
            saved[edits] = dense - model.num_parameters()
    speeds, failed = _speeds(work, [edits for edits in distinct if edits])
    for variant, edits in plans.items():
        if edits in failed:
            name = work.named(variant.removed) or "nothing"
            work.console.warn(f"without {name} the model is not timed: {failed[edits]}")
    return {
        variant: Size(saved[edits], speeds.get(edits), failed.get(edits), _zeroed(edits))
        for variant, edits in plans.items()
    }


def _zeroed(edits: Edits) -> tuple[str, ...]:
    return tuple(Unit(e.layer, e.part).name for e in edits if isinstance(e, ZeroHalf))


def _sized(edits: Edits) -> Edits:
    """A model as large and as fast: halves of zeros take the time and room that they always do."""
    return tuple(edit for edit in edits if not isinstance(edit, ZeroHalf))


def _speeds(
    work: Workspace, smaller: Sequence[Edits]
) -> tuple[dict[Edits, Speed], dict[Edits, str]]:
    """Speeds of the variants that run, and why the others do not: one failure ends no run."""
    failed: dict[Edits, str] = {}
    if not work.config.verify.speed_rounds:
        return {}, failed
    while True:
        running = [edits for edits in smaller if edits not in failed]
        try:
            return _timed(work, running), failed
        except Untimed as found:
            if () in found.variants:
                return {}, dict.fromkeys([(), *smaller], str(found))
            failed |= {e: str(found) for e in running if _sized(e) in found.variants}


def _timed(work: Workspace, smaller: Sequence[Edits]) -> dict[Edits, Speed]:
    began = time.monotonic()
    with work.console.progress("timing") as update:
        timed = measure_speed(
            work.model,
            [_sized(edits) for edits in smaller],
            work.texts.heldout.tokens,
            rounds=work.config.verify.speed_rounds,
            progress=None if update is None else lambda *at: update(Progress.since(began, *at)),
        )
    found = [_kept(speed) for speed in timed]  # the whole model comes first
    return dict(zip([(), *smaller], found, strict=True))


def _kept(speed: TimedSpeed) -> Speed:
    return Speed(**{name: value for name, value in vars(speed).items() if name != "edits"})
