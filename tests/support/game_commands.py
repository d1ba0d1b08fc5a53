"""`layershap game values` in this process, in a directory of its own; for tests."""

from __future__ import annotations

import json
import sys

import numpy as np

from tests.support import command_line


def empty_directory(tmp_path, monkeypatch):
    """An empty current directory whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


def call(*arguments):
    """Run `layershap game values ARGUMENTS` in this process: status, standard output and error."""
    return command_line.call("game", "values", *arguments)


def answer(*arguments):
    """The object that `--json` prints, which is all of standard output."""
    status, out, err = call(*arguments, "--json")
    assert status == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def refused(*arguments):
    """The one line of standard error that a refused command prints."""
    status, out, err = call(*arguments)
    assert status == 2, err
    assert out == ""
    assert "Traceback" not in err
    (line,) = err.splitlines()
    assert line.startswith("layershap: ")
    return line


def saved(folder, values, name="table.npy"):
    np.save(folder / name, values)
    return folder / name


def module(folder, text, name):
    (folder / f"{name}.py").write_text(text)
    return name
