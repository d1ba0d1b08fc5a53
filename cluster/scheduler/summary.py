"""How far a run is, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress", "Summary"]

SHOWN = 3  # sets that a sentence names


@dataclass(frozen=True)
class Progress:
    """A run on its way.

    Attributes:
        done: coalitions that are in the ledger, of those asked for.
        total: distinct coalitions asked for.
        rate: coalitions a second since the first worker was ready; 0 before.
        seconds_left: estimate from the shared work that is left; unknown before the first result.
        non_finite: coalitions measured in this run whose values are not finite.
        failed: coalitions quarantined in this run.
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
        non_finite: coalitions asked for whose values are not finite, from this run or earlier.
        failed: coalitions asked for that are quarantined, from this run or earlier.
        seconds: duration, loading included.
        rate: coalitions a second since the first worker was ready.
        deaths: workers that died, with their nodes or alone.
        retries: chunks that were handed out again after a death or for lack of memory.
        again: coalitions in the chunks that were handed out again after a death.
        halved: chunks that did not fit into a worker's memory.
        nodes_lost: machines that left the cluster while they held workers.
        hired: workers started, those included that replaced others.
        given_up: places in the pool left empty because no worker survived its start there.
        busy: share of the workers' time since they were ready that went into measuring.
        attempts: workers that a coalition kills before it is quarantined.
        quarantined: removed players of each coalition quarantined in this run.
    """

    measured: int
    skipped: int
    non_finite: int
    failed: int
    seconds: float
    rate: float
    deaths: int = 0
    retries: int = 0
    again: int = 0
    halved: int = 0
    nodes_lost: int = 0
    hired: int = 0
    given_up: int = 0
    busy: float = 0.0
    attempts: int = 0
    quarantined: tuple[tuple[str, ...], ...] = ()

    def sentences(self) -> list[str]:
        """Returns what a person should know of the run; nothing if nothing happened."""
        told: list[str] = []
        if self.nodes_lost:
            told.append(f"{_count(self.nodes_lost, 'machine')} left the cluster")
        if self.deaths:
            stayed = self.deaths > self.given_up
            fate = " and were replaced" if stayed and not self.nodes_lost else ""
            text = f"{_count(self.deaths, 'worker')} died{fate}"
            if self.deaths == 1:
                text = text.replace("were", "was")
            if self.again:
                text += (
                    f"; {_count(self.again, 'coalition')}"
                    f" {'was' if self.again == 1 else 'were'} measured again elsewhere"
                )
            told.append(text)
        if self.given_up:
            told.append(
                f"{_count(self.given_up, 'worker')} could not be started and the others did the"
                " work; use fewer workers if memory is short"
            )
        if self.halved:
            told.append(
                f"{_count(self.halved, 'chunk')} did not fit into a worker's memory and"
                f" {'was' if self.halved == 1 else 'were'} measured in smaller parts"
            )
        if self.quarantined:
            several = len(self.quarantined) > 1
            shown = [_removal(names) for names in self.quarantined[:SHOWN]]
            if rest := len(self.quarantined) - len(shown):
                shown.append(f"{rest} more")
            told.append(
                f"{_count(len(self.quarantined), 'coalition')} {'were' if several else 'was'}"
                f" quarantined: {' and '.join(shown)} killed {_count(self.attempts, 'worker')}"
                f"{' each' if several else ''}"
            )
        return told


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _removal(names: tuple[str, ...]) -> str:
    return f"removing {', '.join(names)}" if names else "removing nothing"
