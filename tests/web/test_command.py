"""The command ``web``: its folder, its server, its page, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.sw.cli_tools import one_object, runner, spawn
from xnorcore import Dense, InputSpec, Network, xnorfile
from xnorcore_hw.web import page as pages
from xnorcore_hw.web.serve import Server

run = pytest.fixture(runner)


def small(path: Path, name: str = "mine", width: int = 12, **metadata) -> str:
    """A network of one's own: no samples, no rule for pixels."""
    rng = np.random.default_rng(1)
    layers = [
        Dense(rng.choice([-1, 1], (8, width)), rng.integers(-2, 3, 8)),
        Dense(rng.choice([-1, 1], (3, 8))),
    ]
    xnorfile.save(Network(name, InputSpec((width,), bits=2), layers, metadata=metadata), path)
    return str(path)


def test_folder(run, wasm, tmp_path):
    own = small(tmp_path / "own.xnor", "../no </script><b>path", classes=["<i>", "b", "c"])
    code, out, _ = run("web", "digits", own, "--no-serve", "-o", tmp_path / "out", "--json")
    value = one_object(out)
    assert (code, value["url"], value["networks"]) == (0, None, ["digits", "../no </script><b>path"])
    found = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert found == value["files"]
    assert set(found) == {"index.html", "device.wasm", "digits.page.json", "no-script-b-path.page.json",
                          "digits.xnor", "no-script-b-path.xnor"}  # fmt: skip
    assert (tmp_path / "out/no-script-b-path.xnor").read_bytes() == Path(own).read_bytes()
    assert (tmp_path / "out/device.wasm").read_bytes() == wasm.read_bytes() and found["device.wasm"] < 100_000
    text = (tmp_path / "out/index.html").read_text()
    assert "</script><b>" not in text and "../no \\u003c/script>" in text
    assert "own.xnor" in text and str(tmp_path) not in text


def test_the_policy_lets_in_what_is_in_the_page_and_nothing_else(files):
    text = files["index.html"].decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    rules = dict(rule.split(" ", 1) for rule in policy[1].replace("&#x27;", "'").split("; "))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    sums = [
        f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'"
        for part in scripts + styles
    ]
    assert len(sums) == 2 and rules["script-src"] == f"{sums[0]} 'wasm-unsafe-eval'"
    assert rules["style-src"] == sums[1] and rules["default-src"] == "'none'"
    assert not re.search(
        r"\son\w+=|style=|https?://|url\(", text.split("<script")[0].replace("http-equiv", "")
    )


def test_what_cannot_be_joined_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "STATIC", tmp_path)
    (tmp_path / "app.js").write_text('import { a } from "./a.js";\na();\n')
    (tmp_path / "a.js").write_text("export function a() {}\n")
    assert "const { a } = $a;" in pages.script() and pages.script().index("$a = ") < pages.script().index(
        "$app = "
    )
    (tmp_path / "a.js").write_text('import { b } from "./app.js";\nexport function a() {}\n')
    with pytest.raises(ValueError, match="import each other: app, a, app"):
        pages.script()
    (tmp_path / "a.js").write_text("export default 1;\n")
    with pytest.raises(ValueError, match="export default 1;"):
        pages.script()


def test_it_is_served_until_ctrl_c(wasm, tmp_path):
    server = spawn("web", "digits", "--port", "0", "-o", tmp_path / "out", "--json")
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == (tmp_path / "out/index.html").read_bytes()
            assert answer.headers["Content-Type"].startswith("text/html")
        with urllib.request.urlopen(f"{url}device.wasm") as answer:
            assert answer.headers["Content-Type"] == "application/wasm"
        for path in ("../index.html", "..%2findex.html", "etc/passwd", "out"):
            with pytest.raises(urllib.error.HTTPError, match="404") as refusal:
                urllib.request.urlopen(f"{url}{path}")
            refusal.value.close()
        assert url.startswith("http://127.0.0.1:")
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
        _, err = server.communicate()
        assert "stopped" in err and "Traceback" not in err
    finally:
        server.kill()
        server.communicate()


def test_a_port_that_is_taken(run, wasm, tmp_path):
    with Server({}, 0) as server:
        port = server.server_address[1]
        code, out, err = run("web", "digits", "--port", port, "-o", tmp_path / "out")
    assert (code, out) == (2, "") and not (tmp_path / "out").exists()
    assert f"cannot listen on port {port} of 127.0.0.1" in err and "choose another --port" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["digts"], 'did you mean "digits"?'),
        (["digits", "digits"], "a network is named twice: digits digits"),
        (["--port", "65536"], "65536"),
        (["mnist-lfc", "--set", "weight_depth=512"], "passes on this device"),
        (["fashion", "--set", "line_bytes=0"], "line"),
    ],
)
def test_what_is_refused(argv, says, run, tmp_path):
    code, out, err = run("web", *argv, "--no-serve", "-o", tmp_path / "out")
    assert (code, out) == (2, "") and says in err and not (tmp_path / "out").exists()


def test_the_clock_of_a_board(run, wasm, tmp_path, monkeypatch, lean_board):
    """Its own, unless another one is asked for; the device is not built here."""
    from xnorcore_hw.web import wasm as room

    asked = []
    monkeypatch.setattr(
        room, "device_wasm", lambda config, hz, say: asked.append((str(config.geometry), hz)) or wasm
    )
    for more in ([], ["--clock-hz", 12_500_000]):
        code, out, _ = run(
            "web", "mnist-tfc", "--board", "icebreaker", *more, "--no-serve", "-o", tmp_path / "out", "--json"
        )
        assert code == 0 and one_object(out)["clock_hz"] == asked[-1][1]
        assert f'"clockHz":{asked[-1][1]},' in (tmp_path / "out/index.html").read_text()
    assert asked == [("3x8x32", lean_board.true_hz), ("3x8x32", 12_500_000)]
    assert "--board icebreaker --clock-hz 12500000" in (tmp_path / "out/index.html").read_text()


def test_a_board_without_a_clock(run, tmp_path, monkeypatch):
    monkeypatch.setattr("xnorcore_hw.web.command.user_device", lambda *_: SimpleNamespace(clock_hz=0))
    code, _, err = run("web", "mnist-tfc", "--board", "icebreaker", "--no-serve", "-o", tmp_path / "out")
    assert code == 2 and "board 'icebreaker' says no clock (0 Hz): give --clock-hz N" in err
    assert not (tmp_path / "out").exists()


def test_without_the_compiler(run, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ziglang", None)
    code, _, err = run("web", "digits", "--no-serve", "-o", tmp_path / "out")
    assert code == 2 and "compiles the device with ziglang" in err and 'install "ziglang' in err
    assert not (tmp_path / "out").exists()
