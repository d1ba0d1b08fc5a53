"""Repairs of a run's sets, kept or fitted now, and checkpoints of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layershap.errors import UserError
from layershap.export.export import export_edits
from layershap.export.sources import check_removed
from layershap.results.repairs import KeptRepair
from layershap.runs.kept_repairs import find_kept, kept_edits
from layershap.runs.repair import AUTO, Repairer, check_method, fitting_text
from layershap.runs.workspace import HELDOUT, Workspace

if TYPE_CHECKING:
    from decoder.surgery.export import Export

__all__ = ["TOKENS", "export_repair", "fit_set", "kept_or_fitted"]

TOKENS = 16_384
"""Of text that a repair is fitted on where nobody says how many."""


def fit_set(
    work: Workspace,
    removed: Sequence[int],
    method: str = AUTO,
    *,
    text: str | None = None,
    tokens: int = TOKENS,
) -> KeptRepair:
    """Fit, compare, measure and keep the repair of one set.

    Args:
        work: the run.
        removed: player indices.
        method: "auto", "fast" or a name.
        text: a file or data set to fit on; the run's calibration text when omitted.
        tokens: at most so many of it.

    Raises:
        RepairError: no method can be fitted, or not the one that was asked for.
        TextError: the text is missing, unreadable or too short.
        UserError: everything or nothing would go, the model is quantised, or the text will not do.
    """
    check_removed(removed, work.roster)
    _ = work.ledger  # nobody else writes in the directory meanwhile
    return Repairer(work, method, fitting_text(work, tokens, text)).repair(removed)


def kept_or_fitted(work: Workspace, removed: Sequence[int], method: str | None) -> KeptRepair:
    """Return the newest repair that the run keeps of a set; fit one where there is none.

    Args:
        work: the run.
        removed: player indices.
        method: the one that was asked for; any when omitted.

    Raises:
        RepairError: no method can be fitted, or not the one that was asked for.
        UserError: as for `fit_set`, or the method is unknown.
    """
    check_removed(removed, work.roster)
    if method:
        check_method(method, "--repair")
    known = find_kept(work.directory, removed, work.fingerprint(HELDOUT), method)
    return fit_set(work, removed, method or AUTO) if known is None else known


def export_repair(work: Workspace, repair: KeptRepair, destination: Path) -> Export:
    """Write and check a stock checkpoint with the weights that were fitted for a set.

    Args:
        work: the run.
        repair: as the run keeps it.
        destination: directory to make.

    Raises:
        EditError: the file of the fitted weights is missing or damaged.
        UserError: no stock checkpoint can hold what was fitted.
        ModelError: the directory is taken, or the checkpoint does not agree.
    """
    if not repair.stock:
        raise UserError(
            f"--repair {repair.cost.method}: its matrices at the cuts fit in no stock checkpoint; "
            "choose another method or auto"
        )
    return export_edits(work, kept_edits(repair), destination, repair=repair)
