"""The wheel, as somebody has it who has no clone: built, installed into an environment of its own, used."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from .sw.cli_tools import SMALL

ROOT = Path(__file__).parents[1]
PACKAGES = ("sw/xnorcore", "hw/xnorcore_hw", "boards/xnorcore_boards")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def shell(wheel, tmp_path_factory):
    """Run a command line of the installed wheel in a folder that is no clone."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--no-index", str(wheel)], check=True)
    # What it depends on is here already; its own folder comes first, and nothing of it can come from there.
    site = next((folder / "venv" / "lib").glob("*/site-packages"))
    here = [entry for entry in sys.path if entry.endswith("-packages")]
    (site / "dependencies.pth").write_text("\n".join(here))
    (folder / "elsewhere").mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(python), *arguments], cwd=folder / "elsewhere", env=clean, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    names = ("xnorcore", "xnorcore_hw", "xnorcore_boards")
    places = f"import {', '.join(names)}; print({', '.join(f'{name}.__file__' for name in names)})"
    assert all(Path(place).is_relative_to(site) for place in run("-c", places).split())
    return run


def test_all_of_the_packages_is_in_it(wheel):
    there = {
        f"{Path(package).name}/{path.relative_to(ROOT / package).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert there == {name for name in names if ".dist-info/" not in name}
    for kind in (".cc", ".h", ".v", ".js", ".css", ".html", ".toml", ".xnor", ".npz", "py.typed"):
        assert any(name.endswith(kind) for name in names), kind


def test_the_installed_command(shell, tmp_path):
    script = "import sys; print(sys.prefix)"
    command = Path(shell("-c", script).strip()) / "bin" / "xnorcore"
    assert shell(str(command), "--version").startswith("xnorcore ")


def test_every_command_is_found(shell):
    out = shell("-m", "xnorcore", "--help")
    assert all(name in out for name in ("demo", "bench", "export-verilog", "web", "build", "program"))


@pytest.mark.campaign
def test_demo(shell):
    """The packaged network, on gateware that is compiled from the wheel's own files."""
    out = shell(
        "-m", "xnorcore", "demo", "--count", "4", *SMALL, "--set", "weight_depth=2048", "--link", "direct"
    )
    assert "mismatches         0 of 40" in out


@pytest.mark.campaign
def test_pages(shell):
    """A page with its style, and the sources of the page with the machine in it."""
    shell("-m", "xnorcore", "report", "mnist-tfc", "--board", "icebreaker", "--no-sim", "-o", "page.html")
    page = shell("-c", "print(open('page.html').read())")
    assert "<style>" in page and "mnist-tfc" in page
    shell(
        "-c",
        "from importlib.resources import files; web = files('xnorcore_hw') / 'web';"
        "assert (web / 'static' / 'app.js').is_file() and (web / 'device.cc').is_file()",
    )  # fmt: skip


def test_gateware_and_boards(shell):
    shell("-c", "import xnorcore_boards.board as b; assert 'icebreaker' in b.configurations()")
    assert "icebreaker" in shell("-m", "xnorcore", "plan", "digits")


@pytest.fixture(scope="module")
def small(wheel, tmp_path_factory):
    """Run Python where only the wheel is, and what docs/command-line.md says that a small host needs."""
    folder = tmp_path_factory.mktemp("small")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    site = next((folder / "venv" / "lib").glob("*/site-packages"))
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--no-index", str(wheel)], check=True)
    # The packages that stand behind `pip install` there, linked from where they are here.
    text = (ROOT / "docs" / "command-line.md").read_text()
    found = re.search(r"^    pip install ((?:[a-z]+ ?)+) && pip install --no-deps ", text, re.MULTILINE)
    assert found
    modules: dict[str, str] = {"pyserial": "serial"}
    for name in found.group(1).split():
        spec = importlib.util.find_spec(modules.get(name) or name)
        assert spec is not None and spec.origin is not None, name
        here = Path(spec.origin).parent
        for part in (here, here.with_name(f"{here.name}.libs")):
            if part.exists():
                (site / part.name).symlink_to(part)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), *arguments], cwd=folder, env=clean, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.campaign
def test_a_driver_without_amaranth(small):
    """On a Raspberry Pi: what talks to a board, and what compares with the models."""
    missing = small("-c", "import amaranth")
    assert missing.returncode and "No module named 'amaranth'" in missing.stderr
    for arguments in (
        ("--help",),
        ("devices", "--list"),
        ("zoo",),
        ("sample", "digits", "-o", "in.npy", "--count", "8"),
        ("golden", "digits", "in.npy", "-o", "golden.npy"),
        ("run", "digits", "in.npy", "--port", "machine:", "-o", "out.npy", "--check"),
    ):
        done = small("-m", "xnorcore", *arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    small("-c", "import numpy; assert (numpy.load('out.npy') == numpy.load('golden.npy')).all()")
    used = small("-c", USE_OF_THE_DRIVER)
    assert used.returncode == 0, used.stderr
    absent = small("-m", "xnorcore", "run", "digits", "in.npy", "--port", "/dev/nothing", "-o", "out.npy")
    assert absent.returncode == 2 and "Traceback" not in absent.stderr
    for arguments in (
        ("run", "digits", "in.npy", "--port", "sim:", "-o", "out.npy"),
        ("export-verilog", "-o", "core"),
        ("demo",),
    ):
        done = small("-m", "xnorcore", *arguments)
        assert done.returncode == 2, done.stderr
        assert "xnorcore: error: this needs amaranth, which is not installed; run: " in done.stderr


USE_OF_THE_DRIVER = """
import numpy as np
from xnorcore import zoo
from xnorcore.runtime.accelerator import Accelerator
with Accelerator.open("machine:") as device:
    device.load(zoo.load("digits"))
    scores = device.infer(np.load("in.npy"))
assert (scores == np.load("golden.npy")).all()
"""
