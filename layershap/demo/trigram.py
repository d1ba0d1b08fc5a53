"""An interpolated Kneser-Ney trigram model: the bar that the demo model has to clear.

Source: Kneser & Ney, ICASSP 1995, in the interpolated form of Chen & Goodman, 1999, equation (23),
with the discount n1 / (n1 + 2 n2) of each order.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Trigram"]

Counts = tuple[Int[np.ndarray, "K"], Int[np.ndarray, "K"]]


class Trigram:
    """Trigram probabilities over a token stream; vocabularies up to 2^20.

    Args:
        tokens: training stream, one integer a token.
        vocabulary: number of token types.
    """

    def __init__(self, tokens: Int[np.ndarray, "N"], vocabulary: int) -> None:
        t = tokens.astype(np.int64)
        self._v = vocabulary
        trigrams = _count((t[:-2] * vocabulary + t[1:-1]) * vocabulary + t[2:])
        bigrams = _count(trigrams[0] % vocabulary**2)  # continuation counts: distinct left contexts
        unigrams = np.bincount(bigrams[0] % vocabulary, minlength=vocabulary).astype(np.int64)
        self._trigram = _Order(trigrams, vocabulary)
        self._bigram = _Order(bigrams, vocabulary)
        # Half a count for every type keeps unseen tokens possible.
        self._unigram = (unigrams + 0.5) / (unigrams.sum() + 0.5 * vocabulary)

    def probabilities(self, tokens: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N-2"]:
        """Probability of each token from the third on, given the two before it."""
        t = tokens.astype(np.int64)
        first, second, third = t[:-2], t[1:-1], t[2:]
        lower = self._bigram.interpolate(second, third, self._unigram[third])
        return self._trigram.interpolate(first * self._v + second, third, lower)

    def nll(self, tokens: Int[np.ndarray, "N"]) -> float:
        """Mean negative log-likelihood in nats per token."""
        return float(-np.log(self.probabilities(tokens)).mean())


class _Order:
    """One order of the model: p(c | context) = (n - D)+ / N + D * types / N * lower."""

    def __init__(self, counts: Counts, vocabulary: int) -> None:
        self._v = vocabulary
        self._grams, self._n = counts
        singles, doubles = int((self._n == 1).sum()), int((self._n == 2).sum())
        self._discount = singles / max(singles + 2 * doubles, 1)
        contexts = self._grams // vocabulary
        self._contexts, start = np.unique(contexts, return_index=True)
        self._total = np.add.reduceat(self._n, start)
        self._types = np.diff(np.append(start, len(contexts)))

    def interpolate(
        self,
        context: Int[np.ndarray, "N"],
        token: Int[np.ndarray, "N"],
        lower: Float[np.ndarray, "N"],
    ) -> Float[np.ndarray, "N"]:
        n = _look_up(self._grams, self._n, context * self._v + token)
        total = _look_up(self._contexts, self._total, context)
        types = _look_up(self._contexts, self._types, context)
        seen = total > 0
        total = np.maximum(total, 1)
        p = np.maximum(n - self._discount, 0.0) / total + self._discount * types / total * lower
        return np.where(seen, p, lower)


def _count(grams: Int[np.ndarray, "N"]) -> Counts:
    return np.unique(grams, return_counts=True)


def _look_up(
    keys: Int[np.ndarray, "K"], values: Int[np.ndarray, "K"], wanted: Int[np.ndarray, "N"]
) -> Int[np.ndarray, "N"]:
    position = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[position] == wanted, values[position], 0)
