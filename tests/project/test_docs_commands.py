"""What the documentation says can be typed: its commands and options exist, its Python runs."""

from __future__ import annotations

import importlib.util
import re
import shutil

import click
import pytest

from layershap.cli import COMMANDS
from layershap.methods.catalog import BASELINES
from layershap.runs.config import SETTINGS
from tests.support.doc_pages import BESIDE, PAGES, ROOT
from tests.support.typed_commands import blocks, check_command, shell_lines, spoken_commands

LINES = list(
    dict.fromkeys(
        (page.name, line)
        for page in [*PAGES, *BESIDE]
        for line in [*shell_lines(page), *spoken_commands(page)]
    )
)
BLOCKS = [(page.name, block) for page in [*BESIDE, *PAGES] for block in blocks(page, "python")]


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{p}: {line}" for p, line in LINES])
def test_commands_options_and_their_values_exist(page, line):
    check_command(line)


@pytest.mark.parametrize(
    "line",
    [
        "layershap rnu MODEL",
        "layershap run MODEL --bugdet 3",
        "layershap run MODEL --budget many",
        "layershap run MODEL --budget",
        "layershap run MODEL --dtype float8",
        "layershap run MODEL --utility perplexity",
        "layershap run MODEL --players heads",
        "layershap run MODEL --count 4-1",
        "layershap run MODEL --remove 1-4",
        "layershap run MODEL OTHER",
        "layershap doctor MODEL --memory -1",
        "layershap export runs/x --remove 4",
        "layershap report runs/x --format pdf",
        "layershap query runs/x --level 95",
        "layershap serve runs/x --port 80000",
        "layershap recommend runs/x --max-loss -1",
        "layershap baselines runs/x --method slep",
        "layershap baselines runs/x --count many",
        "layershap baselines runs/x --counts 2",
        "layershap values --game a:b",
        "layershap game values --game a:b --method magic",
        "layershap game search --table a.npy --count 6-2",
        "layershap game serach --game a:b",
        "layershap search runs/x --count 6-2",
        "layershap ledger shwo runs/x",
        "layershap ledger export runs/x",
        ".venv/bin/layershap rnu",
        "ray job submit --address http://HEAD:8265 -- layershap rnu",
        "ray up cluster/examples/nothing.yaml",
        "ray strat --head",
        "ray start --haed",
        "kubectl apply -f nothing.yaml",
        "kubectl get rayjob nothing",
        "pip install 'layershap[nothing]'",
        "pip install -c nothing.txt .",
        "make nothing",
        "python examples/nothing.py",
        "python -m benchmarks.nothing",
        "rm -rf /",
    ],
)
def test_the_check_sees_what_is_wrong(line):
    with pytest.raises((AssertionError, KeyError, ValueError, click.ClickException)):
        check_command(line)


def test_every_command_is_documented():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\w+)$", text, flags=re.M)) == set(COMMANDS)
    typed = {line.split()[1] for _, line in LINES if line.startswith("layershap ")}
    assert typed >= set(COMMANDS)
    shown = set(re.findall(r"layershap-options:: (\w+)", text))
    assert shown == set(COMMANDS) - {"measure", "doctor"}  # whose options are those of run


def test_the_table_of_methods_is_the_list():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = [f"| {method.name} | {method.source} | {method.needs} |" for method in BASELINES]
    assert "\n".join(["|---|---|---|", *rows, "", ""]) in text


@pytest.mark.parametrize(
    ("page", "code"), BLOCKS, ids=[f"{page}-{number}" for number, (page, _) in enumerate(BLOCKS)]
)
def test_python_blocks_run(page, code, finished_run, tmp_path, monkeypatch, capsys):
    if "layershap.run(" in code:
        compile(code, page, "exec")  # takes a model of the hub
        return
    if "plot_" in code and importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, tmp_path / "runs" / "demo")
    exec(compile(code, page, "exec"), {"__name__": "docs"})
    printed = capsys.readouterr().out
    for expected in re.findall(r"print\(.*?\)\s+# ([\[(][^:\n]*[\])])$", code, flags=re.M):
        assert expected in printed


def test_settings_of_run_in_python_exist():
    for page, code in BLOCKS:
        for call in re.findall(r"layershap\.run\((.*?)\)$", code, flags=re.M):
            for name in re.findall(r"(\w+)=", call):
                assert name in {"output", "progress", *SETTINGS}, (page, name)
