"""How to cut sorted coalitions into runs that share work: pure functions of costs.

What a coalition costs beside its predecessor is in :mod:`sampling.prefix_costs`.

The sizes follow guided self-scheduling (Polychronopoulos and Kuck, 1987, "Guided self-scheduling:
a practical scheduling scheme for parallel supercomputers", IEEE Trans. Computers C-36): each run
is a fixed share of what is left, so that the last ones are small and the workers end together.
"""

from __future__ import annotations

import numpy as np

from sampling.prefix_costs import PrefixCosts

__all__ = ["next_stop"]

SHARE = 2.0  # a run is 1 / (SHARE * workers) of what is left
WINDOW = 0.25  # how far a cut may move, as a part of the run, to split less shared work


def next_stop(
    table: PrefixCosts,
    start: int,
    stop: int,
    *,
    workers: float,
    most: float = np.inf,
    least: float = 0.0,
) -> int:
    """Returns where the run that begins at ``start`` ends, at least one row later.

    Args:
        table: costs of all rows.
        start: first row of the run.
        stop: one past the last row that is left.
        workers: how many workers like the one that takes the run share what is left: the sum of
            all speeds divided by its own.
        most: longest run wanted, so that little is lost with a worker.
        least: shortest run wanted, so that handing out work stays cheap.
    """
    left = table.of_run(start, stop)
    target = min(max(left / (SHARE * workers), least), most)
    nothing = table.before[start] - table.shared[start]
    spent = table.before[start + 1 : stop + 1]
    # The longest run within the target, then the nearby cut that breaks the least shared work.
    latest = start + max(int(np.searchsorted(spent, nothing + target, side="right")), 1)
    short = nothing + (1 - WINDOW) * target
    earliest = start + max(int(np.searchsorted(spent, short, side="right")), 1)
    if latest >= stop:
        return stop
    cuts = table.shared[earliest : latest + 1]
    return latest - int(cuts[::-1].argmin())
