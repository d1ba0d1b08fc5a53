"""How sure a ranking is: chances of being among the least valuable, and of being in order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from sampling.streams import stream
from shapley.values import Values

__all__ = [
    "RankingStatement",
    "least_valuable_probabilities",
    "order_probabilities",
    "ranking_sentences",
    "ranking_statements",
    "statements_by_count",
]

DRAWS = 20_000
MOST_DEGREES = 1_000.0


@dataclass(frozen=True)
class RankingStatement:
    """A statement about the ranking and how likely it is to hold for the true values.

    Attributes:
        kind: ``"least"`` (one player is among the least valuable), ``"set"`` (the least valuable
            are exactly these) or ``"order"`` (the first is worth less than the second).
        players: names of those it is about.
        probability: that it holds, given the values and their errors.
        text: the statement without its probability.
        certain: the values are exact, so nothing is left to chance.
    """

    kind: str
    players: tuple[str, ...]
    probability: float
    text: str
    certain: bool = False

    @property
    def sentence(self) -> str:
        """The statement with its probability, for people.

        No number of draws makes an estimate certain: 0 and 100 % are for exact values.
        """
        if not self.certain and self.probability > 0.99:
            return f"{self.text}: over 99 %"
        if not self.certain and self.probability < 0.01:
            return f"{self.text}: under 1 %"
        return f"{self.text}: {100 * self.probability:.0f} %"


def least_valuable_probabilities(
    values: Values,
    k: int,
    covariance: Float[np.ndarray, "n n"] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Float[np.ndarray, "n"]:
    """Returns the probability that each player is among the ``k`` least valuable.

    The probabilities add up to ``k``. They are shares of one set of draws of all true values
    around the estimates: multivariate normal, or Student's t with the degrees of freedom that the
    values' intervals are based on. Monte Carlo error: 0.0035 at most with 20,000 draws. Values
    that are exactly equal are equally likely to come first.

    Args:
        values: with standard errors.
        k: how many players, 1 to ``n``.
        covariance: of the values' errors; their own when omitted, and where they have none,
            independent errors with the standard errors.
        seed: of the draws.
        draws: how many.

    Raises:
        ValueError: if there are no standard errors, or ``k`` or the covariance do not fit.
    """
    _check_k(values, k)
    return (_ranks(_draw(values, covariance, seed, draws), seed) < k).mean(axis=0)


def order_probabilities(
    values: Values,
    covariance: Float[np.ndarray, "n n"] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Float[np.ndarray, "n-1"]:
    """Returns the probability that neighbours in the ranking are in the right order.

    Entry ``j`` is for places ``j`` and ``j + 1`` of :meth:`Values.ranking`; see
    :func:`least_valuable_probabilities` for the arguments and errors.

    Args:
        values: with standard errors.
        covariance: of the values; the one that they carry when omitted.
        seed: of the draws.
        draws: from the normal distribution of the values.
    """
    ranks = _ranks(_draw(values, covariance, seed, draws), seed)[:, values.ranking()]
    return (ranks[:, :-1] < ranks[:, 1:]).mean(axis=0)


def ranking_statements(
    values: Values,
    k: int,
    covariance: Float[np.ndarray, "n n"] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[RankingStatement, ...]:
    """Returns what can be said of the ``k`` least valuable players and of their order.

    First one statement for each of the ``k`` players of least estimated value, then one for all
    of them as a set (unless ``k`` is 1), then one for each pair of neighbours among the first
    ``k + 1`` places. All are about the same draws; see :func:`least_valuable_probabilities`.

    Args:
        values: with standard errors.
        k: how many least valuable players the statements are about.
        covariance: of the values; the one that they carry when omitted.
        seed: of the draws.
        draws: from the normal distribution of the values.

    Raises:
        ValueError: if there are no standard errors, or ``k`` or the covariance do not fit.
    """
    return statements_by_count(values, [k], covariance, seed=seed, draws=draws)[k]


def statements_by_count(
    values: Values,
    counts: Iterable[int],
    covariance: Float[np.ndarray, "n n"] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> dict[int, tuple[RankingStatement, ...]]:
    """Returns what :func:`ranking_statements` says for each of several counts, from the same draws.

    Args:
        values: with standard errors.
        counts: of least valuable players that the statements are about.
        covariance: of the values; the one that they carry when omitted.
        seed: of the draws.
        draws: from the normal distribution of the values.

    Raises:
        ValueError: as :func:`ranking_statements`.
    """
    wanted = list(counts)
    for k in wanted:
        _check_k(values, k)
    order = values.ranking()
    names = [values.players[player] for player in order]
    ranks = _ranks(_draw(values, covariance, seed, draws), seed)[:, order]
    certain = covariance is None and not values.standard_errors.any()
    return {k: _statements(names, ranks, k, certain) for k in wanted}


def _statements(
    names: list[str], ranks: Int[np.ndarray, "D n"], k: int, certain: bool
) -> tuple[RankingStatement, ...]:
    """What the ranks of players in every draw, the least valuable first, say of the first k."""

    def say(kind: str, who: list[str], holds: Bool[np.ndarray, "D"], text: str) -> None:
        found.append(RankingStatement(kind, tuple(who), float(holds.mean()), text, certain))

    found: list[RankingStatement] = []
    least = "the least valuable" if k == 1 else f"among the {k} least valuable"
    for at in range(k):
        say("least", [names[at]], ranks[:, at] < k, f"{names[at]} is {least}")
    if k > 1:
        text = f"the {k} least valuable are {', '.join(names[:k])}"
        say("set", names[:k], ranks[:, :k].max(axis=1) < k, text)
    for at in range(min(k, len(names) - 1)):
        text = f"{names[at]} is worth less than {names[at + 1]}"
        say("order", names[at : at + 2], ranks[:, at] < ranks[:, at + 1], text)
    return tuple(found)


def ranking_sentences(
    values: Values,
    k: int,
    covariance: Float[np.ndarray, "n n"] | None = None,
    *,
    seed: int = 0,
) -> list[str]:
    """Returns sentences such as ``"p7 is among the 3 least valuable: 98 %"``.

    See :func:`ranking_statements` for the arguments and errors.

    Args:
        values: with standard errors.
        k: how many least valuable players the sentences are about.
        covariance: of the values; the one that they carry when omitted.
        seed: of the draws.
    """
    return [found.sentence for found in ranking_statements(values, k, covariance, seed=seed)]


def _check_k(values: Values, k: int) -> None:
    n = len(values.players)
    if not 1 <= k <= n:
        raise ValueError(f"k must be between 1 and n = {n} players, got {k}")


def _draw(
    values: Values, covariance: Float[np.ndarray, "n n"] | None, seed: int, draws: int
) -> Float[np.ndarray, "D n"]:
    """Draws true values around the estimates."""
    n = len(values.players)
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    covariance = values.covariance if covariance is None else covariance
    if covariance is None:
        if not np.isfinite(values.standard_errors).all():
            raise ValueError("values has no standard errors; raise the budget or pass a covariance")
        root = np.diag(values.standard_errors)
    else:
        root = _root(np.asarray(covariance, dtype=np.float64), n)
    rng = stream(seed, "ranking", n)
    noise = rng.normal(size=(draws, n)) @ root.T
    degrees = _degrees(values.quantile)
    if degrees < MOST_DEGREES:
        # One chi-square a draw: the errors of all players are estimated from the same spread.
        noise *= np.sqrt(degrees / rng.chisquare(degrees, size=(draws, 1)))
    return values.values + noise


def _root(covariance: Float[np.ndarray, "n n"], n: int) -> Float[np.ndarray, "n n"]:
    if covariance.shape != (n, n) or not np.isfinite(covariance).all():
        raise ValueError(
            f"covariance must be finite [{n}, {n}], got shape {list(covariance.shape)}"
        )
    size = np.abs(covariance).max(initial=0.0)
    spectrum, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if np.abs(covariance - covariance.T).max() > 1e-6 * size or spectrum.min() < -1e-6 * size:
        raise ValueError(
            "covariance must be symmetric without negative eigenvalues; pass the covariance of"
            " the values' errors"
        )
    return vectors * np.sqrt(np.maximum(spectrum, 0.0))


def _degrees(quantile: float) -> float:
    """Returns the degrees of freedom of the Student's t with this 97.5 % quantile."""
    if quantile <= stats.t.ppf(0.975, MOST_DEGREES):
        return MOST_DEGREES
    if quantile >= stats.t.ppf(0.975, 1.0):
        return 1.0
    # The quantile falls steadily with the degrees of freedom: halve their range till it fits.
    low, high = 1.0, MOST_DEGREES
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if stats.t.ppf(0.975, middle) > quantile else (low, middle)
    return low


def _ranks(drawn: Float[np.ndarray, "D n"], seed: int) -> Int[np.ndarray, "D n"]:
    """Returns each player's place in each draw, 0 for the least valuable; ties fall at random."""
    order = np.argsort(drawn, axis=-1)
    ascending = np.take_along_axis(drawn, order, axis=-1)
    if (ascending[:, 1:] == ascending[:, :-1]).any():
        tie = stream(seed, "ranking ties", drawn.shape[1]).random(drawn.shape)
        order = np.lexsort((tie, drawn), axis=-1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(drawn.shape[1])[None], axis=-1)
    return ranks
