"""One device, its networks and one browser for all tests of the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from xnorcore.isa.device import DeviceConfig
from xnorcore_hw.web.bundle import bundle, sealed
from xnorcore_hw.web.command import contents
from xnorcore_hw.web.serve import Server
from xnorcore_hw.web.wasm import device_wasm

CONFIG, CLOCK_HZ = DeviceConfig(), 12_000_000
# As root, and on machines without a network; nothing here goes out.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def wasm() -> Path:
    return device_wasm(CONFIG, CLOCK_HZ)


@pytest.fixture(scope="session")
def network_file(tmp_path_factory) -> Callable[[str], str]:
    """Write a packaged network as the page takes it; return the path."""
    folder = tmp_path_factory.mktemp("networks")

    def write(name: str) -> str:
        path = folder / f"{name}.page.json"
        if not path.exists():
            path.write_bytes(sealed(bundle(name, CONFIG)))
        return str(path)

    return write


@pytest.fixture(scope="session")
def files(wasm) -> dict[str, bytes]:
    """The folder of ``xnorcore web digits``."""
    return contents([bundle("digits", CONFIG)], CONFIG, CLOCK_HZ, wasm.read_bytes(), "xnorcore web digits")


@pytest.fixture(scope="session")
def site(files) -> Iterator[str]:
    """The address of that folder."""
    with Server(files, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)  # on a machine with other work
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=needs.browser(), args=FLAGS)
        yield browser
        browser.close()


class Tab:
    """A page, what it asked for, and what went wrong in it."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.errors.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, url: str) -> Any:
        """Open the page and wait for its first answer."""
        from playwright.sync_api import expect

        self.page.goto(url)
        expect(self.page.locator("#answer")).not_to_have_text("…")
        return self.page


@pytest.fixture
def tab(chromium) -> Iterator[Callable[..., Tab]]:
    """Open tabs; at the end, none may have said anything on its console."""
    tabs: list[Tab] = []

    def new(**options: Any) -> Tab:
        tabs.append(Tab(chromium, **options))
        return tabs[-1]

    yield new
    for one in tabs:
        one.context.close()
    assert [error for one in tabs for error in one.errors] == []
