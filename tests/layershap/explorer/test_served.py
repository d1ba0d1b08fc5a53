"""The explorer as the query service shows it: it asks the real model, and shows what it hears."""

import shutil

import pytest

from layershap.api.opening import open_run
from tests.support.chromium import chromium, needed_chromium
from tests.support.explorer_samples import sample_run
from tests.support.service_process import served

PROGRAM = needed_chromium()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_a_prediction_becomes_a_fact_by_measuring_it(tab, finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    opened = open_run(run)
    asked = next(
        s for s in ([0, 3, 5, 8], [1, 4, 6, 9]) if opened.predict(remove=s).measured is None
    )
    with served(run) as (client, _):
        tab.complaints.clear()
        tab.look(1200, 900)
        tab.open(f"{client.base_url}#remove={','.join(map(str, asked))}")
        assert tab.text("#badge") == "≈ predicted"
        assert tab.violations() == []
        tab.click("#measure")
        tab.wait("document.querySelector('#badge').innerText === '✓ measured'", 240)
        shown = float(tab.text("#loss"))
        assert tab.text("#measure-note").startswith("✓ Measured L")
        assert tab.run("document.querySelector('#measure').getAttribute('aria-disabled')") == "true"
        assert tab.complaints == []
        tab.send("Page.navigate", url="about:blank")
    told = opened.measure(remove=asked, progress=False)  # the ledger has it: nothing is measured
    assert shown == pytest.approx(told.value, abs=1e-4)


def test_nothing_offers_to_measure_where_nothing_can(tab, tmp_path):
    directory = sample_run(tmp_path / "toy")
    directory.recommendations.unlink()
    run = directory.path
    with served(run, "--no-measuring") as (client, _):
        tab.complaints.clear()
        tab.open(f"{client.base_url}#remove=1,2")
        expected = open_run(run).predict(remove=[1, 2])
        value = expected.value if expected.measured is None else expected.measured
        assert float(tab.text("#loss")) == pytest.approx(value, abs=1e-4 + 5e-5)
        assert tab.run("document.querySelector('#measure-row').hidden")
        assert tab.complaints == []
