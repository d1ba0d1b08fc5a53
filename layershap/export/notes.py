"""What is written beside an exported checkpoint: where it comes from, how good it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from decoder import ModelSpec, pick_device, resolve_dtype
from decoder.recovery.modules import MATRICES
from decoder.surgery.blocks import removed_players, removed_units
from decoder.surgery.edit import Edits, Merge
from layershap.files import finite
from layershap.results.paired_results import PairedResult
from layershap.results.recommendations import RECOMMENDATIONS, Recommendations, VerifiedModel
from layershap.results.set_text import removal_text
from layershap.runs.recorded import CALIBRATION, HELDOUT

if TYPE_CHECKING:
    from layershap.results.repairs import KeptRepair
    from layershap.runs.workspace import Workspace

__all__ = ["measured_facts", "origin", "provenance"]

Facts = Mapping[str, Any]

_QUALITY = (
    *("nll", "perplexity", "difference", "difference_lower", "difference_upper", "kl", "top1"),
    *("texts", "tasks", "speed", "against_best", "warnings", "parameters"),
)


def provenance(work: Workspace, edits: Edits, repair: KeptRepair | None = None) -> dict[str, Any]:
    """What was removed, from what, and how that was measured, for `layershap.json`.

    Args:
        work: the run's workspace.
        edits: what was done to the model.
        repair: whose edits they are, where weights were fitted.
    """
    from importlib.metadata import version

    config = work.config
    fingerprints = {name: work.fingerprint(name) for name in (CALIBRATION, HELDOUT)}
    verified = RECOMMENDATIONS.found(work.directory.path)
    if verified is not None and verified.fingerprint != fingerprints[HELDOUT]:
        verified = None  # of other weights or another text
    removed = removed_players(work.roster, edits) if repair is None else repair.removed
    merges = [edit for edit in edits if isinstance(edit, Merge)]
    # A run measures sets of players and whole merged models, not the two at once.
    known = removed is not None and len(merges) in (0, len(edits))
    return {
        "base_model": config.title,
        "base_is_local": config.model.name is None or Path(config.model_name).exists(),
        "revision": config.model.revision,
        "fingerprint": fingerprints[HELDOUT],
        "fingerprints": fingerprints,
        "players": work.roster.kind,
        "removed_players": _names(edits)
        if removed is None
        else removal_text(work.players, removed),
        "utility": work.utility.metric,
        "measured": measured_facts(verified, removed or (), merges) if known else None,
        "repair": None if repair is None else _repair_facts(repair, work.texts.heldout.source),
        "dtype": work.dtype,
        "layershap": version("layershap"),
    }


def _repair_facts(repair: KeptRepair, heldout: str) -> dict[str, Any]:
    """Which repair, fitted on what, and the cost without and with it."""

    def ends(found: PairedResult) -> dict[str, float | None]:
        return {"difference": found.difference, "lower": found.lower, "upper": found.upper}

    return finite(
        {
            "method": repair.cost.method,
            "asked": repair.asked,
            "text": repair.cost.text,
            "text_fingerprint": repair.fitted_on,
            "tokens": repair.cost.tokens,
            "heldout": heldout,
            "before": ends(repair.deleted),
            "after": ends(repair.cost),
            "gain": ends(repair.cost.gain),
            "notes": list(repair.notes),
            "matrices": None if repair.stock else MATRICES,
        }
    )


def origin(spec: ModelSpec, edits: Edits) -> dict[str, Any]:
    """The same where no run is about the model, so that nothing of it was measured.

    Args:
        spec: the model.
        edits: what was done to it.
    """
    from importlib.metadata import version

    dtype = resolve_dtype(spec, pick_device(spec.device))
    return {
        "base_model": spec.name,
        "base_is_local": Path(spec.name).exists(),
        "revision": spec.revision,
        "removed_players": _names(edits),
        "measured": None,
        "dtype": str(dtype).removeprefix("torch."),
        "layershap": version("layershap"),
    }


def measured_facts(
    verified: Recommendations | None, removed: Sequence[int], merges: Sequence[Merge] = ()
) -> dict[str, Any] | None:
    """Tell what a run's verification says of a set and of the whole model.

    Args:
        verified: what was verified; None where nothing was.
        removed: players.
        merges: where the removed layers are merged into others instead of dropped.

    Returns:
        None where the set was not verified.
    """
    wanted = tuple((merge.into, merge.layers) for merge in merges)
    found = None if verified is None else verified.of_set(removed, wanted)
    if verified is None or found is None:
        return None
    return {
        "text": verified.text,
        "tokens": verified.tokens,
        "whole": _quality_facts(verified.dense),
        "this": _quality_facts(found),
    }


def _quality_facts(model: VerifiedModel) -> dict[str, Any]:
    """What was measured of a model, as JSON values."""
    plain = finite(TypeAdapter(type(model)).dump_python(model))
    return {name: plain.get(name) for name in _QUALITY}


def _names(edits: Edits) -> str:
    names = [unit.name for unit in removed_units(edits)]
    return removal_text(names, range(len(names)))
