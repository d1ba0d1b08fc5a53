from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from layershap.explorer import explorer_data, gather, render_explorer
from layershap.explorer.bundle import bundle
from layershap.explorer.weights import packed, packed_bits
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.runs.config_file import read_config
from sampling import enumerate_all
from surrogate import load
from surrogate.ensemble.warp import Warp
from tests.support.command_line import call
from tests.support.explorer_samples import sample_run
from tests.support.plain_prediction import network_outputs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sample_run(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture(scope="module")
def exploration(run):
    return gather(read_config(run.config), run)


@pytest.fixture(scope="module")
def data(exploration):
    return explorer_data(exploration)


def unpacked(part):
    kind = {"f4": "<f4", "f8": "<f8"}[part["kind"]]
    return np.frombuffer(base64.b64decode(part["data"]), kind).reshape(part["shape"])


def evaluate(surrogate, coalitions):
    """What the page computes, in numpy and double precision."""
    learners = {
        learner: SimpleNamespace(
            **{name: unpacked(part).astype(float) for name, part in own.items()}
        )
        for learner, own in surrogate["learners"].items()
    }
    signs, mixture = 2.0 * coalitions - 1.0, learners["mixture"]

    def expected(part):
        total = part.bias + signs @ part.linear + part.sizes[coalitions.sum(axis=1)]
        for place, level in enumerate(part.level):
            own = level + signs @ part.lean[place] + ((signs @ part.metric[place]) * signs).sum(1)
            exponents = np.hstack([signs, signs[:, 1:] * signs[:, :-1]]) @ part.centres[place]
            total = total + np.exp(exponents + own[:, None]) @ part.heights[place]
        return total

    process = near = networks = expected(learners["process"])
    if "near process" in learners:
        lost = -np.log(np.maximum(expected(learners["near process"]), mixture.least))
        near = np.where(lost < 0, lost, np.log1p(np.maximum(lost, 0.0)))
    if "networks" in learners:
        own = network_outputs(learners["networks"], coalitions).mean(axis=0)
        networks = mixture.level + mixture.spread * own
    far = mixture.far @ [process, networks]
    close = mixture.near @ [near, networks]
    gate = 1.0 / (1.0 + np.exp((far - mixture.meeting) / mixture.passage))
    return Warp(**surrogate["warp"]).to_utility(far + gate * (close - far))


def test_weights_predict_what_the_surrogate_predicts(run, data):
    every = enumerate_all(9)
    wanted = load(run.surrogate).predict(every)
    np.testing.assert_allclose(evaluate(data["surrogate"], every), wanted, atol=1e-4, rtol=0)


def test_half_widths_are_those_of_the_interval(run, data):
    every = enumerate_all(9)
    lower, upper = load(run.surrogate).predict_interval(every, data["surrogate"]["level"])
    warp, found = Warp(**data["surrogate"]["warp"]), data["surrogate"]["half_widths"]
    places = warp.to_scale(load(run.surrogate).predict(every))
    half = np.interp(places, found["places"], found["halves"])
    np.testing.assert_allclose(warp.to_utility(places + half), lower, atol=1e-9)
    np.testing.assert_allclose(warp.to_utility(places - half), upper, atol=1e-9)


def test_the_level_is_lowered_until_the_measurements_suffice(exploration):
    few = dataclasses.replace(exploration.regressor.conformal_)
    for count, level in ((30, 0.95), (12, 0.9), (6, 0.8)):
        regressor = exploration.regressor.__class__(**exploration.regressor.get_params())
        vars(regressor).update(vars(exploration.regressor))
        regressor.conformal_ = dataclasses.replace(
            few,
            residuals=few.residuals[:count],
            predicted=few.predicted[:count],
            weights=few.weights[:count],
        )
        found = explorer_data(dataclasses.replace(exploration, regressor=regressor))["surrogate"]
        assert found["level"] == level
    regressor.conformal_ = dataclasses.replace(
        few, residuals=few.residuals[:2], predicted=few.predicted[:2], weights=few.weights[:2]
    )
    found = explorer_data(dataclasses.replace(exploration, regressor=regressor))["surrogate"]
    assert (found["level"], found["half_widths"]) == (None, None)


def test_bits_begin_each_row_anew():
    rows = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 1], [0, 1, 1, 0, 0, 0, 0, 1, 0]], bool)
    part = packed_bits(rows)
    assert part["shape"] == [2, 9]
    assert base64.b64decode(part["data"]) == bytes([1, 1, 0b10000110, 0])


@pytest.mark.parametrize(("number", "kind"), [(0.5, "f4"), (2.0**24, "f4"), (0.1, "f8")])
def test_numbers_are_packed_exactly_and_as_short_as_that_allows(number, kind):
    array = np.array([[number, 1.0, -2.0]])
    part = packed(array)
    assert (part["kind"], part["shape"]) == (kind, [1, 3])
    np.testing.assert_array_equal(unpacked(part), array)


