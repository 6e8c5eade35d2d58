"""Pages of ``report`` in a browser: nothing hangs over the side, on paper neither; axe finds nothing bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns import some
from xnorcore.cli import main
from xnorcore.files import xnorfile
from xnorcore_hw.bench.cnn import random_cnv

PAPER = (688, 1017)
"""A4 within its margins of 14 mm, at 96 dots per inch."""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """CNV where it does not fit."""
    folder = tmp_path_factory.mktemp("page")
    xnorfile.save(random_cnv(), folder / "cnv.xnor")
    path = folder / "page.html"
    command = ["report", str(folder / "cnv.xnor"), "--board", "ulx3s-85f", "--set", "act_depth=1024"]
    assert main([*command, "-o", str(path)]) == 1
    return path


@pytest.fixture(scope="module")
def accurate(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "fashion.html"
    assert main(["report", "fashion", "--board", "ulx3s-85f", "--no-sim", "-o", str(path)]) == 0
    return path


@pytest.mark.campaign
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_axe_finds_nothing_serious(width, scheme, tab, page_file, accurate):
    from axe_playwright_python.sync_playwright import Axe

    for path in (page_file, accurate):
        one = tab(viewport={"width": width, "height": 900}, color_scheme=scheme)
        one.page.goto(path.as_uri())
        found = Axe().run(one.page)
        assert len(found.response["passes"]) > 15
        serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
        assert [(v["id"], [node["target"] for node in v["nodes"]]) for v in serious] == []
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        assert one.requests == [path.as_uri()] or all(r.startswith("data:") for r in one.requests[1:])
        # Letters of a drawing stay large enough to be read, if it has to be scrolled.
        least = one.page.evaluate(
            "Math.min(...[...document.querySelectorAll('figure svg')].map("
            "s => s.getBoundingClientRect().width / s.viewBox.baseVal.width))"
        )
        assert least > 0.75


DRAWN = """() => [...document.querySelectorAll('figure svg')].map((svg) => {
  const box = svg.getBoundingClientRect();
  const ink = (e) => getComputedStyle(e).fill;
  return { broad: svg.classList.length, right: box.right, ground: getComputedStyle(svg).backgroundColor,
    letters: [...svg.querySelectorAll('text')].map((e) => [
      ink(e), parseFloat(getComputedStyle(e).fontSize) * box.width / svg.viewBox.baseVal.width]),
    data: [...new Set([...svg.querySelectorAll('path, rect, use')].map(ink))] };
})"""
DARK_INK, LIGHT_INK, WHITE = "rgb(230, 232, 236)", "rgb(29, 33, 41)", "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("scheme", "media", "ink"),
    some(
        [("light", "screen", LIGHT_INK), ("dark", "screen", DARK_INK), ("dark", "print", "rgb(0, 0, 0)")],
        1,
        many=True,
    ),
)
def test_drawings_fit_a_telephone_and_follow_the_theme(scheme, media, ink, tab, accurate):
    one = tab(viewport={"width": 400, "height": 900}, color_scheme=scheme)
    one.page.emulate_media(media=media, color_scheme=scheme)
    one.page.goto(accurate.as_uri())
    drawings = one.page.evaluate(DRAWN)
    assert len(drawings) == 5
    for drawing in drawings:
        assert drawing["ground"] == "rgba(0, 0, 0, 0)" and not drawing["broad"]
        assert drawing["right"] <= 400
        letters = drawing["letters"]
        assert letters and {colour for colour, _ in letters} - {WHITE} == {ink}
        if media == "screen":
            assert min(size for _, size in letters) >= 7.5
    bars = drawings[1]["data"]
    assert ("rgb(75, 139, 208)" in bars) == (scheme == "dark" and media == "screen")
    assert ("rgb(47, 111, 181)" in bars) == (scheme == "light" or media == "print")


@pytest.mark.campaign
def test_on_paper(tab, page_file, accurate):
    for path in (page_file, accurate):
        one = tab(viewport={"width": PAPER[0], "height": PAPER[1]})
        one.page.goto(path.as_uri())
        one.page.emulate_media(media="print")
        sizes = one.page.evaluate(
            "[...document.querySelectorAll('figure svg, table')].map("
            "e => [e.tagName, e.getBoundingClientRect().right, e.getBoundingClientRect().height])"
        )
        assert len(sizes) > 8
        for tag, right, height in sizes:
            assert right <= PAPER[0] + 1 and (tag == "TABLE" or height <= PAPER[1]), (tag, right, height)
        assert one.page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert one.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
