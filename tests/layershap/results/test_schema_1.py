"""Directories of runs made before results had a schema version are read, without their model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from layershap.results.candidates import CANDIDATES
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.result_file import SCHEMA
from layershap.results.values import VALUES
from layershap.runs.config_file import read_config
from tests.support.command_line import call
from tests.support.result_files import FILES, OLD


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(OLD, tmp_path / "run"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_file_is_read_and_written_back_with_its_version(file, old):
    before = json.loads(file.path(old).read_text())
    assert "schema" not in before
    file.write(old, file.read(old))
    after = json.loads(file.path(old).read_text())
    assert after.pop("schema") == SCHEMA
    assert after.pop("next", []) == []
    fit = after.get("evaluation", {})
    assert (fit.pop("by_excess", []), fit.pop("within", None)) == ([], None)
    new = {key: after.pop(key) for key in after.keys() - before.keys()}
    raw = {"value_of": "loss", "whole_utility": None, "better_sets": 0, "at_most": None}
    assert new == (raw if file is VALUES else {}), "values of early files are of the raw loss"
    assert after == before


def test_a_configuration_without_tables_is_read():
    config = read_config(OLD / "run.toml")
    assert (config.search.count, config.measure.budget) == ("1-2", 24)
    assert not Path(config.model_name).exists()


def test_status_says_that_all_is_done(old):
    (old / "report.html").write_text("")
    found = json.loads(call("status", old, "--json")[1])
    assert found["stage"] == "finished"
    assert found["finished"] == ["measure", "fit", "values", "search", "verify", "report"]


def test_what_was_measured_is_enough_for_all_that_needs_no_model(old, tmp_path):
    """The model, its text and its device are elsewhere."""
    values = json.loads((old / "values.json").read_text())
    for command, *options in (("fit",), ("values", "--value-of", "loss"), ("search",)):
        status, out, err = call(command, old, *options)
        assert status == 0, err
    assert "nothing is measured, since the model cannot be measured here" in err
    assert "would measure next" in err
    again = json.loads((old / "values.json").read_text())
    # From the same measurements, by today's estimator.
    assert again["shapley"]["values"] == pytest.approx(values["shapley"]["values"], abs=0.02)
    found = CANDIDATES.read(old)
    assert [found.chosen[count].removed for count in (1, 2)] == [(0,), (0, 1)]
    assert found.baselines == CANDIDATES.read(OLD).baselines
    assert found.next
    for form in ("html", "md", "json"):
        status, out, err = call("report", old, "--format", form)
        assert status == 0, err
    assert call("recommend", old, "--max-loss", "1")[0] == 0
    status, out, err = call("query", old, "--remove", "1,3", "--json")
    assert status == 0, err
    assert json.loads(out)["removed"] == [1, 3]
    assert call("explore", old, "--to", tmp_path / "page.html")[0] == 0
    assert call("ledger", "export", old, "--to", tmp_path / "rows.csv")[0] == 0


def test_a_run_that_is_not_verified_gets_a_report_that_says_so(old):
    for file in (RECOMMENDATIONS, CANDIDATES, VALUES):
        status, _, err = call("report", old, "--format", "md")
        assert status == 0, err
        text = (old / "report.md").read_text()
        assert ("Nothing is verified" in text) == (file is not RECOMMENDATIONS)
        file.path(old).unlink()
    assert call("report", old, "--format", "html")[0] == 0
    assert "layershap values" in (old / "report.html").read_text()


def test_measuring_and_verifying_say_that_the_model_is_missing(old):
    status, _, err = call("verify", old)
    assert status == 2
    assert "/somewhere/else/tiny" in err
