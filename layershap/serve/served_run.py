"""A run directory as what the query service serves."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from decoder.players import Roster
from layershap.explorer import gather
from layershap.results.recommendations import RECOMMENDATIONS, Recommendations
from layershap.results.values import VALUES
from layershap.runs.config_file import read_config
from layershap.runs.directory import RunDirectory
from layershap.serve.http import Snapshot

__all__ = ["RunSource"]


class RunSource:
    """Snapshots of a run directory; a new one whenever a stage has written something."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._last: tuple[Hashable, Snapshot] | None = None

    def stamp(self) -> Hashable:
        """Returns sizes and times of the files that a snapshot is made of."""
        d, stamps = self.directory, []
        ledger = [d.ledger, d.ledger.with_name(d.ledger.name + "-wal")]
        for path in (*ledger, d.surrogate / "surrogate.json", d.values, d.recommendations):
            try:
                found = path.stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((found.st_mtime_ns, found.st_size))
        return tuple(stamps)

    def load(self) -> Snapshot:
        """Returns what is there now.

        Raises:
            surrogate.SurrogateNotFound: nothing was fitted yet.
            UserError: a file is damaged.
        """
        stamp = self.stamp()
        if self._last is None or self._last[0] != stamp:
            self._last = stamp, self._read()
        return self._last[1]

    def _read(self) -> Snapshot:
        directory = self.directory
        config = read_config(directory.config)
        found = gather(config, directory)
        worth, verified = VALUES.found(directory.path), RECOMMENDATIONS.found(directory.path)
        missing = {
            name: f"run layershap {stage} {directory.path} first"
            for name, stage in (
                ("values", "values"),
                ("interactions", "values"),
                ("recommendations", "verify"),
            )
        }
        return Snapshot(
            title=config.title,
            players=found.roster.names,
            regressor=found.regressor,
            coalitions=found.coalitions,
            utilities=found.utilities,
            metric=found.metric,
            unit=found.unit,
            sign=found.sign,
            names=_numbers(found.roster),
            values={}
            if worth is None
            else {"shapley": worth.shapley, "restricted": worth.restricted},
            shown="shapley" if worth is None or worth.at_most is None else "restricted",
            value_of="loss" if worth is None else worth.value_of,
            value_unit=found.unit if worth is None else worth.unit,
            whole_utility=None if worth is None else worth.whole_utility,
            interactions=None if worth is None else _matrix(worth.interactions),
            interaction_errors=None
            if worth is None
            else _matrix(worth.interaction_standard_errors),
            recommendations=None if verified is None else _recommendations(verified),
            missing=missing,
        )


def _numbers(roster: Roster) -> dict[str | int, tuple[int, ...]]:
    """Returns the players of every layer that may be named by its number."""
    found: dict[str | int, tuple[int, ...]] = {}
    for layer in range(roster.depth):
        try:
            players = roster.find(str(layer))
        except ValueError:  # protected, or one of a block's
            continue
        found[layer] = found[f"L{layer}"] = players
    return found


def _matrix(rows: Sequence[Sequence[float | None]] | None) -> np.ndarray | None:
    return None if rows is None else np.array(rows, dtype=float)


def _recommendations(verified: Recommendations) -> list[dict[str, Any]]:
    players, whole = verified.players, verified.dense.parameters
    found = []
    for item in verified.recommendations:
        speed, saved, best = item.speed, item.parameters_saved, item.cheapest_baseline
        found.append(
            {
                "count": item.count,
                "removed": [players[player] for player in item.removed],
                "cost": item.difference,
                "lower": item.difference_lower,
                "upper": item.difference_upper,
                "repaired": item.repair and item.repair.facts(),
                "perplexity": item.perplexity,
                "prefill": speed and speed.ratio("prefill").value,
                "decoding": speed and speed.ratio("decode").value,
                "parameters_saved": saved,
                "share_saved": saved / whole if saved is not None and whole else None,
                "best_baseline": best and best.method,
                "baseline_cost": best and best.difference,
                "source": item.source or "recommended",
                "export": item.export,
            }
        )
    return found
