"""What each player of a run is worth: `values.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer, PlainValidator

from layershap.results.result_file import ResultFile
from shapley.values import Values as PlayerValues

__all__ = ["VALUES", "ErrorPoint", "RankingEntry", "ValueOf", "Values"]

ValueOf = Literal["retention", "loss", "share"]
"""What values are of: retention, the raw loss, or the share of the whole model's score."""


def _read(content: Any) -> PlayerValues:
    try:
        return PlayerValues.from_dict(content)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"are no values of players ({error})") from None


_Values = Annotated[
    PlayerValues, PlainValidator(_read), PlainSerializer(lambda values: values.to_dict())
]


@dataclass(frozen=True)
class RankingEntry:
    """What can be said of the k least valuable players.

    Attributes:
        k: how many.
        players: those of least value, by name.
        probability: that these are the k least valuable on the calibration text.
        probability_on_such_text: the same for all text of its kind; None where it is not known.
        exact: whether the values are exact.
        sentences: what to say, see :func:`shapley.ranking_sentences`.
    """

    k: int
    players: tuple[str, ...]
    probability: float
    probability_on_such_text: float | None
    exact: bool
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class ErrorPoint:
    """Standard errors of the values from the first measurements, all players together.

    Attributes:
        evaluations: distinct coalitions that they were estimated from.
        largest: in units of the utility.
        root_mean_square: of the same.
    """

    evaluations: int
    largest: float
    root_mean_square: float


@dataclass(frozen=True, eq=False)
class Values:
    """Shapley values, values of nearly whole models, and interactions of a run's players.

    Attributes:
        fingerprint: of the calibration campaign that they rest on.
        unit: of the values, for people.
        utility: the metric that decides.
        shapley: the Shapley values.
        restricted: values within sets of at most `restricted_to` removed players.
        restricted_to: that number.
        interactions: pairwise Shapley interactions, [n][n] in units of the values.
        shapley_text_standard_errors: how much other text of the kind would move each value; None
            where it cannot be told.
        ranking: for several k what can be said of the k least valuable players.
        error_history: how the standard errors fell as sets were measured.
        budget_to_halve_errors: of a run; None where it cannot be told.
        interaction_standard_errors: of the interactions, [n][n]; None where they are exact.
        value_of: what the values, interactions and errors are of; files of schema 1 and 2 are of
            the raw loss.
        whole_utility: of the whole model, which retention and shares refer to; None where it is
            not finite, and in those files.
        better_sets: measured sets that keep more than the whole model has.
        at_most: removed players of the values that are shown first; None for the Shapley values.
    """

    fingerprint: str
    unit: str
    utility: str
    shapley: _Values
    restricted: _Values
    restricted_to: int
    interactions: tuple[tuple[float, ...], ...]
    shapley_text_standard_errors: tuple[float | None, ...] | None = None
    ranking: tuple[RankingEntry, ...] = ()
    error_history: tuple[ErrorPoint, ...] = ()
    budget_to_halve_errors: int | None = None
    interaction_standard_errors: tuple[tuple[float | None, ...], ...] | None = None
    value_of: ValueOf = "loss"
    whole_utility: float | None = None
    better_sets: int = 0
    at_most: int | None = None

    @property
    def headline(self) -> PlayerValues:
        """The values that are shown first, and that `ranking` is about."""
        return self.shapley if self.at_most is None else self.restricted


VALUES = ResultFile(Values, "values.json", "values")
