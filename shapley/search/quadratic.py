"""A linear + pairwise view of a game near the sets that matter, fitted by ridge regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sampling.streams import stream
from shapley.game import FunctionGame, Game, default_players, evaluate
from shapley.regression.pairwise_ridge import fit_penalised
from shapley.search.candidate import limits_of
from shapley.search.constraints import Limits
from shapley.search.drawing import draw_sets, exchanged

__all__ = ["QuadraticFit", "fit_quadratic", "sample_near", "strongest_pairs"]


@dataclass(frozen=True, eq=False)
class QuadraticFit:
    """utility(removed) = constant + sum of linear terms + sum of pair terms of removed players.

    Attributes:
        constant: utility that the view gives the full coalition.
        linear: change of utility by the removal of each player.
        pairs: further change by the removal of two players; strictly upper triangular.
        r2: share of the (weighted) variance of the fitted utilities that the view explains.
    """

    constant: float
    linear: Float[np.ndarray, "n"]
    pairs: Float[np.ndarray, "n n"]
    r2: float

    def __call__(self, rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the utilities that the view gives coalitions of kept players."""
        gone = (~rows).astype(np.float64)
        return self.constant + gone @ self.linear + ((gone @ self.pairs) * gone).sum(axis=1)

    def game(self, players: tuple[str, ...] | None = None) -> Game:
        """Returns the view as a game."""
        return FunctionGame(self, players or default_players(len(self.linear)))


def fit_quadratic(
    rows: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"] | None = None,
    ridge: float = 1e-6,
) -> QuadraticFit:
    """Returns the weighted ridge regression of utilities on players and pairs of players.

    See :func:`shapley.regression.pairwise_ridge.fit_penalised`. Utilities that are not finite are
    left out.

    Args:
        rows: coalitions of kept players.
        utilities: their utilities.
        weights: how much each coalition counts; equally much by default.
        ridge: penalty, as a share of the mean size of a row's features.

    Raises:
        ValueError: if no utility is finite, the shapes do not fit, or weights or ridge are not
            positive.
    """
    known = np.isfinite(utilities)
    if len(rows) != len(utilities) or not known.any():
        raise ValueError("utilities must hold one value a coalition, at least one of them finite")
    weight = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if weight.shape != known.shape or not (weight > 0).all() or ridge <= 0:
        raise ValueError("weights and ridge must be positive, with one weight a coalition")
    gone, target = (~rows[known]).astype(np.float64), np.asarray(utilities)[known]
    fitted = fit_penalised(gone, target, weight[known], ridge)
    share = weight[known] / weight[known].sum()
    mean = float(share @ target)
    view = QuadraticFit(0.0, fitted.linear, fitted.pairs, 0.0)
    variance = float(share @ (target - mean) ** 2)
    error = float(share @ (target - fitted.bias - view(rows[known])) ** 2)
    r2 = 1.0 - error / variance if variance > 0 else 1.0
    return QuadraticFit(fitted.bias, fitted.linear, fitted.pairs, r2)


def strongest_pairs(view: QuadraticFit, count: int, most: int) -> QuadraticFit:
    """Returns a view with at most ``most`` pair terms, made for sets of ``count`` removals.

    For sets of one size the mean effect of a player's pairs is a linear effect: pairs_ij - u_i -
    u_j together with linear_i + (count - 1) u_i gives every such set the same utility. Pairs are
    centred in this way, then the weakest are dropped.

    Args:
        view: a fitted one; it stays as it is.
        count: players that the sets remove.
        most: pair terms to keep.
    """
    n = len(view.linear)
    both = view.pairs + view.pairs.T
    shift = np.zeros(n)
    if n > 2:
        shift = (both.sum(axis=1) - both.sum() / (2 * (n - 1))) / (n - 2)
    upper = np.triu(both - shift[:, None] - shift, 1)
    linear = view.linear + (count - 1) * shift
    weakest_first = np.argsort(np.abs(upper), axis=None, kind="stable")
    np.put(upper, weakest_first[: max(upper.size - most, 0)], 0.0)
    return QuadraticFit(view.constant, linear, upper, view.r2)


def sample_near(
    game: Game,
    count: int,
    seed: int,
    limits: Limits | None = None,
    *,
    size: int = 600,
    around: Bool[np.ndarray, "s n"] | None = None,
) -> tuple[Bool[np.ndarray, "m n"], Float[np.ndarray, "m"]]:
    """Returns sets of ``count`` removals to fit a view to, with their utilities; one game call.

    Half of them are drawn at random; the others lie one to three exchanges away from the sets in
    ``around``, where the optimum is expected. Limits other than protection do not matter here:
    sets that break them tell as much about the game.

    Args:
        game: what the view is to be fitted to.
        count: players that each set removes.
        seed: of the draws.
        limits: of which only the protected players count.
        size: number of sets.
        around: coalitions near which half of the sets lie; all sets are random when omitted.
    """
    rules = Limits(len(game.players), limits_of(game, limits).protected)
    rng = stream(seed, "quadratic sample", count)
    rows = draw_sets(rules, count, size, rng)
    if around is not None and len(around):
        rows[size // 2 :] = np.resize(around, (size - size // 2, rules.n))
        for share in (2, 1.5, 1.2):
            part = slice(int(size / share), size)
            rows[part] = exchanged(rows[part], rules.free, rng)
    return rows, evaluate(game, rows)
