"""The report as Markdown and as JSON says what the page says."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re

import pytest

from layershap.report import (
    Cost,
    Estimate,
    Ranking,
    render,
    render_json,
    render_markdown,
    to_plain,
)
from layershap.report.summary import (
    finding_sentence,
    headline,
    question_sentence,
    recommended,
    warnings,
)
from tests.support.command_line import call
from tests.support.report_samples import sample_report


@pytest.fixture(scope="module")
def report():
    return dataclasses.replace(
        sample_report(warnings=("A warning | with *marks* and `code`.",)),
        cost=Cost(530, 61.5, 4_300_000),
        rankings=(Ranking(3, ("L4 is among the 3 least valuable: 98 %",)),),
    )


def unmarked(markdown):
    return re.sub(r"\\([\\`*_\[\]<>|#~])", r"\1", markdown)


def tables(markdown):
    """Every table as rows of cells, by the heading that it stands under."""
    found_tables = {}
    for part in re.split(r"^#+ ", markdown, flags=re.M):
        block = re.search(r"(?:^\|.*\|\n?)+", part, flags=re.M)
        if block is not None:
            rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in block[0].splitlines()]
            found_tables[part.splitlines()[0]] = rows
    return found_tables


def test_all_three_tell_the_same_sentences(report):
    page = html.unescape(render(report))
    markdown, plain = unmarked(render_markdown(report)), to_plain(report)
    for name, sentence in (
        ("asked", question_sentence(report)),
        ("found", finding_sentence(report)),
        ("recommended", recommended(report)),
    ):
        assert sentence in page
        assert sentence in markdown
        assert plain["sentences"][name] == sentence
    for concern in warnings(report):
        assert concern in page
        assert concern in markdown
        assert concern in plain["concerns"]
    for item in report.recommendations:
        assert item.command in page
        assert item.command in markdown
    cost = "530 evaluations of 4.3 M tokens, 1 min 02 s of workers' time"
    assert cost in page
    assert cost in markdown


def test_markdown_tables_are_whole(report):
    found_tables = tables(render_markdown(report))
    assert found_tables.keys() >= {
        "Recommendations", "Beside the published heuristics", "What each layer is worth",
        "Which layers depend on each other", "How far to trust the surrogate", "By number removed",
    }  # fmt: skip
    for rows in found_tables.values():
        assert {len(row) for row in rows} == {len(rows[0])}
        assert rows[1][0] == "---"
        assert all(cell == "---:" for cell in rows[1][1:])
    recommended_rows = found_tables["Recommendations"][2:]
    assert len(recommended_rows) == len(report.recommendations)
    chosen = headline(report)
    bold = [row[0] for row in recommended_rows if row[0].startswith("**")]
    assert chosen is not None
    assert bold == [f"**{chosen.size}**"]
    values = found_tables["What each layer is worth"]
    assert [row[0] for row in values[2:]] == list(report.players)
    strata = found_tables["By number removed"]
    assert len(strata) - 2 == len({s.removed for s in report.surrogate.scores} - {None})


def test_names_cannot_write_markup(report):
    evil = dataclasses.replace(report, model="a|b <img src=x> `c` **d**\n# e")
    markdown = render_markdown(evil)
    assert "<img" not in markdown.replace("\\<", "")
    first = markdown.splitlines()[0]
    assert first.startswith("# a\\|b \\<img src=x\\>")
    assert first.endswith("\\# e: layershap report")
    config = dataclasses.replace(report.provenance, config='x = "```"\n')
    markdown = render_markdown(dataclasses.replace(report, provenance=config))
    assert '````toml\nx = "```"\n````' in markdown


def test_json_holds_every_number(report):
    plain = json.loads(render_json(report))
    assert plain == json.loads(json.dumps(to_plain(report)))
    assert plain["schema"] == 1
    fields = {field.name for field in dataclasses.fields(report)}
    assert fields <= plain.keys()
    item, written = report.recommendations[2], plain["recommendations"][2]
    assert written["removed"] == list(item.removed)
    assert written["difference"] == dataclasses.asdict(item.difference)
    assert plain["interactions"] == [list(row) for row in report.interactions]
    assert plain["cost"] == {"evaluations": 530, "worker_seconds": 61.5, "tokens": 4_300_000}
    chosen = headline(report)
    assert chosen is not None
    assert plain["chosen"] == chosen.size
    assert len(plain["surrogate"]["measured"]) == 400


def test_what_is_not_finite_is_null(report):
    item = dataclasses.replace(report.recommendations[0], difference=Estimate(0.1))
    odd = dataclasses.replace(report, recommendations=(item,), excluded=2)
    plain = json.loads(render_json(odd))
    assert plain["recommendations"][0]["difference"] == {"value": 0.1, "lower": None, "upper": None}
    assert math.isnan(item.difference.lower)


def test_a_report_of_little_is_still_one():
    bare = sample_report(4, rivals=False, speeds=False, intervals=False, surrogate=False)
    bare = dataclasses.replace(bare, interactions=None, recommendations=(), values=())
    markdown = render_markdown(bare)
    assert "## Recommendations" not in markdown
    assert "## How to reproduce" in markdown
    assert to_plain(bare)["chosen"] is None


def test_report_command_writes_each_form(finished_run):
    for form, start in (("md", "# tiny"), ("json", "{"), ("html", "<!doctype html>")):
        status, out, err = call("report", finished_run, "--format", form)
        assert status == 0, err
        path = finished_run / f"report.{form}"
        assert str(path) in out
        assert path.read_text(encoding="utf-8").startswith(start)
    plain = json.loads((finished_run / "report.json").read_text())
    assert plain["provenance"]["command"].startswith("layershap run ")
    assert plain["cost"]["evaluations"] > plain["spent"]
    assert plain["cost"]["tokens"] > 0
    status, _, err = call("report", finished_run, "--format", "pdf")
    assert status == 2
    assert "pdf" in err
