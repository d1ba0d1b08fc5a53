"""The explorer in a real browser: what a person clicks, reads and shares."""

from __future__ import annotations

import json
import math
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from cluster import Ledger
from layershap.explorer import explorer_data, explorer_page, export_explorer, gather
from layershap.explorer.bundle import bundle_folder
from layershap.explorer.page import FOLDER
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.values import VALUES
from layershap.runs.config_file import read_config
from sampling import stream
from surrogate import load
from tests.support.chromium import CTRL, SHIFT, chromium, needed_chromium
from tests.support.explorer_samples import MEASURED, sample_run
from tests.support.plain_prediction import predict_plainly

PROGRAM = needed_chromium()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


# Reads the pixels of a canvas from a copy, so that the page's own stays as it is.
PIXELS = (
    "window.pixels = (canvas) => { const copy = new OffscreenCanvas(canvas.width, canvas.height);"
    " const context = copy.getContext('2d', { willReadFrequently: true });"
    " context.drawImage(canvas, 0, 0);"
    " return context.getImageData(0, 0, canvas.width, canvas.height).data; }; undefined"
)
SETS = 2000


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    found = {
        "layers": sample_run(folder / "layers"),
        "sublayers": sample_run(folder / "my halves", "sublayers", depth=5, protect="0"),
    }
    for run in found.values():
        export_explorer(read_config(run.config), run, run.path / "page.html")
    return found


@pytest.fixture
def page(tab, runs):
    """The page of whole layers on a wide screen, nothing removed; it must not complain."""
    tab.complaints.clear()
    tab.requests.clear()
    tab.look(1200, 900)
    tab.open(address(runs["layers"]))
    tab.run(PIXELS)
    yield tab
    assert tab.complaints == []
    assert {url.split(":")[0] for url in tab.requests} <= {"file", "about", "data"}


def address(run, hash_=""):
    return (run.path / "page.html").as_uri() + hash_


def shown(tab, selector="#loss"):
    return float(tab.text(selector).replace("\u2212", "-").replace(",", ""))


