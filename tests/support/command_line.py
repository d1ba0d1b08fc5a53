"""The command line in this process; for tests."""

from __future__ import annotations

import contextlib
import io
import sys

from layershap.__main__ import main


def call(*arguments):
    """Run `layershap ARGUMENTS` in this process: exit status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["layershap", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        return end.code, out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("main always exits")
