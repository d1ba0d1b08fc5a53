"""The command line's entry point: what goes wrong ends in one clear line and an exit status."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run a command. Exit status 2: bad input; 1: a run that failed; 130: interrupted."""
    # Read by the C library when a process starts to use memory; workers get their own.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import click

    from layershap.cli import commands
    from layershap.errors import RunFailed

    status: object = None
    try:
        status = commands(standalone_mode=False)
    except click.exceptions.Abort:
        _end("interrupted; everything measured is kept: the same command goes on from here", 130)
    except KeyboardInterrupt:
        _end("interrupted; everything measured is kept: the same command goes on from here", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except RunFailed as error:
        _end(str(error), 1)
    except ValueError as error:
        if not _ours(error):
            raise
        _end(str(error), 2)
    except RuntimeError as error:
        if not _ours(error):
            raise
        _end(str(error), 1)
    sys.exit(status if isinstance(status, int) else 0)


def _ours(error: BaseException) -> bool:
    """Whether the error is one that the rooms raise for people, not a defect."""
    room = type(error).__module__.split(".")[0]
    return room in {"layershap", "llm", "cluster", "surrogate", "shapley", "sampling"}


def _end(message: str, status: int) -> None:
    line = " ".join(message.split())
    print(f"layershap: {line}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
