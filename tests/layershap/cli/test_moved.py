"""Options that have moved are refused in one line that says what to type; what stays light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import layershap
from layershap.errors import UserError
from tests.support.refusals import refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["values", "--table", "x.npy"],
            "--table: is an option of layershap game values now; write layershap game values"
            " --table x.npy",
        ),
        (
            ["search", "--game", "a:b", "--remove", "1-3", "--json"],
            "--game: is an option of layershap game search now; write layershap game search"
            " --game a:b --count 1-3 --json",
        ),
        (["values", "--table=x y.npy"], "write layershap game values '--table=x y.npy'"),
        (["values", "RUN", "--seed", "3"], "--seed: goes with layershap game values"),
        (["search", "RUN", "--json"], "--json: goes with layershap game search"),
        (["values", "RUN", "--budget", "5"], "--budget: goes with --target-se"),
        (["values", "RUN"], "layershap run"),
        (["search", "RUN"], "layershap run"),
        (
            ["run", "--remove", "1-3"],
            "--remove 1-3: names players; numbers of players are --count, as --count 1-3",
        ),
        (["measure", "--remove", "2,4"], "as --count 2,4"),
        (["doctor", "--remove", "L4.attn"], "as --count 1-3"),
        (["search", "RUN", "--remove", "2"], "as --count 2"),
        (["baselines", "RUN", "--remove", "2"], "as --count 2"),
        (
            ["baselines", "RUN", "--counts", "2,4"],
            "--counts 2,4: is called --count now; write --count 2,4",
        ),
    ],
)
def test_what_has_moved_is_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)


def test_counts_of_python_are_called_count():
    with pytest.raises(UserError, match=r"^remove: names players; .* count, as count='1-3'$"):
        layershap.run(remove="1-3")


def test_reading_a_ledger_and_the_players_needs_neither_torch_nor_ray():
    code = (
        "import sys, cluster.ledger, decoder.players\n"
        "from cluster import Ledger\n"
        "from decoder import make_roster\n"
        "print(sorted({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


def test_asking_about_a_set_needs_neither_torch_nor_ray(finished_run):
    code = (
        "import sys; from layershap.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'torch', 'ray', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "query", finished_run, "--remove", "4,6"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "[]"
