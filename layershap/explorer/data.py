"""What the explorer shows, gathered from a run directory and put into one JSON value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from decoder.players import Roster, Slot, make_roster
from layershap.explorer.weights import packed, packed_bits, surrogate_weights
from layershap.results.paired_results import RepairedCost
from layershap.results.recommendations import (
    RECOMMENDATIONS,
    BaselineVariant,
    Recommendations,
    VerifiedVariant,
)
from layershap.results.surrogate_fit import SURROGATE_FIT
from layershap.results.value_text import explanation, values_title
from layershap.results.values import VALUES, Values
from layershap.results.why_set import MeasuredCosts, why_set
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.utilities import parse_utilities
from surrogate import SurrogateRegressor, load
from surrogate.model.measured import check_measured

__all__ = ["SCHEMA", "Exploration", "Verified", "explorer_data", "gather"]

SCHEMA = 1


@dataclass(frozen=True)
class Verified:
    """A set that was measured on held-out text.

    Attributes:
        removed: player indices, ascending.
        source: ``recommended`` or the published method that names it.
        nll: nats per token.
        difference: nats per token above the whole model, with its 95 % interval; NaN where none.
        prefill: speed as a ratio to the whole model; None where not measured.
        decoding: the same of cached decoding.
        why: why the search chose it, a sentence; empty where it did not, or nothing is told.
        repaired: its cost when the weights that stay are fitted; None where they were not.
    """

    removed: tuple[int, ...]
    source: str
    nll: float
    difference: tuple[float, float, float]
    prefill: float | None = None
    decoding: float | None = None
    why: str = ""
    repaired: RepairedCost | None = None


@dataclass(frozen=True, eq=False)
class Exploration:
    """All that the page shows.

    Attributes:
        model: what a person calls it.
        run: the run directory, as its commands name it.
        roster: who plays.
        noun: what one player is.
        metric: the measured quantity that decides.
        unit: what it is counted in.
        sign: 1 where higher is better, -1 where lower is.
        regressor: predicts the utility, which is the sign times the metric.
        coalitions: the measured ones, the whole model among them; True = kept.
        utilities: theirs, finite.
        values: those of the run; None where not computed.
        verified: sets measured on held-out text.
        trust: how good predictions are near the whole model, in a sentence; None if unknown.
    """

    model: str
    run: str
    roster: Roster
    noun: str
    metric: str
    unit: str
    sign: int
    regressor: SurrogateRegressor
    coalitions: Bool[np.ndarray, "m n"]
    utilities: Float[np.ndarray, "m"]
    values: Values | None = None
    verified: tuple[Verified, ...] = ()
    trust: str | None = None

    def __post_init__(self) -> None:
        check_measured(self.regressor, len(self.roster.names), self.coalitions, self.utilities)


def gather(config: RunConfig, directory: RunDirectory) -> Exploration:
    """Reads what a run has found so far: its surrogate at least.

    Raises:
        surrogate.SurrogateNotFound: there is no surrogate yet.
        cluster.LedgerError: the ledger cannot be read.
        UserError: a file is damaged.
    """
    from cluster import Ledger
    from layershap.runs.recorded import CALIBRATION

    regressor = load(directory.surrogate)
    with Ledger(directory.ledger, readonly=True) as ledger:
        campaign = ledger.campaign(CALIBRATION)
        details, records = campaign.details, campaign.read()
    roster = make_roster(details["players"], details["depth"], details["protected"])
    values = VALUES.found(directory.path)
    verified = RECOMMENDATIONS.found(directory.path)
    fit = SURROGATE_FIT.found(directory.path)
    costs = MeasuredCosts(records.coalitions, records.utilities)
    unit = parse_utilities(config.utilities)[0].unit

    def why(removed: tuple[int, ...]) -> str:
        if values is None:
            return ""
        return why_set(values, removed, costs, unit, config.noun).sentence

    return Exploration(
        model=config.title,
        run=str(directory.path),
        roster=roster,
        noun=config.noun,
        metric=campaign.utility,
        unit=unit,
        sign=campaign.column(campaign.utility).sign,
        regressor=regressor,
        coalitions=records.coalitions[records.ok],
        utilities=records.utilities[records.ok],
        values=values,
        verified=() if verified is None else _verified(verified, why),
        trust=None if fit is None else fit.evaluation.near_sentence(unit),
    )


def explorer_data(
    exploration: Exploration, service: str | None = None, *, measures: bool = False
) -> dict[str, Any]:
    """Returns everything the page needs as one JSON value.

    Args:
        exploration: what to show.
        service: base URL of the query service that serves the page; None for a file.
        measures: whether that service measures sets on the real model.
    """
    roster, values = exploration.roster, exploration.values
    return {
        "schema": SCHEMA,
        "model": exploration.model,
        "run": exploration.run,
        "noun": exploration.noun,
        "metric": exploration.metric,
        "unit": exploration.unit,
        "sign": exploration.sign,
        "trust": exploration.trust,
        "players": list(roster.names),
        "stack": _stack(roster.slots),
        "values": None
        if values is None
        else {
            "values": _plain(values.headline.values),
            "lower": _plain(values.headline.lower),
            "upper": _plain(values.headline.upper),
            "of": values.value_of,
            "title": values_title(values),
            "facts": explanation(values, exploration.noun),
        },
        "surrogate": surrogate_weights(exploration.regressor),
        "measured": {
            "coalitions": packed_bits(exploration.coalitions),
            "utilities": packed(np.asarray(exploration.utilities, np.float64)),
        },
        "verified": [
            {
                "removed": list(item.removed),
                "source": item.source,
                "nll": item.nll if math.isfinite(item.nll) else None,
                "difference": _plain(item.difference),
                "prefill": item.prefill,
                "decoding": item.decoding,
                "why": item.why,
                "repaired": None if item.repaired is None else item.repaired.facts(),
            }
            for item in exploration.verified
        ],
        "service": service.rstrip("/") if service else None,
        "measures": service is not None and measures,
    }


def _stack(slots: Sequence[Slot]) -> list[dict[str, Any]]:
    """Returns the rows of the stack from input to output: a layer with its parts, or a block."""
    rows = []
    for _, parts in groupby(slots, key=lambda slot: slot.units[0].layer):
        row = list(parts)
        name = row[0].name if len(row) == 1 else f"L{row[0].units[0].layer}"
        rows.append({"name": name, "parts": [_part(slot) for slot in row]})
    return rows


def _part(slot: Slot) -> dict[str, Any]:
    return {"name": slot.name, "part": slot.units[0].part, "player": slot.player}


def _verified(
    found: Recommendations, why: Callable[[tuple[int, ...]], str]
) -> tuple[Verified, ...]:
    """Returns every verified set once; a recommended one under that name, with its reason."""
    sets = {
        item.removed: _verified_one(item, "recommended", why(item.removed))
        for item in found.recommendations
    }
    for item in found.variants():
        if isinstance(item, BaselineVariant) and item.removed not in sets:
            sets[item.removed] = _verified_one(item, item.method)
    return tuple(sets.values())


def _verified_one(item: VerifiedVariant | BaselineVariant, source: str, why: str = "") -> Verified:
    cost, speed = item.estimate, item.speed
    return Verified(
        removed=item.removed,
        source=source,
        nll=math.nan if item.nll is None else item.nll,
        difference=(cost.value, cost.lower, cost.upper),
        prefill=None if speed is None else speed.ratio("prefill").value,
        decoding=None if speed is None else speed.ratio("decode").value,
        why=why,
        repaired=item.repair if isinstance(item, VerifiedVariant) else None,
    )


def _plain(numbers: Sequence[float] | Float[np.ndarray, "k"]) -> list[float | None]:
    return [float(x) if np.isfinite(x) else None for x in numbers]
