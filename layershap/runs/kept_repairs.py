"""Where a run directory keeps what was fitted: `repairs.json` and safetensors files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from decoder.surgery.edit import Edits, Patch, edits_from_json
from decoder.surgery.patch import Patches, read_patches, write_patches
from layershap.results.repairs import REPAIRS, KeptRepair, Repairs
from layershap.runs.directory import RunDirectory

__all__ = ["find_kept", "keep", "kept_edits", "kept_patches"]

_FOLDER = "repairs"


def keep(directory: RunDirectory, repair: KeptRepair, patches: Patches) -> KeptRepair:
    """Keep a repair, in the place of an earlier one of the same set and kind.

    Args:
        directory: of the run.
        repair: what was found, without the name of the file of the weights.
        patches: the fitted weights.

    Returns:
        The same with the name of that file.
    """
    patch = next((edit for edit in kept_edits(repair) if isinstance(edit, Patch)), None)
    if patch is not None:
        name = f"{_FOLDER}/{patch.digest}.safetensors"
        (directory.path / _FOLDER).mkdir(parents=True, exist_ok=True)
        partial = directory.path / f"{name}.part"
        write_patches(partial, patches)
        partial.replace(directory.path / name)
        repair = replace(repair, patches=name)
    known = REPAIRS.found(directory.path) or Repairs()
    after = known.added(repair)
    REPAIRS.write(directory.path, after)
    used = {one.patches for one in after.repairs}
    for name in {one.patches for one in known.repairs if one.patches} - used:
        (directory.path / name).unlink(missing_ok=True)
    return repair


def find_kept(
    directory: RunDirectory, removed: Sequence[int], heldout: str, asked: str | None = None
) -> KeptRepair | None:
    """Return the newest repair of a set; None where there is none.

    Args:
        directory: of the run.
        removed: player indices.
        heldout: fingerprint of the held-out campaign.
        asked: the method that was asked for; any when omitted.

    Raises:
        UserError: `repairs.json` is damaged or of a later version.
    """
    known = REPAIRS.found(directory.path)
    return None if known is None else known.of_set(removed, heldout, asked)


def kept_edits(repair: KeptRepair) -> Edits:
    """Return the edits that make the repaired model.

    Args:
        repair: as it is kept.

    Raises:
        EditError: they are none.
    """
    return edits_from_json([dict(edit) for edit in repair.edits])


def kept_patches(directory: RunDirectory, repair: KeptRepair) -> Patches | None:
    """Read the fitted weights of a repair; None where nothing was fitted.

    Args:
        directory: of the run.
        repair: as it is kept.

    Raises:
        EditError: the file is missing or damaged.
    """
    return None if repair.patches is None else read_patches(directory.path / repair.patches)
