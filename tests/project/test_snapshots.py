"""Agreed wording: one line for everything typed; a change fails until it is meant."""

from __future__ import annotations

import pytest

from layershap.cli import COMMANDS
from tests.support.refusals import SNAPSHOTS, Refusal, Wording, agreed_lines


@pytest.mark.parametrize("file", sorted(SNAPSHOTS.iterdir()), ids=lambda file: file.stem)
def test_every_command_has_its_file_and_every_line_says_what_is_wrong(file):
    assert file.stem in {*COMMANDS, "api"}
    lines = agreed_lines(file)
    assert lines
    assert list(lines) == sorted(lines)
    for typed, line in lines.items():
        assert typed.split()[0] == file.stem
        assert len(Refusal(line, ()).rule) > 5


def test_a_change_of_wording_fails_until_it_is_written(tmp_path):
    compare = Wording(tmp_path, tmp_path, update=False)
    update = Wording(tmp_path, tmp_path, update=True)
    line = Refusal(f"--to {tmp_path}/x1/y: taken; name another", ("export", "--to", tmp_path / "x"))
    with pytest.raises(AssertionError, match="update-snapshots"):
        compare(line)
    update(line)
    update("--budget 1: too few", "export", "--budget", 1)
    compare(line)
    assert (tmp_path / "export.txt").read_text() == (
        "$ export --budget 1\n--budget 1: too few\n\n"
        "$ export --to TMP\n--to TMP/y: taken; name another\n"
    )
    with pytest.raises(AssertionError, match="update-snapshots"):
        compare("--budget 1: very few", "export", "--budget", 1)
    update("--budget 1: very few", "export", "--budget", 1)
    compare("--budget 1: very few", "export", "--budget", 1)
    compare(line)
