"""The repairs that were fitted for sets of a run: `repairs.json`, values beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layershap.results.paired_results import PairedResult, RepairedCost
from layershap.results.result_file import ResultFile

__all__ = ["REPAIRS", "KeptRepair", "Repairs", "TriedMethod"]

Removed = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TriedMethod:
    """How one method of repair did on the third of the text that compares.

    Attributes:
        method: its name.
        cost: nats per token above the whole model; None where it could not be fitted.
        seconds: that fitting and comparing took.
        notes: warnings, or why it could not be fitted.
    """

    method: str
    cost: float | None
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeptRepair:
    """The repair of one set.

    Attributes:
        removed: player indices, ascending.
        names: the same as `--remove` takes them.
        asked: the method that was asked for, or which were compared: "auto" or "fast".
        tried: every method, the best first.
        fitted_tokens: that the methods were fitted on to be compared.
        compared_tokens: that they were compared on.
        deleted: the set without repair beside the whole model, on the held-out text.
        cost: the same with it.
        edits: what makes the repaired model, as `decoder.surgery.edit.edits_to_json` writes it.
        patches: file of the fitted weights in the run directory; None where nothing was fitted.
        stock: a stock checkpoint can hold all that was fitted.
        fitted_on: hex digest of the token ids that the weights were fitted on.
        heldout: of the held-out campaign, the weights of the model included.
        notes: what a person should know, one line each.
        matrices: file of the matrices at the cuts in the run directory; None where there are none.
    """

    removed: Removed
    names: str
    asked: str
    tried: tuple[TriedMethod, ...]
    fitted_tokens: int
    compared_tokens: int
    deleted: PairedResult
    cost: RepairedCost
    edits: tuple[Mapping[str, Any], ...]
    patches: str | None
    stock: bool
    fitted_on: str
    heldout: str
    notes: tuple[str, ...] = ()
    matrices: str | None = None


@dataclass(frozen=True)
class Repairs:
    """All repairs of a run.

    Attributes:
        repairs: the newest last; one of each set, what was asked for, and stock or not.
    """

    repairs: tuple[KeptRepair, ...] = ()

    def of_set(
        self,
        removed: Sequence[int],
        heldout: str,
        asked: str | None = None,
        *,
        stock: bool = True,
    ) -> KeptRepair | None:
        """Return the newest repair of a set; None where there is none.

        Args:
            removed: player indices.
            heldout: of the held-out campaign: other weights have other repairs.
            asked: the method that was asked for; any when omitted.
            stock: whether a stock checkpoint can hold it.
        """
        wanted = tuple(sorted(removed)), heldout, stock
        for one in reversed(self.repairs):
            own = one.removed, one.heldout, one.stock
            if own == wanted and asked in (None, one.asked):
                return one
        return None

    def added(self, new: KeptRepair) -> Repairs:
        """Return the same with one more, in the place of an earlier one of the same set and kind.

        Args:
            new: the repair.
        """
        key = (new.removed, new.asked, new.stock)
        others = (o for o in self.repairs if (o.removed, o.asked, o.stock) != key)
        return Repairs((*others, new))


REPAIRS = ResultFile(Repairs, "repairs.json", "repair")
