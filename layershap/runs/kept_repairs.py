"""Where a run directory keeps what was fitted: `repairs.json` and safetensors files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from decoder.surgery.edit import Edits, edits_from_json
from decoder.surgery.patch import Patches, digest_of, read_patches, write_patches
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.repairs import REPAIRS, KeptRepair, Repairs
from layershap.runs.directory import RunDirectory

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["find_kept", "keep", "kept_edits", "kept_matrices", "kept_patches"]

_FOLDER = "repairs"


def keep(
    directory: RunDirectory,
    repair: KeptRepair,
    patches: Patches,
    modules: Mapping[int, Tensor] | None = None,
) -> KeptRepair:
    """Keep a repair, in the place of an earlier one of the same set and kind.

    Where the set is recommended, its repaired cost is now this one: the newest that a stock
    checkpoint can hold is what reports show and exports write.

    Args:
        directory: of the run.
        repair: what was found, without the names of the files of what was fitted.
        patches: the fitted weights.
        modules: matrices at cuts, by position of the cut's end.

    Returns:
        The same with the names of those files.
    """
    matrices = {str(position): matrix for position, matrix in (modules or {}).items()}
    repair = replace(
        repair, patches=_stored(directory, patches), matrices=_stored(directory, matrices)
    )
    known = REPAIRS.found(directory.path) or Repairs()
    after = known.added(repair)
    REPAIRS.write(directory.path, after)
    for name in _files(known) - _files(after):
        (directory.path / name).unlink(missing_ok=True)
    if repair.stock:
        _tell(directory, repair)
    return repair


def _stored(directory: RunDirectory, values: Patches) -> str | None:
    if not values:
        return None
    name = f"{_FOLDER}/{digest_of(values)}.safetensors"
    (directory.path / _FOLDER).mkdir(parents=True, exist_ok=True)
    partial = directory.path / f"{name}.part"
    write_patches(partial, values)
    partial.replace(directory.path / name)
    return name


def _files(repairs: Repairs) -> set[str]:
    named = (name for one in repairs.repairs for name in (one.patches, one.matrices))
    return {name for name in named if name is not None}


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


def kept_matrices(directory: RunDirectory, repair: KeptRepair) -> dict[int, Tensor]:
    """Read the matrices at the cuts of a repair, by position of the cut's end.

    Args:
        directory: of the run.
        repair: as it is kept.

    Raises:
        EditError: the file is missing or damaged.
    """
    if repair.matrices is None:
        return {}
    stored = read_patches(directory.path / repair.matrices)
    return {int(position): matrix for position, matrix in stored.items()}
