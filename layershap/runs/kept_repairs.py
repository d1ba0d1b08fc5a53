"""Where a run directory keeps what was fitted: `repairs.json` and safetensors files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from decoder.surgery.edit import Edits, Patch, edits_from_json
from decoder.surgery.patch import Patches, read_patches, write_patches
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.repairs import REPAIRS, KeptRepair, Repairs
from layershap.runs.directory import RunDirectory

__all__ = ["find_kept", "keep", "kept_edits", "kept_patches"]

_FOLDER = "repairs"


def keep(directory: RunDirectory, repair: KeptRepair, patches: Patches) -> KeptRepair:
    """Keep a repair, in the place of an earlier one of the same set and kind.

    Where the set is recommended, its repaired cost is now this one: the newest that a stock
    checkpoint can hold is what reports show and exports write.

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
    if repair.stock:
        _tell(directory, repair)
    return repair


def _tell(directory: RunDirectory, repair: KeptRepair) -> None:
    verified = RECOMMENDATIONS.found(directory.path)
    if verified is None or verified.fingerprint != repair.heldout:
        return
    items = tuple(
        replace(item, repair=repair.cost) if item.removed == repair.removed else item
        for item in verified.recommendations
    )
    if items != verified.recommendations:
        RECOMMENDATIONS.write(directory.path, replace(verified, recommendations=items))


def find_kept(
    directory: RunDirectory,
    removed: Sequence[int],
    heldout: str,
    asked: str | None = None,
    *,
    stock: bool = True,
) -> KeptRepair | None:
    """Return the newest repair of a set; None where there is none.

    Args:
        directory: of the run.
        removed: player indices.
        heldout: fingerprint of the held-out campaign.
        asked: the method that was asked for; any when omitted.
        stock: whether a stock checkpoint can hold it.

    Raises:
        UserError: `repairs.json` is damaged or of a later version.
    """
    known = REPAIRS.found(directory.path)
    return None if known is None else known.of_set(removed, heldout, asked, stock=stock)


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
