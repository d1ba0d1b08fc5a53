"""How far a run is, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress", "Summary"]


@dataclass(frozen=True)
class Progress:
    """A run on its way.

    Attributes:
        done: coalitions that are in the ledger, of those asked for.
        total: distinct coalitions asked for.
        rate: coalitions a second since the first worker was ready; 0 before.
        seconds_left: estimate from the shared work that is left; unknown before the first result.
        non_finite: coalitions measured in this run whose loss is not finite.
        failed: coalitions set aside in this run.
        workers: workers that are ready; 0 while they load.
    """

    done: int
    total: int
    rate: float
    seconds_left: float | None
    non_finite: int
    failed: int
    workers: int


@dataclass(frozen=True)
class Summary:
    """A run at its end.

    Attributes:
        measured: coalitions measured in this run.
        skipped: coalitions that the ledger had already.
        non_finite: coalitions asked for whose loss is not finite, from this run or earlier.
        failed: coalitions asked for that are set aside, from this run or earlier.
        seconds: duration, loading included.
        rate: coalitions a second since the first worker was ready.
        deaths: workers that died.
        retries: chunks that were handed out again after a death.
    """

    measured: int
    skipped: int
    non_finite: int
    failed: int
    seconds: float
    rate: float
    deaths: int
    retries: int
