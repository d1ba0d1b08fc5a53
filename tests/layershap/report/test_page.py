"""The report in a real browser: by itself, at any width, in the dark, on paper."""

import base64
import re

import pytest

from layershap.report import render
from tests.support.chromium import chromium, needed_chromium
from tests.support.report_samples import sample_report

PROGRAM = needed_chromium()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(sample_report()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(tab, address):
    tab.complaints.clear()
    tab.requests.clear()

    def opened(width, *, dark=False):
        tab.look(width, 900, dark=dark)
        tab.send("Page.navigate", url="about:blank")
        tab.send("Page.navigate", url=address)
        tab.wait("document.readyState === 'complete' && !!document.querySelector('#reproduce')")
        return tab

    yield opened
    assert tab.complaints == []
    assert {url.split(":")[0] for url in tab.requests} <= {"file", "about", "data"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_accessible_and_nothing_sticks_out(page, width, dark):
    tab = page(width, dark=dark)
    assert tab.violations() == []
    assert tab.run("document.documentElement.scrollWidth") <= width


def test_a_command_is_copied_by_a_click(page):
    tab = page(1280)
    tab.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }; undefined")
    tab.click("[data-copy='reproduce-command']")
    tab.wait("window.copied !== undefined")
    assert tab.run("window.copied") == tab.text("#reproduce-command")


def test_prints_on_pages(page):
    tab = page(1280)
    pdf = base64.b64decode(tab.send("Page.printToPDF", printBackground=False)["data"])
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert pdf.startswith(b"%PDF")
    assert 2 <= pages <= 20
    tab.send("Emulation.setEmulatedMedia", media="print")
    try:
        shown = tab.run(
            "[...document.querySelectorAll('button')].filter((b) => b.offsetParent).length"
        )
        assert shown == 0  # nothing to press on paper
        assert tab.run("getComputedStyle(document.body).color") != "rgb(255, 255, 255)"
    finally:
        tab.send("Emulation.setEmulatedMedia", media="")
