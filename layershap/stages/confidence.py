"""How sure the ranking is, on the calibration text and on text of its kind in general."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layershap.results.values import RankingEntry
from layershap.stages.value_scale import ScaledRecords
from shapley import RankingStatement, Status, Values, bootstrap_values, statements_by_count

__all__ = ["FEW", "TextErrors", "confidence", "rankings", "text_uncertainty"]

FEW = 3


@dataclass(frozen=True, eq=False)
class TextErrors:
    """By how much values on the calibration text differ from those on all text of its kind.

    Attributes:
        standard_errors: by resampling the sequences or items.
        covariance: of the same, from the sequences' own values.
    """

    standard_errors: Float[np.ndarray, "n"]
    covariance: Float[np.ndarray, "n n"]


def text_uncertainty(
    measured: ScaledRecords, operator: Float[np.ndarray, "n m"] | None, seed: int
) -> TextErrors | None:
    """The uncertainty of values over the choice of sequences or items.

    On a scale that is not linear in the loss, sequences count to first order (the delta method, see
    :meth:`layershap.stages.value_scale.Scale.linearised`), which keeps values linear in them: the
    operator, the resampling and the covariance tell of one and the same thing.

    Args:
        measured: on the scale of the values.
        operator: takes their places on it to the values.
        seed: of the resampling.

    Returns:
        None with a single sequence, or without an operator.
    """
    vectors_mS, weights_S = measured.by_sequence, measured.weights
    if operator is None or len(weights_S) < 2:
        return None
    found = bootstrap_values(operator, vectors_mS, weights_S, seed)
    share_S = weights_S / weights_S.sum()
    apart_nS = (operator @ vectors_mS - found.values[:, None]) * share_S
    size = len(share_S)
    return TextErrors(found.standard_errors, size / (size - 1) * apart_nS @ apart_nS.T)


def rankings(
    values: Values, counts: Sequence[int], text: TextErrors | None, seed: int
) -> list[RankingEntry]:
    """Tell what can be said of the least valuable players, for each number of them.

    Args:
        values: Shapley values.
        counts: numbers of players of interest.
        text: the uncertainty over text of this kind; None where it is not known.
        seed: of the draws behind the probabilities.

    Returns:
        an entry a number; none where the values have no standard errors that hold all of their
        error.
    """
    unknown = values.status is Status.SURROGATE or not np.isfinite(values.standard_errors).all()
    if unknown:
        return []
    n = len(values.players)
    own = values.covariance
    own = np.diag(values.standard_errors**2) if own is None else own
    wanted = sorted({min(FEW, n - 1), *counts})
    here = statements_by_count(values, wanted, seed=seed)
    wider = None if text is None else own + text.covariance
    there = None if wider is None else statements_by_count(values, wanted, wider, seed=seed)
    return [
        RankingEntry(
            k,
            tuple(values.players[player] for player in values.ranking()[:k]),
            _of_set(here[k]).probability,
            None if there is None else _of_set(there[k]).probability,
            values.status is Status.EXACT,
            tuple(statement.sentence for statement in here[k]),
        )
        for k in wanted
    ]


def confidence(ranking: Sequence[RankingEntry], k: int | None = None) -> list[str]:
    """Sentences about the k least valuable players: each of them, the set, and in general.

    Args:
        ranking: entries of :func:`rankings`.
        k: number of players; three or next to it when omitted.
    """
    if not ranking:
        return []
    entry = min(ranking, key=lambda item: (abs(item.k - (k or FEW)), item.k))
    size = entry.k
    told = ["the ranking is exact on the calibration text"] if entry.exact else []
    if not entry.exact:
        told = [*entry.sentences[: size + 1 if size > 1 else 1]]
    wider = entry.probability_on_such_text
    if wider is not None:
        names = ", ".join(entry.players)
        these = f"{names} is the least" if size == 1 else f"the {size} least valuable are {names}"
        these += " valuable" if size == 1 else ""
        told = [*told, f"{these}, on text of this kind in general: {_share(wider)}"]
    return told


def _of_set(statements: Sequence[RankingStatement]) -> RankingStatement:
    """The statement about all of the least valuable players together."""
    return next((s for s in statements if s.kind == "set"), statements[0])


def _share(probability: float) -> str:
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"
