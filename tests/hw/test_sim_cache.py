"""The simulator cache: what is damaged or not ours is never loaded, and nothing is left lying about."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xnorcore.errors import EngineError
from xnorcore.files.cache import cache_directory
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.sim import cache, native, workplace
from xnorcore_hw.sim.compiled import CompiledEngine

DATA = bytes(range(256)) * 40
NAME = "sim-1x1x1-0123.so"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XNORCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builds:
    """Counts builds, and what was said."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data, self.count = data, 0
        self.said: list[str] = []

    def build(self, folder: Path) -> Path:
        self.count += 1
        (folder / "made").write_bytes(self.data)
        os.chmod(folder / "made", 0o775)  # noqa: PTH101
        return folder / "made"

    def get(self) -> Path:
        return cache.cached(NAME, self.build, self.said.append)


def test_a_second_call_builds_nothing(folder: Path) -> None:
    builds = Builds()
    path = builds.get()
    assert builds.get() == path and builds.count == 1 and not builds.said
    assert path.parent == folder and path.read_bytes() == DATA and list(folder.iterdir()) == [path]
    assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        make(path)

    return change


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit": (_flip, "is damaged"),
    "truncated": (lambda path: os.truncate(path, 4096), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "zeros, as after a power cut": (lambda path: path.write_bytes(bytes(len(DATA))), "is damaged"),
    "longer": (lambda path: path.write_bytes(DATA + b"\0"), "is damaged"),
    "writable by the group": (lambda path: path.chmod(0o775), "can be written by other users"),
    "writable by everybody": (lambda path: path.chmod(0o757), "can be written by other users"),
    "a link": (_replaced(lambda path: path.symlink_to("/dev/zero")), "is no regular file"),
    "a pipe": (_replaced(os.mkfifo), "is no regular file"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_not_as_it_was_built_is_built_again(folder: Path, kind: str) -> None:
    builds = Builds()
    path = builds.get()
    damage, reason = DAMAGE[kind]
    damage(path)
    assert builds.get() == path and builds.count == 2
    assert builds.said == [f"simulator {path.name} in the cache {reason}: building it again"]
    assert path.read_bytes() == DATA and list(folder.iterdir()) == [path]
    assert builds.get() == path and builds.count == 2


def test_a_file_of_another_user_is_not_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds()
    path = builds.get()
    real, owners = Path.lstat, [12345, 0]

    def lstat(self: Path) -> os.stat_result:
        status = real(self)
        if self != path or not owners:
            return status
        return os.stat_result([*status[:4], owners.pop(0), *status[5:]])

    monkeypatch.setattr(Path, "lstat", lstat)
    # The second owner is root, of whom everybody takes files.
    assert builds.get() == path and builds.count == 2 and not owners
    assert builds.said == [f"simulator {path.name} in the cache belongs to another user: building it again"]
    owners[:] = [12345, 12345]
    with pytest.raises(EngineError, match="just built there belongs to another user; set XNORCORE_CACHE"):
        builds.get()


def test_a_folder_that_cannot_keep_files_from_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without modes: building again and again would help nobody."""
    monkeypatch.setattr(Path, "chmod", lambda self, mode: None)
    with pytest.raises(
        EngineError, match="just built there can be written by other users; set XNORCORE_CACHE"
    ):
        Builds().get()


def test_two_builds_that_differ_are_both_right(folder: Path) -> None:
    one, two = Builds(b"one"), Builds(b"two")
    first = one.get()
    moved = first.rename(folder / "away")
    second = two.get()
    moved.rename(first)
    first, second = sorted([first, second])
    assert Builds().get() == first != second
    first.write_bytes(b"damaged")
    assert Builds().get() == second and not first.exists()


def test_a_file_that_goes_while_it_is_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds()
    path = builds.get()
    monkeypatch.setattr(cache, "_candidates", lambda *_: [folder / "gone", path])
    assert builds.get() == path and builds.count == 1


def test_synchronised_before_the_rename(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    Builds().get()
    assert done == ["file", "rename", "folder"]


# Builds at the same time

AT_ONCE = f"""
import sys, time
from pathlib import Path
from xnorcore_hw.sim import cache
def build(folder):
    print("builds", flush=True)
    sys.stdin.readline()
    (folder / "made").write_bytes(b"ours")
    return folder / "made"
print(cache.cached("{NAME}", build, lambda text: print(text, flush=True)).name)
"""


def at_once(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", AT_ONCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("killed", [False, True])
def test_one_process_builds_and_the_others_wait(folder: Path, killed: bool) -> None:
    first = at_once(folder)
    second = None
    try:
        assert said(first) == "builds"
        second = at_once(folder)
        assert said(second) == f"waiting for another process that builds {NAME}"
        if killed:
            first.kill()
            assert said(second) == "builds"
            out, _ = second.communicate("\n", timeout=60)
        else:
            name = first.communicate("\n", timeout=60)[0].strip()
            out, _ = second.communicate("\n", timeout=60)
            assert out.strip() == name
        assert second.returncode == 0 and out.strip() in {path.name for path in folder.iterdir()}
        workplace.clear_abandoned(folder)
        assert [path.name for path in folder.iterdir()] == [out.strip()]
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.communicate()


def test_a_lock_whose_file_is_gone_is_asked_for_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for it has the lock of a file that somebody else, who comes now, cannot see."""
    folder.mkdir()
    path, tries = folder / "lock", []
    assert workplace.fcntl is not None
    lock = workplace.fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        lock(descriptor, how)
        tries.append(how)
        if len(tries) == 1:
            path.unlink()

    monkeypatch.setattr(workplace.fcntl, "flock", flock)
    with workplace.alone(path, lambda: None):
        assert path.exists() and len(tries) == 2
    assert not path.exists()


def test_without_locks_builds_are_not_held_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    assert workplace.fcntl is not None
    monkeypatch.setattr(workplace.fcntl, "flock", refuse)
    builds = Builds()
    assert builds.get().read_bytes() == DATA and builds.count == 1


# What dead processes left

BUILDER = """
import sys, time
from pathlib import Path
from xnorcore_hw.sim.workplace import workplace
with workplace(Path(sys.argv[1])) as folder:
    (folder / "a").mkdir()
    (folder / "a" / "b").write_text("x")
    print(folder.name, flush=True)
    time.sleep(60)
"""


def start(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that is building."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, folder / process.stdout.readline().strip()


def test_leftovers_of_dead_processes_are_cleared(folder: Path) -> None:
    folder.mkdir()
    living, its = start(folder)
    dead, left = start(folder)
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait(30)
        assert its.is_dir() and (left / "a" / "b").is_file()
        (folder / ".build-file").write_text("no folder")
        (folder / ".build-link").symlink_to(its)
        with workplace.workplace(folder) as ours:
            Builds().get()
            assert ours.is_dir()
        assert its.is_dir() and (its / "a" / "b").is_file() and not left.exists() and not ours.exists()
        living.terminate()
        living.wait(30)
        assert (folder / ".build-link").is_symlink() and (folder / ".build-file").is_file()
        workplace.clear_abandoned(folder)
        assert not its.exists()
    finally:
        for process in (living, dead):
            process.kill()
            process.wait(30)
            assert process.stdout
            process.stdout.close()


def test_a_folder_that_is_cleared_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    lock, taken = workplace._lock, []

    def quicker(path: Path) -> int | None:
        if len(taken) < 3:
            taken.append(path)
            path.rmdir()
            if len(taken) == 2:
                raise FileNotFoundError(path)
            if len(taken) == 3:
                return os.open(folder, os.O_RDONLY)
            return None
        return lock(path)

    monkeypatch.setattr(workplace, "_lock", quicker)
    with workplace.workplace(folder) as made:
        assert made.is_dir() and made not in taken
    assert len(taken) == 3 and not list(folder.iterdir())


def test_file_systems_without_locks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "No locks available")

    folder.mkdir()
    (folder / ".build-old").mkdir()
    monkeypatch.setattr(workplace.fcntl, "flock", refuse)
    assert Builds().get().read_bytes() == DATA
    assert (folder / ".build-old").is_dir()  # nobody knows whose it is


# The folder


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XNORCORE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(EngineError, match=r"no folder for the simulator cache .*; set XNORCORE_CACHE"):
        cache_directory()
    monkeypatch.setenv("XNORCORE_CACHE", "~nosuchuser/cache")
    with pytest.raises(EngineError, match="set XNORCORE_CACHE"):
        cache_directory()


@pytest.mark.parametrize("name", [".", "cache", "a/b"])
def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XNORCORE_CACHE", name)
    path = Builds().get()
    assert path.is_absolute() and path.parent == (tmp_path / name)


# A real simulator


@pytest.mark.campaign
def test_a_damaged_simulator_runs_again(folder: Path) -> None:
    """Truncated in the middle of its code, it would end the process by a signal, without a word."""
    config = DeviceConfig(Geometry(1, 4, 8), act_depth=64, weight_depth=64)
    said: list[str] = []
    with CompiledEngine(config, 12_000_000, progress=said.append) as engine:
        engine.run(10)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    # A new file, for this process has the old one mapped.
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    path.chmod(0o755)
    script = (
        "from xnorcore_hw.sim.compiled import CompiledEngine\n"
        "from xnorcore.isa.device import DeviceConfig, Geometry\n"
        "config = DeviceConfig(Geometry(1, 4, 8), act_depth=64, weight_depth=64)\n"
        "with CompiledEngine(config, 12_000_000, progress=print) as engine: print(engine.run(10))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"simulator {path.name} in the cache is damaged: building it again"
    assert lines[-1] == "b''" and any("built in" in line for line in lines)


def test_a_library_of_another_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    builds = Builds(b"for another machine")
    real, loads = ctypes.CDLL, []

    def load(path: str) -> object:
        loads.append(Path(path).read_bytes())
        if len(loads) == 2:
            raise AttributeError("xc_open")
        return real(path)

    monkeypatch.setattr(native.ctypes, "CDLL", load)
    with pytest.raises(EngineError, match="cannot load the compiled simulator "):
        native.NativeEngine(builds.get, "direct", 4, said.append)
    assert builds.count == 2 and len(loads) == 2
    assert len(said) == 1 and said[0].endswith(" in the cache cannot be loaded here: building it again")
