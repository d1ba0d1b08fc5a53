"""The result of every estimator: values with their uncertainty, spend and status."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Status", "Values"]

NORMAL_975 = 1.959963984540054


class Status(enum.Enum):
    """What stands behind a set of values, as a sentence for people."""

    EXACT = "Every coalition was evaluated: the values are exact."
    ESTIMATED = "The values are estimates from a sample of coalitions."
    WITHOUT_ERRORS = (
        "The values are estimates; the sample does not allow standard errors, so none are given."
    )
    UNDERDETERMINED = (
        "Too few coalitions to tell all players apart: the values are the smallest ones that fit"
        " and have no standard errors. Raise the budget."
    )
    SURROGATE = (
        "The values are the surrogate's own; their standard errors hold the sampling of the"
        " surrogate only, not its misfit to the real game."
    )
    CORRECTED = (
        "The surrogate's values, corrected by a regression on the real game's residuals, with"
        " intervals from cross-fitted residuals."
    )
    CORRECTED_WITHOUT_ERRORS = (
        "The surrogate's values, corrected by a regression on the real game's residuals; without"
        " out-of-fold predictions there are no standard errors and the surrogate is taken on trust."
    )
    FELL_BACK = (
        "The surrogate explains less than half of the held-out variance, so it was not used: the"
        " values come from the regression on the measured coalitions alone."
    )
    QUADRATURE = (
        "The values of a Gaussian process fitted to the measured coalitions, in closed form; the"
        " intervals are widened by how far earlier estimates really moved."
    )
    ROUGH = (
        "The game is rough: a smooth function explains less than half of its held-out variance, so"
        " the values rest on the linear part and on the measured coalitions; raise the budget."
    )


@dataclass(frozen=True, eq=False)
class Values:
    """Values of the players of a game.

    Attributes:
        players: ``n`` names.
        values: one value a player, in units of the utility.
        standard_errors: NaN where the estimator has none.
        lower: lower end of the 95 % interval, NaN where there is no standard error.
        upper: upper end of the 95 % interval.
        method: name of the estimator.
        kind: ``"shapley"``, ``"restricted:r"`` (at most r removals) or ``"banzhaf"``.
        spent: distinct coalitions evaluated (calls, where a surrogate was asked).
        budget: how many were allowed; None for no limit.
        status: what stands behind the values.
        diagnostics: further figures of the method, such as ``out_of_fold_r2``.
        covariance: of the values' errors, where the estimator has one; its diagonal holds the
            squares of the standard errors.
    """

    players: tuple[str, ...]
    values: Float[np.ndarray, "n"]
    standard_errors: Float[np.ndarray, "n"]
    lower: Float[np.ndarray, "n"]
    upper: Float[np.ndarray, "n"]
    method: str
    kind: str
    spent: int
    budget: int | None
    status: Status
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    covariance: Float[np.ndarray, "n n"] | None = None

    @classmethod
    def build(
        cls,
        players: Sequence[str],
        values: Float[np.ndarray, "n"],
        standard_errors: Float[np.ndarray, "n"] | None = None,
        *,
        method: str,
        status: Status,
        spent: int,
        budget: int | None,
        kind: str = "shapley",
        quantile: float = NORMAL_975,
        diagnostics: Mapping[str, float] | None = None,
        covariance: Float[np.ndarray, "n n"] | None = None,
    ) -> Values:
        """Builds a result with symmetric 95 % intervals from standard errors.

        Args:
            players: names.
            values: one a player.
            standard_errors: one a player; None for none.
            method: name of the estimator.
            status: what stands behind the values.
            spent: distinct coalitions evaluated.
            budget: how many were allowed.
            kind: which value it is.
            quantile: half width of the interval in standard errors.
            diagnostics: further figures.
            covariance: of the values' errors; None for none.

        Raises:
            ValueError: if a length does not fit the players.
        """
        centre = np.array(values, dtype=np.float64)
        n = len(players)
        spread = np.full(n, np.nan) if standard_errors is None else np.array(standard_errors)
        if centre.shape != (n,) or spread.shape != (n,):
            raise ValueError(
                f"values and standard_errors must have one entry for each of {n} players,"
                f" got shapes {list(centre.shape)} and {list(spread.shape)}"
            )
        return cls(
            players=tuple(players),
            values=centre,
            standard_errors=spread.astype(np.float64),
            lower=centre - quantile * spread,
            upper=centre + quantile * spread,
            method=method,
            kind=kind,
            spent=int(spent),
            budget=budget,
            status=status,
            diagnostics=dict(diagnostics or {}),
            covariance=None if covariance is None else np.array(covariance, dtype=np.float64),
        )

    @property
    def quantile(self) -> float:
        """Half width of the 95 % intervals in standard errors; 1.96 where none has a width."""
        half = (self.upper - self.lower) / 2
        wide = half > 0  # NaN is not
        return (
            float(np.median(half[wide] / self.standard_errors[wide])) if wide.any() else NORMAL_975
        )

    def ranking(self) -> Int[np.ndarray, "n"]:
        """Returns player indices by ascending value: the least valuable player comes first."""
        return np.argsort(self.values, kind="stable")

    def to_dict(self) -> dict[str, Any]:
        """Returns a dictionary that ``json`` can write without NaN; see :meth:`from_dict`."""
        return {
            "players": list(self.players),
            "values": self.values.tolist(),
            "standard_errors": _without_nan(self.standard_errors),
            "lower": _without_nan(self.lower),
            "upper": _without_nan(self.upper),
            "method": self.method,
            "kind": self.kind,
            "spent": self.spent,
            "budget": self.budget,
            "status": self.status.name,
            "status_text": self.status.value,
            "diagnostics": {
                name: number if np.isfinite(number) else None
                for name, number in self.diagnostics.items()
            },
            "covariance": None if self.covariance is None else self.covariance.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Values:
        """Returns the values behind :meth:`to_dict`.

        Raises:
            ValueError: if an entry is missing or the status is unknown.
        """
        try:
            return cls(
                players=tuple(data["players"]),
                values=np.array(data["values"], dtype=np.float64),
                standard_errors=_with_nan(data["standard_errors"]),
                lower=_with_nan(data["lower"]),
                upper=_with_nan(data["upper"]),
                method=data["method"],
                kind=data["kind"],
                spent=data["spent"],
                budget=data["budget"],
                status=Status[data["status"]],
                diagnostics={
                    name: float("nan") if number is None else float(number)
                    for name, number in data.get("diagnostics", {}).items()
                },
                covariance=None if (found := data.get("covariance")) is None else np.array(found),
            )
        except KeyError as error:
            raise ValueError(
                f"data has no valid entry for {error}; pass what Values.to_dict wrote"
            ) from error


def _without_nan(numbers: Float[np.ndarray, "n"]) -> list[float | None]:
    return [number if np.isfinite(number) else None for number in numbers.tolist()]


def _with_nan(numbers: Sequence[float | None]) -> Float[np.ndarray, "n"]:
    return np.array([np.nan if number is None else number for number in numbers], dtype=np.float64)
