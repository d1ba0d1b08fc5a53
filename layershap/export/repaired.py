"""Repairs of a run's sets, kept or fitted now, and checkpoints of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from decoder.checkpoint.saving import beside, refuse_taken, settle
from decoder.errors import ModelError
from decoder.recovery.methods.catalog import METHODS
from decoder.recovery.modules import (
    attached_matrices,
    load_with_matrices,
    repaired,
    write_matrices,
)
from decoder.recovery.repair import Repair
from decoder.surgery.check import Agreement, compare, logits
from layershap.errors import UserError
from layershap.export.card import model_card
from layershap.export.export import export_edits
from layershap.export.sources import check_removed
from layershap.results.repairs import KeptRepair
from layershap.runs.kept_repairs import find_kept, kept_edits, kept_matrices
from layershap.runs.recorded import HELDOUT
from layershap.runs.repair import AUTO, Repairer, check_method, fitting_text
from layershap.runs.workspace import Workspace

if TYPE_CHECKING:
    from decoder.surgery.export import Export

__all__ = ["TOKENS", "export_repair", "fit_set", "kept_or_fitted", "refuse_matrices"]

TOKENS = 16_384
"""Of text that a repair is fitted on where nobody says how many."""


def fit_set(
    work: Workspace,
    removed: Sequence[int],
    method: str = AUTO,
    *,
    text: str | None = None,
    tokens: int = TOKENS,
    module: bool = False,
) -> KeptRepair:
    """Fit, compare, measure and keep the repair of one set.

    Args:
        work: the run.
        removed: player indices.
        method: "auto", "fast" or a name.
        text: a file or data set to fit on; the run's calibration text when omitted.
        tokens: at most so many of it.
        module: compare what no stock checkpoint can hold as well.

    Raises:
        RepairError: no method can be fitted, or not the one that was asked for.
        TextError: the text is missing, unreadable or too short.
        UserError: everything or nothing would go, the model is quantised, or the text will not do.
    """
    check_removed(removed, work.roster)
    _ = work.ledger  # nobody else writes in the directory meanwhile
    fitted_on = fitting_text(work, tokens, text)
    return Repairer(work, method, fitted_on, module=module).repair(removed)


def kept_or_fitted(
    work: Workspace, removed: Sequence[int], method: str | None = None, *, module: bool = False
) -> KeptRepair:
    """Return the newest repair that the run keeps of a set; fit one where there is none.

    Args:
        work: the run.
        removed: player indices.
        method: the one that was asked for; any when omitted.
        module: take one with matrices at the cuts, which no stock checkpoint can hold.

    Raises:
        RepairError: no method can be fitted, or not the one that was asked for.
        UserError: as for `fit_set`, or the method is unknown.
    """
    check_removed(removed, work.roster)
    if method:
        check_method(method, "--repair")
        if not module:
            refuse_matrices(method, "--repair")
    known = find_kept(work.directory, removed, work.fingerprint(HELDOUT), method, stock=not module)
    return fit_set(work, removed, method or AUTO, module=module) if known is None else known


def refuse_matrices(method: str, option: str) -> None:
    """Refuse to write what a method fits where it is no stock checkpoint.

    Args:
        method: "auto", "fast" or a name that there is.
        option: begins the message.

    Raises:
        UserError: it makes matrices at the cuts.
    """
    if method in METHODS and not METHODS[method].stock:
        raise UserError(
            f"{option} {method}: its matrices at the cuts fit in no stock checkpoint; add --module "
            "to write them for layershap.load, or choose another method or auto"
        )


def export_repair(work: Workspace, repair: KeptRepair, destination: Path) -> Export:
    """Write and check a checkpoint with what was fitted for a set.

    It is a stock one, unless there are matrices at the cuts: those lie beside the model that was
    only deleted, and `layershap.load` puts them where they belong.

    Args:
        work: the run.
        repair: as the run keeps it.
        destination: directory to make.

    Raises:
        EditError: the file of what was fitted is missing or damaged.
        ModelError: the directory is taken, or the checkpoint does not agree.
    """
    edits = kept_edits(repair)
    if repair.stock:
        return export_edits(work, edits, destination, repair=repair)
    refuse_taken(destination)
    whole = Repair("", edits, {}, (), 0.0, kept_matrices(work.directory, repair))
    ids_BT = torch.from_numpy(work.texts.heldout.tokens[:2, :64]).to(work.model.device)
    with repaired(work.model, whole):
        wanted_BTV = logits(work.model, ids_BT)
    with beside(destination) as room:
        checkpoint = room / "checkpoint"
        done = export_edits(work, edits, checkpoint, repair=repair)
        write_matrices(checkpoint, attached_matrices(edits, whole.modules))
        model = load_with_matrices(replace(work.spec, name=str(checkpoint), revision=None))
        agreement = compare(model, logits(model, ids_BT), wanted_BTV, ids_BT)
        # Saved again it is a stock model, and that was compared without the matrices.
        agreement = replace(agreement, saved_again=done.agreement.saved_again)
        if not agreement.holds:
            raise ModelError(
                f"model {work.config.title}: with its matrices the checkpoint does not agree with "
                f"the repaired model ({agreement}); nothing was written"
            )
        _say_again(checkpoint, agreement)
        settle(checkpoint, destination)
    return replace(done, path=destination, agreement=agreement)


def _say_again(checkpoint: Path, agreement: Agreement) -> None:
    """Put what the comparison with the matrices found into what lies beside the weights."""
    path = checkpoint / "layershap.json"
    facts = json.loads(path.read_text("utf-8"))
    facts["checks"] |= asdict(agreement)
    path.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    (checkpoint / "README.md").write_text(model_card(facts), "utf-8")
