"""The log of a run: `log.txt` in its directory, appended to by every command that works on it.

It holds what the console said, with times, and what it did not say: versions, the command line,
Python's warnings, what befell the workers, and the traceback of whatever ended the command.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

__all__ = ["log_of", "logged", "without_secrets"]

NAME = "log.txt"
MOST_BYTES, MOST_OLD = 2_000_000, 2  # of a file, and how many full ones stay beside it
MOST_WAITING = 1000  # records that wait for the directory to be made
PACKAGES = ("layershap", "torch", "transformers", "jax", "ray", "numpy")
OURS = ("layershap", "cluster")  # rooms whose ordinary messages are kept; of others the warnings
_HIDDEN = "[hidden]"
_SECRET_NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.I)
_NOT_SECRET = re.compile(r"PARALLELISM|_PATH$|_FILE$", re.I)
_SECRET_TEXTS = (
    re.compile(r"\bhf_[A-Za-z0-9]{8,}"),
    re.compile(r"(?<=Bearer )\S+", re.I),
    re.compile(r"(?<=--token[ =])\S+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)
_SHORTEST_SECRET = 6


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Keeps a log of a block in a run's directory, once that is there.

    Whatever ends the block is in the log, with its traceback; `log_of` tells where.

    Args:
        folder: the directory; it is not made here.
    """
    handler = _Handler(folder / NAME)
    loggers = [logging.getLogger(name) for name in OURS]
    levels = [logger.level for logger in loggers]
    root = logging.getLogger()
    root.addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.INFO)
    log, shown = loggers[0], warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        log.warning("%s: %s", category.__name__, message)
        shown(message, category, *rest, **more)

    warnings.showwarning = show
    try:
        log.info("began: %s", shlex.join(_command()))
        log.info("%s", _versions())
        yield
        log.info("ended")
    except KeyboardInterrupt as error:
        log.warning("stopped by %s", type(error).__name__)
        raise
    except BaseException as error:
        log.exception("ended by %s", type(error).__name__)
        if handler.path.exists():
            error.__dict__["layershap_log"] = str(handler.path)
        raise
    finally:
        warnings.showwarning = shown
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        with suppress(OSError):  # a full disk hides no message
            handler.close()


def log_of(error: BaseException) -> str | None:
    """Returns the path of the log that has an error's traceback; None where there is none."""
    return getattr(error, "layershap_log", None)


def without_secrets(text: str) -> str:
    """Returns a text without tokens, passwords and keys.

    Left out are the values of environment variables that are named like secrets, and what looks
    like a hub's token, a bearer's token or a password in an address.
    """
    for name, value in os.environ.items():
        named = _SECRET_NAMES.search(name) and not _NOT_SECRET.search(name)
        if named and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, _HIDDEN)
    for pattern in _SECRET_TEXTS:
        text = pattern.sub(_HIDDEN, text)
    return text


class _Formatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class _Handler(logging.Handler):
    """Writes to a file that is opened once its folder is there; a full disk stops nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file: RotatingFileHandler | None = None
        self._waiting: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting = [*self._waiting, record][-MOST_WAITING:]
        if self._file is None and self.path.parent.is_dir():
            with suppress(OSError):
                self._file = RotatingFileHandler(
                    self.path, maxBytes=MOST_BYTES, backupCount=MOST_OLD, encoding="utf-8"
                )
                self._file.setFormatter(_Formatter())
                self._file.handleError = lambda record: None  # type: ignore[method-assign]
        if self._file is not None:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                self._file.emit(one)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def _command() -> list[str]:
    return [Path(sys.argv[0]).name or "python", *sys.argv[1:]]


def _versions() -> str:
    found = [f"Python {platform.python_version()} on {platform.platform()}"]
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join([*found, f"process {os.getpid()} on {platform.node()}"])
