"""The command line's entry point: what goes wrong ends in one clear line and an exit status."""

from __future__ import annotations

import errno
import os
import shlex
import sys

__all__ = ["main"]

_REMEDIES = {
    errno.ENOSPC: "make room on this disk, then give the command again",
    errno.EDQUOT: "make room in this quota, then give the command again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), then give the command again",
    errno.EROFS: "name a place that can be written, or mount it for writing",
    errno.EACCES: "give yourself the right to it, or name another place",
    errno.EPERM: "give yourself the right to it, or name another place",
    errno.EMFILE: "raise the limit of open files (ulimit -n), then give the command again",
    errno.ENOENT: "something removed it meanwhile; put it back or begin anew",
    errno.ENAMETOOLONG: "name a shorter path",
}


def main() -> None:
    """Run a command.

    Exit status 2: bad input; 1: a run that failed; 130: Ctrl-C; 143: SIGTERM.
    """
    # Read by the C library when a process starts to use memory; workers get their own.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import click

    from layershap.terminal.signals import stoppable

    status: object = None
    with stoppable() as stop:
        try:
            from layershap.cli import commands

            status = commands(standalone_mode=False)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.exceptions.Abort, KeyboardInterrupt):
            _stopped(stop.word, stop.status)
        except Exception as error:
            # Libraries turn an interruption into errors of their own, above all while they load.
            if stop.number is not None:
                _stopped(stop.word, stop.status)
            _failed(error)
    sys.exit(status if isinstance(status, int) else 0)


def _stopped(word: str, status: int) -> None:
    again = shlex.join(["layershap", *sys.argv[1:]])
    _end(f"{word}; everything measured is kept; go on with: {again}", status)


def _failed(error: Exception) -> None:
    from layershap.errors import RunFailed
    from layershap.terminal.log_file import log_of

    ours = _ours(error)
    if isinstance(error, RunFailed) or (ours and isinstance(error, RuntimeError)):
        _end(str(error), 1)
    if ours and isinstance(error, ValueError):
        _end(str(error), 2)
    if isinstance(error, OSError) and error.errno is not None:
        _end(_told(error), 1)
    if (log := log_of(error)) is None:
        raise error
    _end(f"unexpected {type(error).__name__}: {error}; the traceback is in {log}", 1)


def _told(error: OSError) -> str:
    """What the system refused, of which file, and what helps."""
    reason = error.strerror or str(error)
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{where}{reason}; {_REMEDIES.get(error.errno or 0, 'then give the command again')}"


def _ours(error: BaseException) -> bool:
    """Whether the error is one that the rooms raise for people, not a defect."""
    room = type(error).__module__.split(".")[0]
    return room in {"layershap", "decoder", "cluster", "surrogate", "shapley", "sampling"}


def _end(message: str, status: int) -> None:
    line = " ".join(message.split()).encode("utf-8", "backslashreplace").decode("utf-8")
    print(f"layershap: {line}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
