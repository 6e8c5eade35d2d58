"""The page in a browser: people draw, look and drop things."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import zoo
from xnorcore.reference import golden
from xnorcore_hw.web.bundle import FORMAT, bundle, sealed

from .conftest import CONFIG

NETWORK = zoo.load("digits")
DRAWN = {
    2: [[(0.3, 0.3), (0.36, 0.2), (0.5, 0.17), (0.66, 0.22), (0.69, 0.35), (0.3, 0.8), (0.72, 0.8)]],
    4: [[(0.55, 0.18), (0.28, 0.58), (0.75, 0.58)], [(0.6, 0.4), (0.6, 0.84)]],
    7: [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.82)]],
}
SEEN = """() => { const c = document.getElementById('seen');
  const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
  return [...data].filter((_, i) => i % 4 === 0); }"""
MINUS = "\N{MINUS SIGN}"
SIMULATED, BOARD = (
    f"{kind}, 1 \N{MULTIPLICATION SIGN} 32 \N{MULTIPLICATION SIGN} 32"
    for kind in ("Simulated device", "Board")
)


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def draw(page, strokes) -> None:
    page.click("#clear")
    box = page.locator("#pad").bounding_box()
    side = min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    for (x, y), *rest in strokes:
        page.mouse.move(left + x * side, top + y * side)
        page.mouse.down()
        for x, y in rest:
            page.mouse.move(left + x * side, top + y * side, steps=2)
        page.mouse.up()


def scores(page) -> list[int]:
    """The numbers at the bars."""
    return [int(text.replace(MINUS, "-")) for text in page.locator("#bars .value").all_text_contents()]


def inputs(page) -> np.ndarray:
    """The values of the small picture that the network sees."""
    return np.array([round(level * 16 / 255) for level in page.evaluate(SEEN)], np.uint8)


def test_size_requests_and_the_first_answer(tab, site, files):
    assert len(files["index.html"]) <= 400_000
    waits = []
    for _ in range(3):
        one = tab()
        started = time.monotonic()
        page = one.open(site)
        waits.append(time.monotonic() - started)
        assert page.text_content("#answer") == "0"
        assert one.requests == [site]
        if waits[-1] <= 6:  # 2 on a machine that does nothing else
            return
    pytest.fail(f"first answers after {waits} s")


@pytest.mark.campaign
def test_it_works_from_a_file(tab, files, tmp_path):
    path = tmp_path / "index.html"
    path.write_bytes(files["index.html"])
    one = tab()
    assert one.open(path.as_uri()).text_content("#answer") == "0" and one.requests == [path.as_uri()]


@pytest.mark.campaign
def test_three_digits_are_drawn(tab, site):
    page = tab().open(site)
    for digit, strokes in DRAWN.items():
        draw(page, strokes)
        expect(page.locator("#answer")).to_have_text(str(digit))
        # The answer is shown while one draws; the last one is of the whole drawing.
        page.wait_for_timeout(150)
        assert scores(page) == golden.run(NETWORK, inputs(page)[np.newaxis])[0].tolist()
    page.click("#clear")
    expect(page.locator("#answer")).to_have_text("…")


@pytest.mark.campaign
def test_all_samples_at_a_hundred_a_second(tab, site):
    page = tab().open(site)
    page.click("#all")
    says = page.locator("#all-result")
    expect(says).to_contain_text("196 of 200 right")
    assert float(says.text_content().split(" images per second")[0].split()[-1].replace(",", "")) >= 100
    images, labels = zoo.test_images("digits")
    page.click("#sample")
    expect(page.locator("#truth")).to_contain_text("sample 2")
    expect(page.locator("#answer")).to_have_text(str(labels[1]))
    assert scores(page) == golden.run(NETWORK, images[1:2])[0].tolist()


@pytest.mark.campaign
def test_the_machine_goes_step_by_step(tab, site):
    page = tab().open(site)
    at = page.locator("#cycle")
    legend = page.locator("#legend")
    expect(legend).to_contain_text("busy 116")
    expect(at).to_contain_text("the array multiplies, dense2")
    expect(page.locator("#array-caption")).to_contain_text("Weight words at 51 meet the activation word")
    page.click("#first")
    expect(at).to_contain_text("Cycle 1 of")
    expect(at).to_contain_text("no image is there")
    page.click("#forward")
    page.click("#forward")
    page.click("#back")
    expect(at).to_contain_text("Cycle 2 of")
    page.locator("#seek").focus()
    page.keyboard.press("ArrowRight")
    expect(at).to_contain_text("Cycle 3 of")
    page.select_option("#speed", "6000")
    page.click("#play")
    expect(page.locator("#play")).to_have_text("▶ Run")
    total = int(at.text_content().split(" of ")[1].split(":")[0])
    expect(at).to_contain_text(f"Cycle {total} of {total}")
    page.select_option("#speed", "4")
    page.click("#play")
    expect(at).to_contain_text("Cycle 2 of")
    page.click("#play")
    expect(page.locator("#play")).to_have_text("▶ Run")


@pytest.mark.campaign
def test_keyboard_alone(tab, site):
    page = tab().open(site)
    page.focus("#pad")
    page.keyboard.press("Delete")
    expect(page.locator("#answer")).to_have_text("…")
    for key in ["Shift+ArrowUp"] * 3 + ["Space"] + ["Shift+ArrowDown"] * 6 + ["Space"]:
        page.keyboard.press(key)
    expect(page.locator("#answer")).to_have_text("1")
    assert page.locator("#answer").get_attribute("aria-live") == "polite"


@pytest.mark.campaign
def test_a_finger_draws(tab, site):
    """Of the drawing, not of the page behind it: nothing scrolls under it."""
    page = tab(viewport={"width": 400, "height": 800}, has_touch=True, is_mobile=True).open(site)
    page.locator("#pad").scroll_into_view_if_needed()
    page.tap("#clear")
    expect(page.locator("#answer")).to_have_text("…")
    box = page.locator("#pad").bounding_box()
    session, before = page.context.new_cdp_session(page), page.evaluate("scrollY")
    down = [(box["x"] + box["width"] / 2, box["y"] + box["height"] * part) for part in (0.2, 0.4, 0.6, 0.8)]
    for kind, (x, y) in zip(("touchStart", "touchMove", "touchMove", "touchMove"), down, strict=True):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#answer")).to_have_text("1")
    assert page.evaluate("scrollY") == before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    some(
        [
            ("notes.txt", b"hello", "neither a picture nor a network of this page"),
            ("other.xnor", (8 + 2).to_bytes(8, "little") + b"{}" + bytes(8), "run “xnorcore web other.xnor”"),
            ("<img src=x onerror=alert(1)>", b"\xff\xfe", "<img src=x onerror=alert(1)> is neither"),
            (
                "my net.xnor",
                (8 + 2).to_bytes(8, "little") + b"{}" + bytes(8),
                "run “xnorcore web 'my net.xnor'”",
            ),
            (
                "broken.page.json",
                b'{"format": "xnorcore page network 2"}',
                "damaged: its end, with the checksum",
            ),
            (
                "less.page.json",
                sealed({"format": FORMAT}),
                "damaged: the file.name is missing",
            ),
            (
                "next.page.json",
                b'{"format": "xnorcore page network 3"}',
                f"this page takes “{FORMAT}”",
            ),
        ],
        1,
        many=True,
    ),
)
def test_what_is_no_network_is_refused_in_words(name, content, says, tab, site):
    page = tab().open(site)
    page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": content})
    expect(page.locator("#alert")).to_contain_text(says)
    assert page.locator("#alert *").count() == 0
    page.click("#sample")
    expect(page.locator("#truth")).to_contain_text("sample 2")
    expect(page.locator("#alert")).to_be_hidden()


@pytest.mark.campaign
def test_a_network_is_dropped_and_its_names_are_no_markup(tab, site):
    page = tab().open(site)
    content = bundle("mnist-sfc", CONFIG)
    content["name"] = "<b>mine</b>"
    content["output"]["classes"][0] = "<i>none</i>"
    page.evaluate(
        """(text) => { const data = new DataTransfer();
        data.items.add(new File([text], 'mine.page.json'));
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true })); }""",
        sealed(content).decode(),
    )
    expect(page.locator("#truth")).to_contain_text("sample 1: is")
    expect(page.locator("#network option").nth(1)).to_contain_text("<b>mine</b>")
    assert page.locator("b, i").count() == 0
    expect(page.locator("#bars .name").first).to_have_text("<i>none</i>")
    network, (images, _) = zoo.load("mnist-sfc"), zoo.test_images("mnist-sfc")
    shown = golden.run(network, images[:1])[0] * network.scale + network.offset
    values = page.locator("#bars .value").all_text_contents()
    texts = [float(text.replace(MINUS, "-").replace(",", "")) for text in values]
    assert np.allclose(texts, shown, atol=0.051)


@pytest.mark.campaign
def test_a_network_for_another_device_is_refused(tab, site):
    page = tab().open(site)
    content = bundle("digits", CONFIG)
    content["device"]["weight_depth"] = 512
    page.set_input_files("#file", {"name": "d.page.json", "mimeType": "", "buffer": sealed(content)})
    expect(page.locator("#alert")).to_contain_text("compiled for another device than this one of 1x32x32")
    expect(page.locator("#alert")).to_contain_text("(weight_depth differ)")
    assert page.locator("#network option").count() == 1


def test_a_picture_is_opened(tab, site):
    """Dark ink on light paper, somewhere on the sheet."""
    page = tab().open(site)
    png = page.evaluate(
        """(points) => { const c = document.createElement('canvas'); c.width = 300; c.height = 200;
        const g = c.getContext('2d'); g.fillStyle = '#f4efe6'; g.fillRect(0, 0, 300, 200);
        g.strokeStyle = '#222'; g.lineWidth = 16; g.lineCap = 'round'; g.beginPath();
        points.forEach(([x, y]) => g.lineTo(150 + 120 * (x - 0.5), 20 + 130 * y)); g.stroke();
        return c.toDataURL('image/png').split(',')[1]; }""",
        DRAWN[7][0],
    )
    import base64

    page.set_input_files(
        "#file", {"name": "seven.png", "mimeType": "image/png", "buffer": base64.b64decode(png)}
    )
    expect(page.locator("#answer")).to_have_text("7")
    assert scores(page) == golden.run(NETWORK, inputs(page)[np.newaxis])[0].tolist()


NO_WASM = "delete globalThis.WebAssembly"
NO_SERIAL = "delete Navigator.prototype.serial"
SERIAL = "Object.defineProperty(Navigator.prototype, 'serial', { value: {}, configurable: true })"


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("lacks", "alert", "note", "device"),
    [
        (
            (NO_WASM, SERIAL),
            "no WebAssembly, so the simulated device cannot run here; a board can.",
            "",
            "no device",
        ),
        (
            (NO_WASM, NO_SERIAL),
            "neither WebAssembly nor Web Serial, so this page has no device",
            "",
            "no device",
        ),
        (
            (NO_SERIAL,),
            "",
            "no Web Serial, or this page may not use it: a board needs",
            SIMULATED,
        ),
    ],
)
def test_what_the_browser_lacks_is_one_sentence(lacks, alert, note, device, tab, site):
    one = tab()
    for script in lacks:
        one.page.add_init_script(script)
    one.page.goto(site)
    expect(one.page.locator("#device-name")).to_have_text(device)
    shown = one.page.locator("#alert")
    if alert:
        expect(shown).to_contain_text(alert)
    else:
        expect(one.page.locator("#answer")).to_have_text("0")
        expect(shown).to_be_hidden()
    expect(one.page.locator("#serial-note")).to_contain_text(note) if note else None
    assert bool(one.page.text_content("#serial-note")) == bool(note)
    assert one.page.locator(".ready").count() == (device != "no device")


@pytest.mark.campaign
def test_without_scripts(tab, site):
    page = tab(java_script_enabled=False).page
    page.goto(site)
    expect(page.locator("noscript .alert")).to_contain_text("This page needs JavaScript")
    expect(page.locator("#device-name")).to_have_text("not running")


@pytest.mark.campaign
def test_a_clock_or_a_rate_of_nothing_is_told(tab, site):
    page = tab().open(site)
    rates = page.locator("#rates")
    expect(rates).to_contain_text("at 12 MHz, one after the other")
    for value in ("0", "", "-3"):
        page.fill("#clock", value)
        expect(rates).to_contain_text("need a clock of more than 0 MHz")
    page.fill("#clock", "24")
    expect(rates).to_contain_text("at 24 MHz")
    page.fill("#baud", "0")
    expect(rates).to_contain_text("needs a baud rate of more than 0")


@pytest.mark.campaign
def test_a_page_whose_device_has_no_clock(tab, files, tmp_path):
    text = files["index.html"].decode()
    assert text.count('"clockHz":12000000') == 1
    (tmp_path / "index.html").write_text(text.replace('"clockHz":12000000', '"clockHz":0'))
    page = tab().page
    page.goto((tmp_path / "index.html").as_uri())
    expect(page.locator("#alert")).to_contain_text("has a clock of 0 Hz: make this page again")
    expect(page.locator("#device-name")).to_have_text("no device")


@pytest.mark.campaign
def test_a_page_whose_network_is_damaged(tab, files, tmp_path):
    text = files["index.html"].decode()
    (tmp_path / "index.html").write_text(text.replace('"batch":1', '"batch":2'))
    page = tab().page
    page.goto((tmp_path / "index.html").as_uri())
    expect(page.locator("#alert")).to_contain_text("This network file is damaged: batch is 2, but must be 1")
    expect(page.locator("#device-name")).to_have_text("not running")


@pytest.mark.campaign
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(width, scheme, tab, site):
    from axe_playwright_python.sync_playwright import Axe

    page = tab(viewport={"width": width, "height": 900}, color_scheme=scheme).open(site)
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "", "buffer": b"x"})
    expect(page.locator("#alert")).to_be_visible()
    found = Axe().run(page)
    assert len(found.response["passes"]) > 20
    serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [node["target"] for node in v["nodes"]]) for v in serious] == []
    # Nothing hangs over the side.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
