"""The design of a run: what it opens with and what was chosen afterwards, kept round by round.

`design.json` is written before a round is measured, so that a run that was interrupted measures
the same coalitions when it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from layershap.errors import UserError
from layershap.results.design import DESIGN, Design, DesignRound
from layershap.results.result_file import NotThereYet
from layershap.runs.plan import Plan
from layershap.runs.recorded import CALIBRATION, RecordedRun
from sampling import from_text, keys, to_text

__all__ = [
    "OPENING",
    "Round",
    "joined",
    "measured_of_design",
    "new_rows",
    "read_design",
    "read_rounds",
    "write_rounds",
]

OPENING = "opening"
_REMEDY = "remove the file and run again: what was measured stays in the ledger"


@dataclass(frozen=True, eq=False)
class Round:
    """Coalitions that are measured together.

    Attributes:
        kind: ``"opening"``, ``"chosen"`` from what was measured before, or ``"fixed"`` where that
            could not be used.
        coalitions: rows, True = kept.
    """

    kind: Literal["opening", "chosen", "fixed"]
    coalitions: Bool[np.ndarray, "k n"]


def read_design(run: RecordedRun, size: int | None = None) -> Bool[np.ndarray, "m n"]:
    """Read the coalitions of the design, all of them measured, in the order of their choice.

    Args:
        run: whose.
        size: how many; as many as the plan asks for when omitted.

    Raises:
        UserError: measuring was not finished, or `design.json` is damaged.
    """
    plan, campaign = run.plan, run.campaign(CALIBRATION)
    size = plan.size if size is None else size
    rows = plan.design if not plan.adaptive else joined(read_rounds(run, plan), plan.n)[:size]
    if not len(rows) and not campaign.missing(plan.design).any():
        # Measured before designs were chosen in rounds.
        rows = plan.design
    measured = int((~campaign.missing(rows)).sum()) if len(rows) else 0
    wanted = plan.size if not plan.adaptive else size
    if measured < wanted:
        raise UserError(
            f"{run.directory.path}: {measured} of the design's {wanted} sets are measured; "
            "go on with the layershap run or measure command that began it"
        )
    return rows


def read_rounds(run: RecordedRun, plan: Plan) -> list[Round]:
    """Read the rounds so far; none where there are none, or of another seed or much larger design.

    An opening of an earlier version counts as long as it left room for what was chosen after it.

    Args:
        run: whose.
        plan: its plan.

    Raises:
        UserError: the file is damaged, or belongs to other measurements.
    """
    path = run.directory.design
    try:
        kept = DESIGN.read(run.directory.path)
        rounds = [_round(item, plan.n) for item in kept.rounds]
        numbers = [item.number for item in kept.rounds]
        if numbers != [*range(1, len(rounds) + 1)]:
            raise ValueError(f"rounds are numbered {numbers}")
        rows = joined(rounds, plan.n)
        if len(set(keys(rows))) != len(rows):
            raise ValueError("coalitions are repeated")
    except NotThereYet:
        return []
    except UserError as error:
        raise UserError(f"{str(error).rpartition(';')[0]}; {_REMEDY}") from None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); {_REMEDY}") from None
    if kept.fingerprint != run.campaign(CALIBRATION).fingerprint:
        raise UserError(
            f"{path}: chosen from measurements of something else (fingerprint "
            f"{kept.fingerprint}); remove the file and run again"
        )
    opening = joined([r for r in rounds if r.kind == OPENING], plan.n)
    other = len(opening) >= plan.size and len(new_rows(opening, plan.opening)) > 0
    if kept.seed != run.config.measure.seed or other:
        return []
    return rounds


def write_rounds(run: RecordedRun, rounds: Sequence[Round]) -> None:
    """Write `design.json`.

    Args:
        run: whose.
        rounds: in order.
    """
    kept = tuple(
        DesignRound(number, item.kind, tuple(to_text(item.coalitions)))
        for number, item in enumerate(rounds, 1)
    )
    fingerprint = run.campaign(CALIBRATION).fingerprint
    seed = run.config.measure.seed
    DESIGN.write(run.directory.path, Design(fingerprint, seed, run.players, kept))


def measured_of_design(run: RecordedRun) -> int:
    """Count the coalitions of the design, as far as it is chosen, that the ledger has."""
    plan = run.plan
    kept = DESIGN.found(run.directory.path) if plan.adaptive else None
    if kept is None:
        rows = plan.opening
    else:
        rows = joined([_round(item, plan.n) for item in kept.rounds], plan.n)[: plan.size]
    return int((~run.campaign(CALIBRATION).missing(rows)).sum())


def joined(rounds: Sequence[Round], n: int) -> Bool[np.ndarray, "m n"]:
    """All coalitions of some rounds, in order."""
    return np.concatenate([np.empty((0, n), dtype=bool), *(r.coalitions for r in rounds)])


def new_rows(
    rows: Bool[np.ndarray, "k n"], known: Bool[np.ndarray, "m n"]
) -> Bool[np.ndarray, "j n"]:
    """The rows that are not among the known ones."""
    there = set(keys(known))
    return rows[np.array([key not in there for key in keys(rows)], dtype=bool)]


def _round(item: DesignRound, n: int) -> Round:
    if not item.coalitions:
        raise ValueError(f"round {item.number} holds no coalitions")
    return Round(item.kind, from_text(item.coalitions, n))
