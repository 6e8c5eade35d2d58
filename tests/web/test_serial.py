"""A board behind Web Serial: a port of the test's own, whose bytes go to ``xnorcore serve-sim`` and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns import some
from xnorcore import zoo
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import COUNTERS
from xnorcore.isa.protocol import Command, DeviceInfo, Status
from xnorcore.link.frames import Splitter, decode_request, encode_response
from xnorcore.reference import golden
from xnorcore.runtime.interpreted import InterpretedDevice

from .test_browser import BOARD, SIMULATED, draw, expect, inputs, scores

PORT = Path(__file__).with_name("fake_serial.js").read_text()
SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.82)]]


class Bridge:
    """The far end of the page's port."""

    def __init__(self, write: Callable[[bytes], Any], read: Callable[[], bytes | None]) -> None:
        self.wrote, self.read, self.write = 0, read, write
        self.plugged = True
        self.lasts: int | None = None  # bytes from the page, after which it is unplugged

    def attach(self, page: Any) -> None:
        page.expose_function("pageWrote", self._take)
        page.expose_function("pageReads", self._give)
        page.add_init_script(PORT)

    def _take(self, data: list[int]) -> None:
        self.wrote += len(data)
        self.plugged = self.plugged and (self.lasts is None or self.wrote <= self.lasts)
        if self.plugged:
            self.write(bytes(data))

    def _give(self) -> list[int] | None:
        if not self.plugged:
            return None
        data = self.read()
        return None if data is None else list(data)


