"""Ctrl-C and SIGTERM: the first stops in good order, the second leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Stop", "Terminated", "kept_handler", "stoppable"]

GRACE_SECONDS = 0.5  # a terminal and the program around this one may both pass on one Ctrl-C
SHOW_CURSOR = "\x1b[?25h"


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; everything that handles Ctrl-C handles it alike."""


class Stop:
    """Whether this process was told to stop.

    Attributes:
        number: of the signal; None while there was none.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._at = 0.0

    @property
    def status(self) -> int:
        """The exit status by the shell's convention: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    @property
    def word(self) -> str:
        """What happened, for a person."""
        return "terminated" if self.number == signal.SIGTERM else "interrupted"

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        if self.number is None:
            self.number, self._at = number, time.monotonic()
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if time.monotonic() - self._at > GRACE_SECONDS:
            # Ray's own processes end with this one: the kernel tells them.
            if sys.stderr.isatty():
                os.write(2, SHOW_CURSOR.encode())
            os.write(2, b"\nlayershap: left at once; what had arrived is in the ledger\n")
            os._exit(128 + number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Handles the two signals within a block.

    A signal that this process was started to ignore, as `nohup` does it, stays ignored.
    """
    stop = Stop()
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept_handler(number: int) -> Iterator[None]:
    """Undoes what a library does to the handler of a signal within a block."""
    handler = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(number, handler)
