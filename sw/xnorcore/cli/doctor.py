"""The command ``doctor``: what is installed, what is missing, and what mends it."""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata

from .. import __version__
from ..errors import XnorcoreError
from ..extras import package, pip_install, requirements
from .console import Console, table
from .options import Parser
from .phases import Phases

GROUP = "xnorcore.checks"
"""Entry-point group of further checks; each entry is called without arguments and returns `Check` objects."""

PREPARATIONS = "xnorcore.preparations"
"""Entry-point group of what ``--warm`` does; called without arguments, an entry returns `Preparation`s."""

_PYTHON = (3, 11)


@dataclass(frozen=True)
class Preparation:
    """Something that would otherwise be done when it is first needed, and take its time then.

    Attributes
    ----------
    name : str
    done : bool
    run : callable
        Does it; its argument takes lines about what it waits for.
    """

    name: str
    done: bool
    run: Callable[[Callable[[str], None]], object]


@dataclass(frozen=True)
class Check:
    """One thing that doctor looked at.

    Attributes
    ----------
    name : str
    found : str
        What there is; empty if there is nothing.
    ok : bool
        Whether it serves.
    needed : bool
        Whether the demo needs it.
    use : str
        What it is for.
    fix : str
        Command or advice that mends it; empty if nothing is broken.
    """

    name: str
    found: str
    ok: bool = True
    needed: bool = False
    use: str = ""
    fix: str = ""

    @property
    def status(self) -> str:
        """``ok``, ``MISSING`` (needed by the demo) or ``absent`` (optional)."""
        return "ok" if self.ok else "MISSING" if self.needed else "absent"


def add_doctor(parser: Parser) -> None:
    """Add the arguments of ``doctor``."""
    parser.set_defaults(call=_doctor)
    parser.add_argument(
        "--warm", action="store_true", help="compile now what compiles itself at its first start"
    )


def _doctor(arguments: argparse.Namespace, console: Console) -> int:
    warmed = _warm(console) if arguments.warm else []
    checks = [_python(), *_packages(), _networks(), _ports()]
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            checks += entry.load()()
        except (ImportError, XnorcoreError) as error:
            checks.append(Check(entry.name, "", ok=False, needed=True, use="checks", fix=str(error)))
    ready = all(check.ok for check in checks if check.needed)
    rows = [(check.status, check.name, check.use, check.found or "-") for check in checks]
    lines = table(rows, ("", "what", "for", "found"))
    for title, needed in (("to mend:", True), ("to add, if wanted:", False)):
        absent = [check for check in checks if not check.ok and check.needed == needed]
        if absent:
            lines += ["", title, *(f"  {check.name}: {check.fix}" for check in absent)]
    verdict = "the demo can run: xnorcore demo" if ready else "the demo cannot run yet"
    listed = [asdict(check) | {"status": check.status} for check in checks]
    value = {"command": "doctor", "ready": ready, "checks": listed}
    if arguments.warm:
        value["warmed"] = warmed
    console.result(value, [*lines, "", verdict])
    return 0 if ready else 1


def _warm(console: Console) -> list[str]:
    """Do what is not done yet, and return the names of it."""
    entries = sorted(metadata.entry_points(group=PREPARATIONS), key=lambda entry: entry.name)
    waiting = [step for entry in entries for step in entry.load()() if not step.done]
    phases = Phases(console)
    for index, step in enumerate(waiting, 1):
        with phases.phase(f"compiling {step.name}, {index} of {len(waiting)}"):
            step.run(phases.say)
    return [step.name for step in waiting]


def _python() -> Check:
    found = f"{platform.python_version()} ({platform.python_implementation()}, {platform.machine()})"
    ok = sys.version_info >= _PYTHON
    wanted = ".".join(map(str, _PYTHON))
    return Check(
        "python", found, ok, True, f"xnorcore {__version__}", "" if ok else f"use Python {wanted} or newer"
    )


def _packages() -> list[Check]:
    """Every package that xnorcore's metadata names: one line each, and one line for each extra."""
    try:
        extras = requirements()
    except metadata.PackageNotFoundError:
        fix = "pip install . in the folder of xnorcore's pyproject.toml"
        return [Check("xnorcore", "", False, True, "commands and device schemes", fix)]
    checks = [_installed(package(text), [text], True, "everything") for text in extras.pop("")]
    uses = {
        "sim": "engine cxxrtl",
        "zig": "C++ compiler, if there is no other; web",
        "train": "training",
        "test": "tests",
    }
    for extra, wanted in extras.items():
        checks.append(_installed(f"extra [{extra}]", wanted, False, uses.get(extra, extra)))
    return checks


def _installed(name: str, wanted: list[str], needed: bool, use: str) -> Check:
    found: list[str] = []
    wrong: list[str] = []
    for requirement in wanted:
        distribution = package(requirement)
        if distribution == "xnorcore":  # an extra that contains another one
            continue
        label = "" if distribution == name else f"{distribution} "
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            wrong.append(requirement)
            continue
        low = re.search(r">=\s*([0-9.]+)", requirement)
        if low and _numbers(version) < _numbers(low.group(1)):
            wrong.append(requirement)
            version += " (too old)"
        found.append(label + version)
    fix = pip_install(wrong) if wrong else ""
    return Check(name, ", ".join(found), not wrong, needed, use, fix)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _networks() -> Check:
    from .. import zoo  # not needed by those who only declare a `Check`

    try:
        for name in zoo.names():
            zoo.load(name)
    except XnorcoreError as error:
        return Check("networks", "", False, True, "demo", f"{error}; reinstall xnorcore")
    found = ", ".join(zoo.names())
    return Check("networks", found, bool(found), True, "demo", "" if found else "reinstall xnorcore")


def _ports() -> Check:
    try:
        from ..link.system_words import found_ports

        found = found_ports().removeprefix("none")
    except ImportError:
        found = ""
    return Check("serial ports", found, bool(found), False, "boards", "" if found else "plug a board in")