@pytest.fixture(scope="module")
def served() -> Iterator[Bridge]:
    """A simulated device as other programs see it."""
    command = [sys.executable, "-m", "xnorcore", "serve-sim", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = os.open(json.loads(server.stdout.readline())["path"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(port)

        def write(data: bytes) -> None:
            while data:
                try:
                    data = data[os.write(port, data) :]
                except BlockingIOError:
                    continue

        def read() -> bytes:
            try:
                return os.read(port, 65536)
            except BlockingIOError:
                return b""

        yield Bridge(write, read)
        os.close(port)
    finally:
        server.terminate()
        server.communicate(timeout=30)


def answering(info: bytes) -> Bridge:
    """A device that answers INFO with this."""
    splitter, out = Splitter(), bytearray()

    def write(data: bytes) -> None:
        for frame in splitter.feed(data):
            request = decode_request(frame)
            if request and request[0] == 1:
                out.extend(encode_response(1, request[1], info))

    def read() -> bytes:
        data = bytes(out)
        out.clear()
        return data

    return Bridge(write, read)


@pytest.mark.campaign
def test_a_board_is_driven_and_unplugged(tab, site, served):
    one = tab()
    served.attach(one.page)
    page = one.open(site)
    assert page.text_content("#device-name") == SIMULATED
    page.click("#board")
    expect(page.locator("#device-name")).to_have_text(BOARD)
    assert page.evaluate("window.shownPort.opened.baudRate") == 3_000_000
    assert page.get_attribute("#board", "aria-pressed") == "true" and served.wrote > 9_000
    expect(page.locator("#cost")).to_contain_text("ms of the board; the simulation says the same")
    draw(page, SEVEN)
    expect(page.locator("#answer")).to_have_text("7")
    expect(page.locator("#cost")).to_contain_text("of the board")
    network = zoo.load("digits")
    page.wait_for_timeout(300)
    assert scores(page) == golden.run(network, inputs(page)[None])[0].tolist()
    page.click("#all")
    expect(page.locator("#all-result")).to_contain_text("196 of 200 right")
    served.plugged = False
    # Nobody has to ask it for anything; what the board said does not stay.
    expect(page.locator("#alert")).to_contain_text("The board is gone: it was unplugged")
    expect(page.locator("#device-name")).to_have_text(SIMULATED)
    expect(page.locator("#cost")).to_have_text("")
    expect(page.locator("#all-result")).to_have_text("")
    page.click("#sample")
    expect(page.locator("#truth")).to_contain_text("sample")
    expect(page.locator("#alert")).to_be_hidden()
    served.plugged = True


class Counting(InterpretedDevice):
    """With counters, as the page's device has them; they count nothing."""

    def _execute(self, command: int, payload: bytes) -> tuple[bytes, Status]:
        if command == Command.COUNTERS:
            return bytes(4 * len(COUNTERS)), Status.OK
        return super()._execute(command, payload)


def interpreted() -> Bridge:
    """The interpreter of programs in place of a board; its INFO says 0 Hz."""
    device = Counting(DeviceConfig())
    device.config = DeviceConfig()
    return Bridge(device.write, lambda: device.read(0))


@pytest.mark.campaign
def test_a_board_is_unplugged_in_the_middle(tab, site):
    """While it is loaded, and while it runs all samples: no progress stays behind."""
    one, bridge = tab(), interpreted()
    bridge.attach(one.page)
    page = one.open(site)
    expect(page.locator("#cost")).to_contain_text("of this page")
    for start, bytes_to_go in (("#board", 4000), ("#all", 3000)):
        bridge.lasts = bridge.wrote + bytes_to_go
        page.click(start)
        expect(page.locator("#alert")).to_be_visible()
        expect(page.locator("#alert")).to_contain_text("The board is gone: it was unplugged")
        expect(page.locator("#device-name")).to_have_text(SIMULATED)
        assert not bridge.plugged
        for place in ("#cost", "#all-result"):
            expect(page.locator(place)).to_have_text("")
        bridge.lasts, bridge.plugged = None, True
        page.click("#board")
        expect(page.locator("#device-name")).to_have_text(BOARD)
        expect(page.locator("#cost")).to_contain_text("of the board")


@pytest.mark.campaign
def test_a_board_that_does_not_know_its_clock(tab, site):
    one = tab()
    interpreted().attach(one.page)
    page = one.open(site)
    page.click("#board")
    expect(page.locator("#device-name")).to_have_text(BOARD)
    expect(page.locator("#facts")).to_contain_text("the device does not say it (0 Hz)")
    expect(page.locator("#rates")).to_contain_text("at 12 MHz, one after the other")


@pytest.mark.campaign
def test_a_baud_rate_that_is_none(tab, site):
    one = tab()
    one.page.add_init_script(PORT)
    page = one.open(site)
    page.fill("#baud", "")
    page.click("#board")
    expect(page.locator("#alert")).to_contain_text("0 is no baud rate: give the board's, 300 to 20,000,000.")


@pytest.mark.campaign
def test_a_board_is_left_and_taken_again(tab, site, served):
    one = tab()
    served.attach(one.page)
    page = one.open(site)
    for _ in range(2):
        page.click("#board")
        expect(page.locator("#device-name")).to_have_text(BOARD)
        page.click("#simulated")
        expect(page.locator("#device-name")).to_have_text(SIMULATED)
        assert page.evaluate("window.shownPort.opened") is None
    page.evaluate("window.noPort = true")
    page.click("#board")
    page.click("#sample")
    expect(page.locator("#truth")).to_contain_text("sample 2")
    expect(page.locator("#alert")).to_be_hidden()


@pytest.mark.parametrize(
    ("at", "value", "says"),
    some(
        [
            (0, 0, "What answers there is not an xnorcore accelerator."),
            (
                4,
                1,
                "The device speaks protocol version 1, and this page speaks version 5; its bitstream is "
                "older",
            ),
            (7, 16, "digits is compiled for another device than this one of 1x16x32 (columns differ)"),
        ],
        1,
        many=True,
    ),
)
def test_another_device_is_refused_in_words(at, value, says, tab, site):
    info = bytearray(DeviceInfo(DeviceConfig()).pack())
    info[at] = value
    one = tab()
    answering(bytes(info)).attach(one.page)
    page = one.open(site)
    page.click("#board")
    expect(page.locator("#alert")).to_contain_text(says)
    assert page.text_content("#device-name") == SIMULATED
    assert page.evaluate("window.shownPort.opened") is None


@pytest.mark.campaign
def test_a_board_without_web_assembly(tab, site, served):
    one = tab()
    one.page.add_init_script("delete globalThis.WebAssembly")
    served.attach(one.page)
    page = one.page
    page.goto(site)
    expect(page.locator("#alert")).to_contain_text("This browser has no WebAssembly")
    page.click("#sample")
    expect(page.locator("#alert")).to_contain_text("There is no device that could run this")
    page.click("#board")
    expect(page.locator("#device-name")).to_have_text(BOARD)
    expect(page.locator("#answer")).to_have_text("0")
    expect(page.locator("#alert")).to_be_hidden()
    page.click("#simulated")
    expect(page.locator("#alert")).to_contain_text("There is no device")


@pytest.mark.campaign
def test_a_browser_without_web_serial(tab, site):
    one = tab()
    one.page.add_init_script("delete Navigator.prototype.serial")
    page = one.open(site)
    expect(page.locator("#serial-note")).to_contain_text("This browser has no Web Serial")
    page.click("#board")
    expect(page.locator("#alert")).to_contain_text("This browser has no Web Serial")
