"""One writer a run directory: a lock that the kernel releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from cluster.errors import LedgerError, LedgerLocked

__all__ = ["WriterLock"]


class WriterLock:
    """Holds ``flock`` on a side file until :meth:`release` or the end of the process.

    The lock belongs to the open file, not to the file's existence, so a holder that was killed
    leaves nothing to clean up. The file holds the holder's pid and machine, for people and status;
    it is empty after a good end.

    Raises:
        LedgerLocked: if another process, or another ledger of this process, holds it.
        LedgerError: if the side file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Append, so that looking does not erase the pid of the one who holds it.
            self._file = path.open("a+", encoding="ascii")
        except OSError as error:
            raise LedgerError(
                f"cannot write {path}: {error.strerror}; choose an --output directory that is"
                " writable"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            pid, _, host = self._file.read().strip().partition(" ")
            holder = f"{pid} on {host}" if host else pid or "unknown"
            self._file.close()
            if not isinstance(error, BlockingIOError):
                raise LedgerError(
                    f"cannot lock {path}: {error.strerror}; choose an --output directory on a"
                    " local disk"
                ) from error
            raise LedgerLocked(
                f"run directory {path.parent} is being written by process {holder}; wait for it"
                " to end or choose another --output directory"
            ) from None
        try:
            self._file.truncate(0)
            self._file.write(f"{os.getpid()} {socket.gethostname()}\n")
            self._file.flush()
        except OSError as error:
            with suppress(OSError):  # what could not be written is tried again by closing
                self._file.close()
            raise OSError(error.errno, error.strerror, str(path)) from None

    def release(self) -> None:
        """Gives the lock back. The side file stays: deleting it would race with the next holder."""
        with suppress(OSError, ValueError):
            self._file.truncate(0)
        with suppress(OSError):
            self._file.close()
