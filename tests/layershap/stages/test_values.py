"""The values of a run directory: what they are of is chosen after measuring."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cluster import Ledger
from layershap.results.values import VALUES
from sampling import enumerate_all
from shapley import TableGame, exact_interactions, exact_restricted, exact_values
from tests.support.command_line import call
from tests.support.result_files import OLD

N = 5


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run of five layers and 24 sets."""
    run = tmp_path_factory.mktemp("values") / "run"
    shutil.copytree(OLD, run)
    assert call("fit", run)[0] == 0
    return run


@pytest.fixture
def run(fitted, tmp_path):
    return Path(shutil.copytree(fitted, tmp_path / "run"))


def values(run, *options):
    status, out, err = call("values", run, *options)
    assert status == 0, err
    return VALUES.read(run), out, err


def others(run):
    """Digests of what `values` must not touch."""
    paths = [run / name for name in ("run.toml", "design.json", "candidates.json")]
    paths += sorted((run / "surrogate").iterdir())
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def records(run):
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        return campaign.fingerprint, campaign.read()


def test_values_are_of_retention_and_add_up(run):
    found, out, err = values(run)
    assert (found.value_of, found.unit, found.at_most) == (
        "retention", "share of the whole model", None,
    )  # fmt: skip
    _, measured = records(run)
    whole = measured.utilities[measured.coalitions.all(axis=1)][0]
    empty = measured.utilities[~measured.coalitions.any(axis=1)][0]
    assert found.whole_utility == whole
    assert found.shapley.values.sum() == pytest.approx(1 - np.exp(empty - whole))
    assert 0 < found.better_sets <= (measured.utilities > whole).sum()
    assert found.shapley_text_standard_errors is not None
    assert found.error_history[-1].largest == found.shapley.standard_errors.max()
    assert "Shapley values of retention" in out
    assert " %" in out
    assert "retention is exp(-(NLL - NLL of the whole model))" in err
    assert "percentage points" in err
    assert "the shares add up to" in err


def test_another_choice_changes_the_values_alone(run):
    values(run)
    before, (fingerprint, measured) = others(run), records(run)
    raw, _, err = values(run, "--value-of", "loss")
    assert (raw.value_of, raw.unit) == ("loss", "nats per token")
    assert "retention" not in err
    empty = measured.utilities[~measured.coalitions.any(axis=1)][0]
    assert raw.shapley.values.sum() == pytest.approx(raw.whole_utility - empty)
    assert others(run) == before
    after, again = records(run)
    assert after == fingerprint
    assert len(again) == len(measured)
    assert values(run)[0].value_of == "retention", "run.toml still decides"


def test_values_with_few_removed_are_named_as_such(run):
    found, out, err = values(run, "--at-most", "2")
    assert found.at_most == found.restricted_to == 2
    assert found.headline is found.restricted
    assert found.headline.kind == "restricted:2"
    assert "Values of retention with at most 2 removed" in " ".join(out.split())
    assert "least valuable layers with at most 2 removed" in err
    assert found.ranking == (), "the surrogate's own values have no known errors"
    assert not np.isfinite(found.headline.standard_errors).any()
    assert found.error_history == ()
    status, _, err = call("report", run, "--format", "md")
    assert status == 0, err
    page = (run / "report.md").read_text()
    assert "Layer | Retention with at most 2 removed | Shapley value of retention" in page


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--at-most", "6"], "--at-most 6"),
        (["--at-most", "0"], "--at-most 0"),
        (["--at-most", "2", "--target-se", "0.1"], "--target-se"),
    ],
)
def test_bad_choices_are_refused(run, options, named):
    status, out, err = call("values", run, *options)
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"layershap: {named}")


@pytest.fixture
def exact(run):
    """All sets measured."""
    rows = enumerate_all(N)
    config = run / "run.toml"
    config.write_text(config.read_text().replace("budget = 24", "budget = 32"))
    with Ledger(run / "ledger.sqlite") as ledger:
        campaign = ledger.campaign("calibration")
        missing = rows[campaign.missing(rows)]
        losses = {c.name: np.full((len(missing), len(c.weights)), 5.9) for c in campaign.columns}
        losses = {k: v + missing.sum(axis=1)[:, None] / 50 for k, v in losses.items()}
        campaign.record(missing, {k: v.astype(np.float32) for k, v in losses.items()})
    return run


def test_a_run_of_all_sets_has_exact_values_of_retention(exact):
    found, _, err = values(exact)
    _, measured = records(exact)
    assert len(measured) == 1 << N
    table = np.empty(1 << N)
    table[measured.coalitions @ (1 << np.arange(N))] = measured.utilities
    kept = np.exp(table - table[-1])
    game = TableGame(kept, found.shapley.players)
    np.testing.assert_allclose(found.shapley.values, exact_values(game).values, atol=1e-12)
    np.testing.assert_allclose(found.interactions, exact_interactions(kept), atol=1e-12)
    assert found.interaction_standard_errors is None
    np.testing.assert_allclose(found.restricted.values, exact_restricted(game, 2).values)
    assert "the ranking is exact on the calibration text" in err
    few = values(exact, "--at-most", "2")[0]
    assert few.ranking
    assert few.ranking[0].exact


def test_a_report_tells_shares_in_percent(run):
    values(run)
    for form in ("html", "md", "json"):
        assert call("report", run, "--format", form)[0] == 0
    page, text = (run / "report.html").read_text(), (run / "report.md").read_text()
    for told in (page, text):
        assert "% of the whole model" in told
        assert "Retention is exp(-(NLL - NLL of the whole model))" in told
        assert "Why these" in told
    plain = json.loads((run / "report.json").read_text())
    assert (plain["value_of"], plain["value_unit"]) == ("retention", "share of the whole model")
    found = VALUES.read(run)
    assert plain["values"][0]["values"][0]["value"] == found.shapley.values[0]
    assert plain["sentences"]["why"] in text


def test_recommending_says_why_it_is_not_simply_the_least_values(run):
    values(run)
    status, out, err = call("recommend", run, "--max-loss", "1")
    assert status == 0, err
    answer = json.loads(call("recommend", run, "--max-loss", "1", "--json")[1])
    assert answer["why"]["sentence"] in out.splitlines()
    assert answer["why"]["same"] == ("least value are" in answer["why"]["sentence"])
    (run / "values.json").unlink()
    assert json.loads(call("recommend", run, "--max-loss", "1", "--json")[1])["why"] is None