def test_facts_are_the_ledgers(run, exploration, data):
    utilities = unpacked(data["measured"]["utilities"])
    np.testing.assert_array_equal(utilities, exploration.utilities)
    assert data["measured"]["coalitions"]["shape"] == [len(utilities), 9]
    assert {item["source"] for item in data["verified"]} == {"recommended", "greedy"}
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    verified = RECOMMENDATIONS.read(run.path)
    told = {tuple(item["removed"]): item["repaired"] for item in data["verified"]}
    for item in verified.recommendations:
        assert told[item.removed] == (item.repair and item.repair.facts())


def test_halves_stand_in_one_row_and_the_protected_are_shown(tmp_path):
    run = sample_run(tmp_path / "halves", "sublayers", depth=4, protect="0")
    data = explorer_data(gather(read_config(run.config), run), "http://127.0.0.1:8000/")
    assert [row["name"] for row in data["stack"]] == ["L0", "L1", "L2", "L3"]
    assert [part["player"] for part in data["stack"][0]["parts"]] == [None, None]
    assert data["stack"][1]["parts"] == [
        {"name": "L1.attn", "part": "attention", "player": 0},
        {"name": "L1.mlp", "part": "mlp", "player": 1},
    ]
    assert data["service"] == "http://127.0.0.1:8000"


def test_values_and_verified_sets_may_be_missing(tmp_path):
    run = sample_run(tmp_path / "early", depth=7)
    run.values.unlink()
    run.recommendations.unlink()
    data = explorer_data(gather(read_config(run.config), run))
    assert data["values"] is None
    assert data["verified"] == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda e: {"utilities": e.utilities[1:]}, "one row a utility"),
        (lambda e: {"utilities": np.full_like(e.utilities, np.nan)}, "must be finite"),
        (
            lambda e: {"coalitions": e.coalitions[:-1], "utilities": e.utilities[:-1]},
            "must hold the whole model",
        ),
    ],
)
def test_what_does_not_fit_is_refused(exploration, change, rule):
    order = np.argsort(exploration.coalitions.sum(axis=1), kind="stable")
    sorted_ = dataclasses.replace(
        exploration,
        coalitions=exploration.coalitions[order],
        utilities=exploration.utilities[order],
    )
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(sorted_, **change(sorted_))


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_page_loads_nothing_and_names_its_scripts(data):
    html = render_explorer(data)
    tags = Page(html).tags
    loading = {"src", "srcset", "action", "poster"}
    assert not [tag for tag, attrs in tags if loading & attrs.keys()]
    assert [attrs["href"] for tag, attrs in tags if tag == "link"] == ["data:,"]
    policy = next(a["content"] for _, a in tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    styles = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert (len(scripts), len(styles)) == (2, 1)
    for text in (*scripts, *styles):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_a_name_cannot_end_its_element(data):
    evil = "</script><script>alert(1)</script>"
    html = render_explorer({**data, "model": evil})
    assert evil not in html
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert held is not None
    assert json.loads(held[1])["model"] == evil


def test_bundle_keeps_scopes_apart_and_runs_imports_first():
    modules = {
        "main": 'import { two } from "./deep.js";\nimport { one } from "./flat.js";\none(two);\n',
        "deep": 'import { one } from "./flat.js";\nconst own = 1;\nexport function two() {}\n',
        "flat": "const own = 2;\nexport const one = own;\n",
    }
    text = bundle(modules, "main")
    assert re.findall(r"const (\w+)Module", text) == ["flat", "deep", "main"]
    assert "const { one } = flatModule;" in text
    assert "return { two };" in text
    assert not re.search(r"^\s*(import|export)\b", text, re.M)


@pytest.mark.parametrize(
    ("modules", "rule"),
    [
        ({"a": 'import { b } from "./b.js";\n'}, "b.js: no such module, imported by a"),
        (
            {
                "a": 'import { b } from "./b.js";\nexport const a = 1;\n',
                "b": 'import { a } from "./a.js";\nexport const b = 1;\n',
            },
            "a -> b -> a: imports go in a circle",
        ),
        ({"a": "export default 3;\n"}, "'export default 3;' cannot be bundled"),
        ({"a": 'import "./b.js";\n'}, "cannot be bundled"),
    ],
)
def test_bundle_refuses_what_it_cannot_join(modules, rule):
    with pytest.raises(ValueError, match=re.escape(rule)):
        bundle(modules, "a")


def test_command_writes_one_file(run, tmp_path):
    status, out, err = call("explore", run.path, "--to", tmp_path / "page.html")
    assert (status, err) == (0, "")
    assert str(tmp_path / "page.html") in out
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    status, out, _ = call("explore", run.path)
    assert status == 0
    assert (run.path / "explorer.html").exists()


def test_command_without_a_surrogate_or_a_place_says_so(run, tmp_path):
    status, _, err = call("explore", run.path, "--to", tmp_path / "no" / "such" / "page.html")
    assert status == 2
    assert "cannot be written" in err
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "run.toml").write_text(run.config.read_text())
    status, _, err = call("explore", bare)
    assert status != 0
    assert "no surrogate" in err
