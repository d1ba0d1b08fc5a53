"""Where the edits of an export come from: a file of an earlier one, or a set that was verified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from decoder.surgery.edit import Edits, Merge, check_edits, edits_from_json
from layershap.errors import UserError
from layershap.results.frontier import OWN
from layershap.results.recommendations import RECOMMENDATIONS, Recommendations
from layershap.results.set_text import parse_set
from layershap.runs.recorded import CALIBRATION
from shapley.baselines.method import slug

if TYPE_CHECKING:
    from decoder.players import Roster
    from layershap.runs.workspace import Workspace

__all__ = ["asked_set", "check_fit", "check_removed", "check_weights", "read_edits"]


def read_edits(path: Path) -> Edits:
    """Read the edits of a `layershap.json`, or a JSON list of edits.

    Args:
        path: the file.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        edits = edits_from_json(json.loads(path.read_text("utf-8")))
    except RecursionError:
        raise UserError(f"--edits {path}: is nested too deeply to hold edits") from None
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UserError(f"--edits {path}: {' '.join(reason.split())}") from None
    if not edits:
        raise UserError(f"--edits {path}: holds no edits, so that the model would stay as it is")
    return edits


def check_fit(path: Path, edits: Edits, depth: int) -> None:
    """Refuse edits of a file that a model has not the layers for.

    Args:
        path: the file.
        edits: what it holds.
        depth: decoder layers of the model.

    Raises:
        UserError: it has not.
    """
    try:
        check_edits(edits, depth)
    except ValueError as error:
        raise UserError(f"--edits {path}: {error}") from None


def check_removed(removed: Sequence[int], roster: Roster, where: str = "--remove") -> None:
    """Refuse a set that leaves everything, or nothing.

    Args:
        removed: player indices.
        roster: who plays.
        where: begins messages about the set.

    Raises:
        UserError: it does.
    """
    if not removed:
        raise UserError(f"{where}: names no layer; write some, as 4,6")
    if len(roster.removed_layers(removed)) >= roster.depth:
        raise UserError(f"{where}: that is every layer; keep at least one")


def check_weights(work: Workspace, anyway: bool = False) -> None:
    """Refuse a model whose weights are not those that the run has measured.

    Args:
        work: the run.
        anyway: warn instead.

    Raises:
        UserError: they are others.
    """
    from cluster import Ledger, LedgerError

    if not work.directory.ledger.exists():
        return
    try:
        with Ledger(work.directory.ledger, readonly=True) as ledger:
            measured = ledger.campaign(CALIBRATION).details.get("weights")
    except LedgerError:  # nothing is measured yet
        return
    if measured is None or measured == work.weights:
        return
    said = (
        f"model {work.config.model_name}: its weights or its configuration are not those that "
        f"{work.directory.path} has measured"
    )
    if not anyway:
        raise UserError(
            f"{said}; put the measured checkpoint back, or give --anyway to write what was never "
            "measured"
        )
    work.console.warn(f"{said}: nothing that the run says was measured on what is written now")


def asked_set(
    run: Path, roster: Roster, remove: str | None, count: int | None, method: str | None = None
) -> tuple[tuple[int, ...], tuple[Merge, ...]]:
    """Find the set that `--remove`, or `--count` and perhaps a method, ask for.

    Args:
        run: the run's directory.
        roster: who plays.
        remove: players as a person writes them; None where a count is given.
        count: players removed by a verified set.
        method: who chose that set, by name or slug; the run itself when omitted.

    Returns:
        Its players, ascending, and the merges where layers are merged.

    Raises:
        UserError: the text names no players, or no such set was verified.
    """
    if remove is not None:
        return tuple(sorted(parse_set(remove, "--remove", roster.find))), ()
    assert count is not None
    return _verified_set(RECOMMENDATIONS.read(run), count, method or OWN, run)


def _verified_set(
    verified: Recommendations, count: int, method: str, run: Path
) -> tuple[tuple[int, ...], tuple[Merge, ...]]:
    """The verified set of a method; the message says which there are where there is none."""
    recommended, wanted = verified.recommendations, slug(method)
    if wanted == slug(OWN):
        own = {item.count: item.removed for item in recommended}
        if count not in own:
            raise UserError(
                f"--count {count}: nothing is recommended for it; {run} has "
                f"{', '.join(map(str, own))}"
            )
        return own[count], ()
    rivals = [(item.count, rival) for item in recommended for rival in item.baselines]
    names = dict.fromkeys(slug(rival.method) for _, rival in rivals)
    if wanted not in names:
        raise UserError(
            f"--method {method}: no set of it was verified; {run} has "
            f"{', '.join([slug(OWN), *names])}"
        )
    sets = {at: rival for at, rival in rivals if slug(rival.method) == wanted}
    if count not in sets:
        raise UserError(
            f"--count {count}: no set of {method} was verified for it; {run} has "
            f"{', '.join(map(str, sets))}"
        )
    found = sets[count]
    return found.removed, tuple(Merge(into, tuple(gone)) for into, gone in found.merges or ())