def python(run, removed, level=0.95):
    """What `layershap query` says: predicted loss with its interval, measured loss or None."""
    regressor = load(run.surrogate)
    row = np.ones((1, regressor.n_features_in_), bool)
    row[0, list(removed)] = False
    lower, upper = regressor.predict_interval(row, level)
    with Ledger(run.ledger, readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        known = not campaign.missing(row)[0]
        measured = -float(campaign.read(row).utilities[0]) if known else None
    return -float(regressor.predict(row)[0]), -float(upper[0]), -float(lower[0]), measured


def unmeasured(run, size):
    """A set of this size that nobody measured, and one removal before it."""
    n = load(run.surrogate).n_features_in_
    for start in range(n - size):
        removed = tuple(range(start, start + size))
        if python(run, removed)[3] is None:
            return removed
    raise AssertionError("everything is measured")


def engine(data, expression):
    """A script with the page's own modules in scope; its value is the expression's."""
    script = bundle_folder(FOLDER / "js", "hints")
    return f"(() => {{ {script}\nconst data = {json.dumps(data)};\n return {expression}; }})()"


@pytest.mark.parametrize("kind", ["layers", "sublayers"])
def test_browser_predicts_what_python_predicts(tab, runs, kind):
    run = runs[kind]
    exploration = gather(read_config(run.config), run)
    data = explorer_data(exploration)
    n = len(data["players"])
    rng = stream(5, "explorer sets", n)
    rows = rng.random((SETS, n)) < rng.random((SETS, 1))
    ask = engine(
        {"surrogate": data["surrogate"], "rows": rows.astype(int).tolist(), "n": n},
        "(() => { const s = new surrogateModule.Surrogate(data.surrogate, data.n);"
        " return data.rows.map((kept) => [s.predict(kept), ...s.interval(s.predict(kept))]); })()",
    )
    found = np.array(tab.run(ask))
    regressor = load(run.surrogate)
    exact = predict_plainly(regressor.ensemble_, rows)
    np.testing.assert_allclose(found[:, 0], exact, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(found[:, 0], regressor.predict(rows), atol=2e-4, rtol=1e-4)
    lower, upper = regressor.predict_interval(rows, 0.95)
    np.testing.assert_allclose(found[:, 1], lower, atol=5e-4, rtol=1e-4)
    np.testing.assert_allclose(found[:, 2], upper, atol=5e-4, rtol=1e-4)


def test_clicks_show_the_prediction_and_undo_takes_them_back(page, runs):
    run = runs["layers"]
    whole = shown(page)
    assert whole == pytest.approx(python(run, ())[3], abs=6e-5)
    assert page.text("#badge") == "✓ measured"
    removed = unmeasured(run, 4)
    for player in removed:
        page.click(f'[data-player="{player}"]')
    predicted, lower, upper, _ = python(run, removed)
    assert page.text("#badge") == "≈ predicted"
    assert shown(page) == pytest.approx(predicted, abs=1.5e-4)
    ends = [float(end) for end in page.text("#loss-range").split(" to ")]
    assert ends == pytest.approx([lower, upper], abs=1.5e-4)
    assert shown(page, "#perplexity") == pytest.approx(math.exp(predicted), rel=5e-4)
    pressed = page.run(
        "[...document.querySelectorAll('[aria-pressed=true]')].map(e => +e.dataset.player)"
    )
    assert tuple(pressed) == removed
    page.wait(
        "document.getElementById('live').textContent.startsWith('4 layers removed. Predicted')"
    )

    page.click("#undo")
    assert page.text("#set").count("L") == 3
    page.press("z", CTRL)
    assert page.text("#set").count("L") == 2
    page.press("z", CTRL | SHIFT)
    page.press("y", CTRL)
    assert page.text("#set") == ", ".join(f"L{player}" for player in removed)
    page.click("#reset")
    assert shown(page) == whole
    page.click("#undo")
    assert shown(page) == pytest.approx(predicted, abs=1.5e-4)


def test_measured_sets_are_facts(page, runs):
    measured = python(runs["layers"], (3,))[3]
    page.click('[data-player="3"]')
    assert page.text("#badge") == "✓ measured"
    assert shown(page) == pytest.approx(measured, abs=6e-5)
    assert "Measured on the calibration text" in page.text("#standing")
    # Every single removal is measured, so the frontier's table has all its facts.
    page.run("document.querySelector('details').open = true")
    rows = page.run(
        "[...document.querySelectorAll('#sizes tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    losses = [python(runs["layers"], (player,))[3] for player in range(9)]
    best = min(loss for loss in losses if loss is not None)
    assert [row[0] for row in rows][:2] == ["0", "1"]
    assert float(rows[1][2]) == pytest.approx(best, abs=6e-5)


def test_verified_sets_say_what_held_out_text_said(page, runs):
    content = json.loads(runs["layers"].recommendations.read_text())
    item = content["recommendations"][1]
    for player in item["removed"]:
        page.click(f'[data-player="{player}"]')
    text = page.text("#heldout")
    assert "recommended" in text
    assert f"{item['difference']:+.3f}" in text.replace("\u2212", "-")
    page.click(f'[data-player="{item["removed"][0]}"]')
    page.click("#undo")
    page.click("#reset")
    assert not page.text("#heldout")


def test_a_repaired_set_says_what_it_costs_without_and_with_it(page, runs):
    plain, repaired = RECOMMENDATIONS.read(runs["layers"].path).recommendations
    page.open(address(runs["layers"], f"#remove={repaired.names}"))
    cost, said = repaired.repair, page.text("#repaired").replace("\u2212", "-")
    assert cost is not None
    for one in (cost, cost.gain):
        assert f"{one.difference:+.3f} ({one.lower:+.3f} to {one.upper:+.3f})" in said
    assert "by sequential" in said
    assert "--repair" in said
    without = page.text("#heldout").replace("\u2212", "-")
    assert f"{repaired.difference:+.3f} ({repaired.difference_lower:+.3f} to" in without
    page.open(address(runs["layers"], f"#remove={plain.names}"))
    assert page.text("#heldout")
    assert page.text("#repaired") == ""


def test_hints_are_the_best_steps(page, runs):
    run = runs["layers"]
    removed = unmeasured(run, 3)
    page.open(address(run, "#remove=" + ",".join(map(str, removed))))
    page.wait("document.getElementById('hint-remove').onclick !== null")

    def value(one):
        predicted, _, _, measured = python(run, one)
        return predicted if measured is None else measured

    kept = [player for player in range(9) if player not in removed]
    best = min(kept, key=lambda player: value((*removed, player)))
    assert page.text("#hint-remove") == f"Remove L{best}"
    swaps = [
        ((*(p for p in removed if p != back), out), back, out) for back in removed for out in kept
    ]
    chosen, back, out = min(swaps, key=lambda swap: value(swap[0]))
    if value(chosen) < value(removed):
        assert page.text("#hint-swap") == f"Put L{back} back, remove L{out}"
        page.click("#hint-swap")
        assert page.text("#set") == ", ".join(f"L{player}" for player in sorted(chosen))
        assert shown(page) == pytest.approx(value(chosen), abs=1.5e-4)
    else:
        assert "No single swap" in page.text("#hint-swap-note")


def test_a_shared_link_opens_the_same_set(page, runs):
    for player in (1, 5):
        page.click(f'[data-player="{player}"]')
    loss, link = page.text("#loss"), page.run("location.href")
    assert link.endswith("#remove=1,5")
    page.open(link)
    assert (page.text("#set"), page.text("#loss")) == ("L1, L5", loss)
    page.run("location.hash = '#remove=2'")
    page.wait("document.getElementById('set').innerText === 'L2'")
    page.open(address(runs["layers"], "#remove=L1,77,5"))
    assert page.text("#set") == "L1, L5"
    assert "77" in page.text("#problem")


def test_commands_and_links_are_copied(page, runs):
    path = runs["layers"].path
    assert page.run("document.getElementById('export').hidden") is True
    for player in (1, 5):
        page.click(f'[data-player="{player}"]')
    wanted = f"layershap export {path} --remove 1,5 --to {path}-without-1-5"
    assert page.run("document.getElementById('command').textContent") == wanted
    page.run("document.addEventListener('copy', () => { window.took = String(getSelection()); })")
    page.run("navigator.clipboard.writeText = async (text) => { window.took = text; }")
    page.click("#copy-command")
    page.wait("document.getElementById('copied').textContent === 'Export command copied.'")
    assert page.run("window.took") == wanted
    page.click("#copy-link")
    page.wait("document.getElementById('copied').textContent === 'Link copied.'")
    assert page.run("window.took === location.href")


def test_keys_are_enough(page):
    page.run("document.querySelector('[data-player=\"0\"]').focus()")
    page.press("ArrowDown")
    page.press("ArrowDown")
    page.press(" ")
    assert page.text("#set") == "L2"
    page.press("End")
    page.press("Enter")
    assert page.text("#set") == "L2, L8"
    page.press("ArrowUp")
    assert page.run("document.activeElement.dataset.player") == "7"
    # Undoing the last step leaves the focus on the button.
    page.run("document.getElementById('undo').focus()")
    page.press("Enter")
    page.press("Enter")
    assert page.run("document.activeElement.id") == "undo"
    assert page.run("document.activeElement.getAttribute('aria-disabled')") == "true"


def test_halves_and_protected_players(page, runs):
    run = runs["sublayers"]
    page.open(address(run, "#remove=L2.attn"))
    page.click('[data-player="3"]')
    assert page.text("#set") == "L2.attn, L2.mlp"
    command = page.run("document.getElementById('command').textContent")
    assert f"export '{run.path}' --remove L2.attn,L2.mlp --to '{run.path}-" in command
    assert page.run("document.querySelectorAll('.held').length") == 2
    assert page.run("document.querySelectorAll('#stack li').length") == 5
    predicted, _, _, measured = python(run, (2, 3))
    assert shown(page) == pytest.approx(predicted if measured is None else measured, abs=1.5e-4)


def test_a_page_of_the_service_links_to_it(page, runs, tmp_path):
    run = runs["layers"]
    path = tmp_path / "served.html"
    path.write_text(explorer_page(read_config(run.config), run, "http://127.0.0.1:9/base"))
    page.open(path.as_uri())
    assert page.run("document.getElementById('service').href") == "http://127.0.0.1:9/base/docs"


def test_served_it_asks_for_nothing_but_itself(tab, runs):
    run = runs["layers"]
    handler = partial(Quiet, directory=str(run.path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            tab.complaints.clear()
            tab.requests.clear()
            tab.open(f"http://127.0.0.1:{server.server_port}/page.html#remove=1,5")
            assert tab.text("#set") == "L1, L5"
            tab.click('[data-player="3"]')
            asked = [url for url in tab.requests if url.startswith("http")]
            assert [url.split("/")[-1].split("#")[0] for url in asked] == ["page.html"]
            assert tab.complaints == []
        finally:
            server.shutdown()
            thread.join()


def test_the_chart_has_every_fact_and_says_what_it_shows(page):
    # 120 of all sets, and every single removal, which some of them are.
    count = page.run(
        "JSON.parse(document.getElementById('data').textContent).measured.utilities.shape[0]"
    )
    assert count >= MEASURED
    inked = (
        "(() => { const c = document.querySelector('#chart canvas');"
        " const d = pixels(c);"
        " let k = 0; for (let i = 3; i < d.length; i += 4) k += d[i] > 0; return k; })()"
    )
    assert page.run(inked) > 1000
    mark = (
        "(() => { const c = document.querySelector('#chart canvas');"
        " const d = pixels(c);"
        " let sum = 0, k = 0; for (let i = 0; i < d.length; i += 4)"
        "  if (d[i] === 192 && d[i + 1] === 74 && d[i + 2] === 0)"
        "   { sum += (i / 4) % c.width; k++; }"
        " return sum / k; })()"
    )
    start = page.run(mark)
    before = page.run("document.getElementById('chart').getAttribute('aria-label')")
    page.click('[data-player="4"]')
    # The diamond went to the right, though the axes stayed as they were.
    assert page.run(mark) > start + 50
    after = page.run("document.getElementById('chart').getAttribute('aria-label')")
    assert before != after
    assert page.text("#loss") in after


def test_a_dot_of_the_frontier_is_a_click_away(page):
    # The middle of a dot of the best sets: a square of nothing but their colour.
    place = page.run(
        "(() => { const c = document.querySelector('#chart canvas');"
        " c.scrollIntoView({block: 'center'}); const r = c.getBoundingClientRect();"
        " const d = pixels(c);"
        " const own = (x, y) => { const i = 4 * (y * c.width + x);"
        "  return d[i] === 0 && d[i + 1] === 114 && d[i + 2] === 178; };"
        " for (let x = 0; x < c.width - 5; x++) for (let y = 0; y < c.height - 5; y++) {"
        "  let all = true;"
        "  for (let k = 0; k < 16 && all; k++) all = own(x + k % 4, y + Math.floor(k / 4));"
        "  if (all) return [r.x + x + 2, r.y + y + 2]; } })()"
    )
    mouse = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
    page.send("Input.dispatchMouseEvent", type="mouseMoved", **mouse)
    page.wait("document.getElementById('tip').textContent.startsWith('✓ measured')")
    tip = page.text("#tip")
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, **mouse)
    assert page.text("#badge") == "✓ measured"
    assert f"measured {page.text('#loss')}" in tip


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_accessible_and_nothing_sticks_out(page, runs, width, dark):
    page.look(width, 800, dark=dark)
    page.open(address(runs["layers"], "#remove=1,4,6,7"))
    page.run("document.querySelector('details').open = true")
    assert page.violations() == []
    assert page.run("document.documentElement.scrollWidth") <= width
    targets = page.run(
        "[...document.querySelectorAll('button')].filter((b) => b.offsetParent)"
        ".map((b) => b.getBoundingClientRect().height)"
    )
    assert min(targets) >= 24


def test_a_click_is_answered_within_fifty_milliseconds(page):
    times = page.run(
        "(async () => { const times = [];"
        " for (let k = 0; k < 27; k++) {"
        "  const button = document.querySelector(`[data-player='${k % 9}']`);"
        "  await new Promise((done) => setTimeout(done, 30));"
        "  const start = performance.now(); button.click();"
        "  document.body.getBoundingClientRect(); times.push(performance.now() - start); }"
        " return times; })()"
    )
    assert sorted(times)[len(times) // 2] < 50


def test_shares_stand_in_percent_and_raw_losses_in_nats(page, runs):
    values = VALUES.read(runs["layers"].path)
    first = page.text("[data-player='0'] .worth").replace(", worth", "")  # read out, not shown
    assert first.strip().startswith(f"{100 * values.shapley.values[0]:.1f}")
    assert first.strip().partition(" ±")[0].endswith("%")
    assert page.text("#value-title") == "Shapley values of retention"
    assert "%" in page.text("#high")
    assert page.text("#value-facts").startswith("Retention is exp(-(NLL - NLL of the whole model))")
    page.open(address(runs["sublayers"]))
    assert "%" not in page.text("[data-player='0'] .worth")
    assert page.text("#value-title") == "Shapley values, nats per token"
    assert page.text("#value-facts") == ""


def test_a_recommended_set_says_why_it_is_chosen(page, runs):
    verified = RECOMMENDATIONS.read(runs["layers"].path)
    for item in verified.recommendations:
        page.open(address(runs["layers"], f"#remove={item.names}"))
        assert "least value" in page.text("#why")
    page.open(address(runs["layers"], "#remove=0,1,2,3"))
    assert page.text("#why") == ""
