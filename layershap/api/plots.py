"""Values and frontier as matplotlib figures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from layershap.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier_figure", "values_figure"]

# Told apart by people of every colour vision (Okabe and Ito, "Color Universal Design", 2008).
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"


def values_figure(values: pd.DataFrame, noun: str = "layer", ax: Axes | None = None) -> Figure:
    """Draw values with 95 % intervals, a bar a player from input (top) to output.

    Args:
        values: as `layershap.api.frames.values_frame` gives them.
        noun: what a player is.
        ax: where to draw; a new figure when omitted.
    """
    figure, axes = _canvas(ax, "plot_values", (6.4, 1.2 + 0.28 * len(values)))
    attrs, shares = values.attrs, values.attrs.get("value_of", "loss") != "loss"
    if shares:
        values = 100 * values
    places = np.arange(len(values))
    ends = _whiskers(values, "value")
    axes.barh(
        places, values["value"], color=BLUE, height=0.62, label=attrs.get("title", "Shapley values")
    )
    axes.errorbar(
        values["value"], places, xerr=ends, fmt="none", ecolor="black", capsize=2, linewidth=1
    )
    limit = attrs.get("restricted_to")
    label = "few removed" if limit is None else f"at most {limit} removed"
    axes.plot(values["restricted"], places, "D", color=ORANGE, markersize=4, label=label)
    axes.set_yticks(places, list(values.index))
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("% of the whole model" if shares else attrs.get("unit", ""))
    axes.set_title(f"What each {noun} is worth")
    axes.legend(frameon=False)
    return figure


def frontier_figure(
    recommendations: pd.DataFrame,
    baselines: pd.DataFrame,
    noun: str = "layer",
    ax: Axes | None = None,
) -> Figure:
    """Draw held-out cost against the number of players removed.

    Args:
        recommendations: as `layershap.api.frames.recommendations_frame` gives them.
        baselines: as `layershap.api.frames.baselines_frame` gives them; may be empty.
        noun: what a player is.
        ax: where to draw; a new figure when omitted.
    """
    figure, axes = _canvas(ax, "plot_frontier", (6.4, 4.0))
    markers = "sv^P*Xphd"
    for index, (method, rows) in enumerate(baselines.groupby("method", sort=False)):
        axes.plot(
            rows["count"],
            rows["cost"],
            markers[index % len(markers)],
            linestyle=":",
            color=GREY,
            markersize=5,
            label=str(method),
        )
    cost, ends = recommendations["cost"], _whiskers(recommendations, "cost")
    axes.errorbar(
        recommendations.index, cost, yerr=ends, fmt="o-", color=BLUE, capsize=3, label="layershap"
    )
    axes.set_xticks(list(recommendations.index))
    axes.set_xlabel(f"{noun}s removed")
    axes.set_ylabel("held-out cost, nats per token (95 %)")
    axes.set_title(f"Measured on {recommendations.attrs.get('text', 'held-out text')}")
    axes.legend(frameon=False)
    return figure


def _canvas(ax: Axes | None, caller: str, size: tuple[float, float]) -> tuple[Any, Axes]:
    if ax is not None:
        return ax.get_figure(), ax
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UserError(
            f"{caller}: needs matplotlib; install it with pip install 'layershap[plots]'"
        ) from None

    class Shown(Figure):
        """A figure of nobody's list of open figures that notebooks show all the same."""

        def _repr_png_(self) -> bytes:
            stream = io.BytesIO()
            self.savefig(stream, format="png", dpi=144)
            return stream.getvalue()

    figure = Shown(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _whiskers(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Lengths below and above a column; none where there is no interval."""
    middle, lower, upper = (frame[c].to_numpy(float) for c in (column, "lower", "upper"))
    return np.clip(np.nan_to_num(np.stack([middle - lower, upper - middle])), 0, None)
