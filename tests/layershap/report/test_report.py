from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from layershap.report import (
    BaselineSet,
    PairedDifference,
    Ranking,
    Report,
    TextFacts,
    render,
)
from layershap.report.figures.canvas import look
from layershap.report.summary import (
    finding_sentence,
    headline,
    question_sentence,
    recommended,
    warnings,
)
from layershap.report.wording import fixed, signed
from layershap.results.estimate import Estimate
from layershap.results.values import ErrorPoint
from tests.support.report_samples import DENSE_NLL, QuadraticCost, sample_report

VOID = {"meta", "br", "hr", "img", "link", "input"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def ids(self) -> list[str]:
        return [str(attrs["id"]) for _, attrs in self.tags if "id" in attrs]


@pytest.fixture(scope="module")
def report() -> Report:
    return sample_report()


@pytest.fixture(scope="module")
def html(report) -> str:
    return render(report)


def drawings(html: str) -> list[ET.Element]:
    return [
        ET.fromstring(svg)
        for svg in re.findall(r'<div class="(?:wide|narrow)">(.*?)</div>', html, re.DOTALL)
    ]


def test_page_loads_nothing(html):
    for tag, attributes in Page(html).tags:
        assert not LOADING & attributes.keys(), f"<{tag}> loads {attributes}"
        assert tag not in ("link", "iframe", "object", "embed", "img", "base")
    assert "url(" not in html
    assert "@import" not in html
    assert "http:" not in html
    assert "https:" not in html


def test_policy_allows_the_own_script_only(html):
    page = Page(html)
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script is not None
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_all_sections_and_figures_present_once(html):
    found = Page(html).ids()
    assert len(found) == len(set(found))
    assert {
        "warnings", "recommendations", "frontier-size", "frontier-speed", "frontier-parameters",
        "frontier-prefill", "frontier-table", "values-0", "values-1",
        "interactions", "surrogate-fit", "recommendation-table", "rival-table", "pair-table",
        "fit-table", "strata-table", "reproduce",
    } - set(found) == {"warnings"}  # fmt: skip


def test_every_export_command_has_a_copy_button(report, html):
    page = Page(html)
    copied = {attrs.get("data-copy") for tag, attrs in page.tags if tag == "button"}
    for item in report.recommendations:
        assert f'<code id="export-{item.size}" tabindex="0">{item.command}</code>' in html
        assert f"export-{item.size}" in copied
    assert "reproduce-command" in copied


def test_recommendation_figures_follow_the_game(report, html):
    cost = QuadraticCost(12, 7)
    words = Page(html).words
    for item in report.recommendations:
        value = cost.of(item.removed)
        assert signed(value) in words
        assert fixed(math.exp(DENSE_NLL + value)) in words


def test_bar_lengths_are_proportional_to_values(html, report):
    svg = html[html.index('id="values-0"') :]
    svg = svg[svg.index('<div class="wide">') :]
    widths = [
        float(w) for w in re.findall(r"<rect [^>]*width=\"([\d.]+)\"", svg)[: len(report.players)]
    ]
    values = [abs(value.value) for value in report.values[0].values]
    scale = widths[0] / values[0]
    assert widths == pytest.approx([max(0.5, scale * value) for value in values], abs=0.02)


@pytest.mark.parametrize("n", [3, 12, 80])
def test_any_number_of_players(n):
    report = sample_report(n)
    html = render(report)
    page = Page(html)
    for name in report.players:
        assert f">{name}</text>" in html or f">{name}</span>" in html
    cells = re.findall(r'class="(?:pos|neg)(?: cell)?"[^>]*><title>', html)
    assert len(cells) == n * (n - 1), "each pair once, in the wide and in the narrow drawing"
    assert "interactions" in page.ids()


def test_drawings_are_well_formed_and_hold_their_text(html):
    found = drawings(html)
    assert len(found) >= 12
    for svg in found:
        width = float(svg.attrib["width"])
        height = float(svg.attrib["height"])
        for text in svg.iter("text"):
            assert 0 <= float(text.attrib["x"]) <= width
            assert 0 <= float(text.attrib["y"]) <= height
            assert text.text


def test_without_rivals_speeds_intervals_and_surrogate():
    report = sample_report(6, rivals=False, speeds=False, intervals=False, surrogate=False)
    html = render(report)
    page = Page(html)
    assert not {"rival-table", "frontier-speed", "surrogate-fit", "fit-table"} & set(page.ids())
    assert "frontier-size" in page.ids()
    assert "Decoding" not in page.words
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan", "", page.words.lower())
    assert "point estimate" in page.words
    assert 'class="whisker"' not in html


def test_values_that_are_not_finite_draw_no_bar():
    report = sample_report(5)
    panel = report.values[0]
    values = (Estimate(math.nan), *panel.values[1:])
    changed = dataclasses.replace(
        report, values=(dataclasses.replace(panel, values=values), report.values[1])
    )
    assert "nan" not in render(changed).split("<style>")[0]
    count = [render(r).count('class="fill s0" x=') for r in (report, changed)]
    assert count[0] - count[1] == 2


ERRORS = tuple(ErrorPoint(m, 3 / m, 1 / m) for m in (24, 40, 64, 110, 200))


def test_errors_fall_along_a_straight_line_on_log_scales(report):
    changed = dataclasses.replace(report, errors=ERRORS, halving=1234)
    html = render(changed)
    assert "about 1,234 would halve" in html
    svg = html[html.index('id="errors"') :]
    svg = svg[svg.index('<div class="wide">') : svg.index('<div class="narrow">')]
    places = [
        (float(x), float(y))
        for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", re.findall(r' d="([^"]+)"', svg)[0])
    ]
    slopes = [(d - b) / (c - a) for (a, b), (c, d) in itertools.pairwise(places)]
    assert slopes == pytest.approx([slopes[0]] * 4, rel=0.02)
    assert slopes[0] > 0, "downwards"
    assert 'id="errors"' not in render(dataclasses.replace(report, errors=ERRORS[:1]))
    assert 'id="sureness"' not in render(report)


def test_ranking_is_told_of_as_many_as_the_set_put_forward(report):
    rankings = tuple(Ranking(k, (f"sentence about {k} of them: 9 %",)) for k in (1, 2, 3, 5, 8))
    item = headline(report)
    assert item is not None
    nearest = min((1, 2, 3, 5, 8), key=lambda k: abs(k - max(3, item.size)))
    html = render(dataclasses.replace(report, rankings=rankings))
    assert f"sentence about {nearest} of them: 9 %" in Page(html).words
    assert html.count("sentence about") == 1


def test_text_widens_intervals(report):
    panel = report.values[0]
    wider = tuple(Estimate(v.value, v.lower - 0.1, v.upper + 0.1) for v in panel.values)
    changed = dataclasses.replace(panel, with_text=wider)
    html = render(dataclasses.replace(report, values=(changed, report.values[1])))
    pale, plain = (
        [
            abs(float(b) - float(a))
            for a, b in re.findall(rf'class="{cls}" x1="(.*?)" x2="(.*?)" y1="[1-9]', html)
        ]
        for cls in ("whisker text", "whisker")
    )
    n = len(report.players)
    assert len(pale) == 2 * n + 1, "wide, narrow and the legend"
    own = [width for width in plain if width > 0][1 : n + 1]  # without ends and legend
    assert all(wide > narrow for wide, narrow in zip(pale[1 : n + 1], own, strict=True))
    with pytest.raises(ValueError, match="give one a player"):
        dataclasses.replace(report, values=(dataclasses.replace(panel, with_text=wider[1:]),))


def test_hostile_names_are_escaped():
    hostile = "<script>alert('x')</script>\"&"
    report = dataclasses.replace(
        sample_report(4, model=hostile, warnings=(hostile,)),
        players=(hostile, "L1", "L2", "L3"),
        calibration=TextFacts(hostile, 20_000),
    )
    report = dataclasses.replace(
        report, provenance=dataclasses.replace(report.provenance, config=hostile, command=hostile)
    )
    html = render(report)
    page = Page(html)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<script>alert" not in html
    assert hostile in page.words


def test_headline_is_the_largest_set_inside_the_tolerance(report):
    chosen = headline(report)
    assert chosen is not None
    for item in report.recommendations:
        rises = math.expm1(item.difference.upper)
        if item.size > chosen.size:
            assert rises > report.tolerance
    assert math.expm1(chosen.difference.upper) <= report.tolerance
    assert "the largest that keeps perplexity within 10 %" in recommended(report)


def test_headline_follows_the_choice_and_warns_outside_the_tolerance(report):
    chosen = dataclasses.replace(report, chosen=8)
    item = headline(chosen)
    assert item is not None
    assert item.size == 8
    assert recommended(chosen).startswith("Do not prune without retraining")
    assert "Removing 8 of 12 layers" in finding_sentence(chosen)


def test_sentences_state_budget_text_and_cost(report):
    item = headline(report)
    assert item is not None
    assert "512 of at most 512 combinations" in question_sentence(report)
    assert "32,768 tokens" in question_sentence(report)
    assert signed(item.difference.value) in finding_sentence(report)
    assert fixed(math.exp(DENSE_NLL)) in finding_sentence(report)


def test_cheaper_rival_is_admitted(report):
    first = report.recommendations[0]
    better = BaselineSet("luck", (5,), Estimate(first.difference.value - 0.03))
    beaten = dataclasses.replace(
        report,
        recommendations=(dataclasses.replace(first, rivals=(better,)),),
    )
    assert "luck costs 0.030 nats per token less" in recommended(beaten)
    assert any("cheaper set at 1 removed (luck)" in line for line in warnings(beaten))
    assert re.search(
        r'class="best">[^<]*' + re.escape(signed(better.difference.value)), render(beaten)
    )


def rows_of(html: str, name: str) -> list[str]:
    table = html[html.index(f'<table id="{name}">') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in body.split("</tr>")[:-1]]


def test_every_method_has_a_row_beside_the_search(report, html):
    rows = rows_of(html, "rival-table")
    methods = [rival.method for rival in report.recommendations[0].rivals]
    assert all(row.startswith(m) for row, m in zip(rows, ["layershap", *methods], strict=True))
    assert re.findall(r"[+−][\d.]+", rows[0]) == [
        signed(item.difference.value) for item in report.recommendations
    ]
    for item in report.recommendations:
        for rival in item.rivals:
            row = next(row for row in rows if row.startswith(rival.method))
            assert signed(rival.difference.value) in row


def test_sets_stand_beside_the_best_heuristic(report, html):
    for item, row in zip(
        report.recommendations, rows_of(html, "recommendation-table"), strict=True
    ):
        assert item.against is not None
        same = item.against.removed == item.removed
        assert ("same set" in row) == same
        assert item.against.method in row
        if not same:
            assert signed(item.against.difference.value) in row
    first = report.recommendations[0]
    worse = PairedDifference("luck", (5,), Estimate(-0.03, -0.04, -0.02))
    rival = BaselineSet("luck", (5,), Estimate(first.difference.value + 0.03))
    for ends, said in (
        (Estimate(-0.03, -0.04, -0.02), "0.030 nats per token more (95 % interval 0.020 to 0.040)"),
        (Estimate(-0.03, -0.08, 0.02), "more, which its 95 % interval does not tell from none"),
    ):
        item = dataclasses.replace(
            first, rivals=(rival,), against=dataclasses.replace(worse, difference=ends)
        )
        assert said in recommended(dataclasses.replace(report, recommendations=(item,)))


def test_frontier_table_holds_the_sets_that_none_beats(report, html):
    rows = rows_of(html, "frontier-table")
    best = {p.removed for p in report.frontier if p.on_frontier and p.removed}
    assert len(rows) == len(best)
    for removed in best:
        names = " ".join(report.players[player] for player in removed)
        assert any(f"{len(removed)} {names} +" in row for row in rows)
    beaten = {p.removed for p in report.frontier if not p.on_frontier} - best
    assert beaten
    for removed in beaten:
        names = " ".join(report.players[player] for player in removed)
        assert not any(f"{len(removed)} {names} +" in row for row in rows)


def test_frontier_figures_show_every_method_once_and_ring_the_best(report, html):
    for name, axis in (("size", "count"), ("parameters", "parameters"), ("speed", "decode")):
        svg = html[html.index(f'id="frontier-{name}"') :]
        svg = svg[svg.index('<div class="wide">') : svg.index('<div class="narrow">')]
        shown = [p for p in report.frontier if p.removed and p.gain(axis) is not None]
        assert svg.count("<title>") == len(shown) + 1, "one more for the whole model"
        assert svg.count('class="ring"') == len({p.removed for p in shown if axis in p.on_frontier})
    narrow = html[html.index('id="frontier-size"') :]
    narrow = narrow[narrow.index('<div class="narrow">') : narrow.index("</figure>")]
    assert narrow.count("<title>") == 1, "phones show no tooltips"


def test_series_look_different():
    looks = [look(style) for style in range(21)]
    assert len(set(looks)) == 21
    assert [colour for colour, _ in looks].count(0) == 1


def test_texts_and_tasks_are_told_apart():
    report = sample_report(6, texts=True, tasks=True)
    html = render(report)
    for item, texts, tasks in zip(
        report.recommendations,
        rows_of(html, "text-table"),
        rows_of(html, "task-table"),
        strict=True,
    ):
        for text in item.texts:
            assert signed(text.difference.value) in texts
        (task,) = item.tasks
        assert fixed(100 * task.value, 1) in tasks
        assert signed(100 * task.difference.value, 1) in tasks
    assert "text-table" not in Page(render(sample_report(6))).ids()
    assert "task-table" not in Page(render(sample_report(6))).ids()


def test_what_perplexity_hides_is_a_concern(report):
    first = dataclasses.replace(report.recommendations[0], warnings=("the accuracy on piqa falls",))
    changed = dataclasses.replace(report, recommendations=(first, *report.recommendations[1:]))
    names = report.players[first.removed[0]]
    assert f"Without {names} the accuracy on piqa falls." in warnings(changed)


def test_concerns_name_what_matters(report):
    assert report.surrogate is not None
    worse = [
        dataclasses.replace(s, r2=0.31) if s.learner == "surrogate" else s
        for s in report.surrogate.scores
    ]
    weak = dataclasses.replace(
        report,
        calibration=TextFacts("a note", 900),
        excluded=3,
        surrogate=dataclasses.replace(report.surrogate, scores=tuple(worse), coverage=0.6),
        warnings=("said by the pipeline",),
    )
    lines = " ".join(warnings(weak))
    for part in ("said by the pipeline", "900 tokens", "3 measured", "0.31", "ridge", "60 %"):
        assert part in lines
    assert warnings(report) == []


def test_no_recommendations_still_renders(report):
    empty = dataclasses.replace(report, recommendations=())
    page = Page(render(empty))
    assert "recommendations" not in page.ids()
    assert "Raise the budget" in page.words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"interactions": ((0.0,),)}, "interactions must be 12 rows"),
        ({"chosen": 11}, "name one of the recommended sizes"),
        ({"players": ("L0",), "interactions": None}, "give one a player"),
    ],
)
def test_inconsistent_reports_are_refused(report, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(report, **change)


@pytest.mark.parametrize(
    ("decoding", "said"),
    [
        (Estimate(1.04, 0.58, 1.17), "timed at 1.04× (0.58 to 1.17), not surely another speed"),
        (Estimate(1.4, 1.3, 1.5), "makes decoding 1.40× as fast"),
        (Estimate(0.9, 0.85, 0.95), "makes decoding 0.90× as fast"),
    ],
)
def test_speed_is_claimed_only_where_it_was_told_from_noise(decoding, said):
    report = sample_report()
    best = headline(report)
    assert best is not None
    faster = dataclasses.replace(best, decoding=decoding)
    items = tuple(faster if item is best else item for item in report.recommendations)
    assert said in finding_sentence(dataclasses.replace(report, recommendations=items))
