"""The design of a run: what it opens with and what was chosen afterwards, kept round by round.

`design.json` is written before a round is measured, so that a run that was interrupted measures
the same coalitions when it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from layershap.errors import UserError
from layershap.runs.plan import Plan, make_plan
from layershap.runs.workspace import CALIBRATION, Workspace
from sampling import keys

__all__ = ["OPENING", "Round", "joined", "new_rows", "read_design", "read_rounds", "write_rounds"]

OPENING = "opening"
KINDS = (OPENING, "chosen", "fixed")


@dataclass(frozen=True, eq=False)
class Round:
    """Coalitions that are measured together.

    Attributes:
        kind: ``"opening"``, ``"chosen"`` from what was measured before, or ``"fixed"`` where that
            could not be used.
        coalitions: rows, True = kept.
    """

    kind: str
    coalitions: Bool[np.ndarray, "k n"]


def read_design(work: Workspace, size: int | None = None) -> Bool[np.ndarray, "m n"]:
    """The coalitions of the design, all of them measured, in the order in which they were chosen.

    Args:
        work: the run.
        size: how many; as many as the plan asks for when omitted.

    Raises:
        UserError: measuring was not finished, or `design.json` is damaged.
    """
    plan = make_plan(work.config, len(work.players))
    size = plan.size if size is None else size
    rows = plan.design if not plan.adaptive else joined(read_rounds(work, plan), plan.n)[:size]
    if not len(rows) and not work.campaign(CALIBRATION).missing(plan.design).any():
        # Measured before designs were chosen in rounds.
        rows = plan.design
    measured = int((~work.campaign(CALIBRATION).missing(rows)).sum()) if len(rows) else 0
    wanted = plan.size if not plan.adaptive else size
    if measured < wanted:
        raise UserError(
            f"{work.directory.path}: {measured} of the design's {wanted} sets are measured; "
            "go on with the layershap run or measure command that began it"
        )
    return rows


def read_rounds(work: Workspace, plan: Plan) -> list[Round]:
    """The rounds so far; none where there is no file, or one of another seed or smaller opening.

    Raises:
        UserError: the file is damaged, or belongs to other measurements.
    """
    path = work.directory.design
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rounds = [_round(item, plan.n) for item in content["rounds"]]
        numbers = [item["number"] for item in content["rounds"]]
        if numbers != [*range(1, len(rounds) + 1)]:
            raise ValueError(f"rounds are numbered {numbers}")
        fingerprint, seed = content["fingerprint"], content["seed"]
        rows = joined(rounds, plan.n)
        if len(set(keys(rows))) != len(rows):
            raise ValueError("coalitions are repeated")
    except FileNotFoundError:
        return []
    except KeyError as error:
        raise _damaged(work, f"no entry {error}") from None
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise _damaged(work, str(error)) from None
    if fingerprint != work.campaign(CALIBRATION).fingerprint:
        raise UserError(
            f"{path}: chosen from measurements of something else (fingerprint {fingerprint}); "
            "remove the file and run again"
        )
    opening = joined([r for r in rounds if r.kind == OPENING], plan.n)
    if seed != work.config.measure.seed or len(new_rows(opening, plan.opening)):
        return []
    return rounds


def write_rounds(work: Workspace, rounds: Sequence[Round]) -> None:
    """Write `design.json`."""
    content = {
        "fingerprint": work.campaign(CALIBRATION).fingerprint,
        "seed": work.config.measure.seed,
        "players": list(work.players),
        "rounds": [
            {
                "number": number,
                "kind": item.kind,
                "coalitions": ["".join(map(str, row)) for row in item.coalitions.astype(int)],
            }
            for number, item in enumerate(rounds, 1)
        ],
    }
    work.directory.write_json(work.directory.design, content)


def joined(rounds: Sequence[Round], n: int) -> Bool[np.ndarray, "m n"]:
    """All coalitions of some rounds, in order."""
    return np.concatenate([np.empty((0, n), dtype=bool), *(r.coalitions for r in rounds)])


def new_rows(
    rows: Bool[np.ndarray, "k n"], known: Bool[np.ndarray, "m n"]
) -> Bool[np.ndarray, "j n"]:
    """The rows that are not among the known ones."""
    there = set(keys(known))
    return rows[np.array([key not in there for key in keys(rows)], dtype=bool)]


def _round(item: dict[str, Any], n: int) -> Round:
    kind, texts = item["kind"], item["coalitions"]
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if not texts or any(len(text) != n or set(text) - set("01") for text in texts):
        raise ValueError(f"a coalition is not {n} digits 0 or 1")
    return Round(kind, np.array([[digit == "1" for digit in text] for text in texts]))


def _damaged(work: Workspace, why: str) -> UserError:
    return UserError(
        f"{work.directory.design}: damaged ({' '.join(why.split())}); remove the file and run "
        "again: what was measured stays in the ledger"
    )
