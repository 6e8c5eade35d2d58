"""The house is in order: imports go one way and never in a circle, modules and functions stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from xnorcore.cli.commands import COMMANDS

ROOT = Path(__file__).parents[1]
FOLDERS = {"xnorcore": "sw", "xnorcore_hw": "hw", "xnorcore_boards": "boards"}
"""Packages, each of which may import those before it."""
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 300, 80

LONG_MODULES: dict[str, str] = {}
"""Modules that may be longer, and why."""
LONG_FUNCTIONS: dict[str, str] = {}
"""Functions that may be longer, and why."""


@dataclass
class Module:
    """A module of the project.

    Attributes
    ----------
    name : str
    lines : int
    imports : dict of str to bool
        Full names of what is imported anywhere in it, functions and type checking included, and whether the
        module as such does so when it is loaded.
    functions : dict of str to int
        Lines of each function.
    """

    name: str
    lines: int
    imports: dict[str, bool] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


def read(name: str, text: str, *, face: bool = False) -> Module:
    """Read a module; `face`: it is the ``__init__`` of a package."""
    module = Module(name, text.count("\n"))
    base = name.split(".") if face else name.split(".")[:-1]

    def visit(node: ast.AST, loaded: bool) -> None:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = base[: len(base) + 1 - node.level] if node.level else []
            whence = ".".join([*start, *([node.module] if node.module else [])])
            found = [whence, *(f"{whence}.{alias.name}" for alias in node.names)]
        else:
            found = []
        for target in found:
            module.imports[target] = module.imports.get(target, False) or loaded
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = (node.end_lineno or 0) - node.lineno + 1
            module.functions[node.name] = max(size, module.functions.get(node.name, 0))
            loaded = False
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            loaded = False
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):  # no expression has a statement inside
                visit(child, loaded)

    visit(ast.parse(text), True)
    return module


def modules() -> Iterator[Module]:
    """Read every module of the packages."""
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            face = parts[-1] == "__init__"
            yield read(".".join(parts[:-1] if face else parts), path.read_text(), face=face)


def graph(house: dict[str, Module]) -> dict[str, set[str]]:
    """Which module imports which. That a package's face imports its own parts, and they it, is no circle."""
    edges = {name: {target for target in module.imports if target in house} for name, module in house.items()}
    commands = edges.get("xnorcore.cli.commands")
    if commands is not None:
        commands |= {f"xnorcore.cli.{module}" for _, module, _ in COMMANDS}  # imported by name
    return {
        name: {to for to in found if not f"{to}.".startswith(f"{name}.") and not name.startswith(f"{to}.")}
        for name, found in edges.items()
    }


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle; none, if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def against(module: Module) -> list[str]:
    """Return the imports of packages that come later."""
    later = list(FOLDERS)[list(FOLDERS).index(module.package) + 1 :]
    return [target for target in module.imports if target.partition(".")[0] in later]


@cache
def built() -> dict[str, Module]:
    """Return every module of the packages by its name."""
    return {module.name: module for module in modules()}


def test_no_circle_of_imports():
    assert len(built()) > 200
    assert circle(graph(built())) == []


def test_boards_import_hw_imports_sw():
    assert {module.name: against(module) for module in built().values() if against(module)} == {}


def test_the_software_does_not_import_amaranth():
    found = [
        module.name
        for module in built().values()
        if module.package == "xnorcore"
        and any(target.partition(".")[0] == "amaranth" for target in module.imports)
    ]
    assert found == []


def test_length_of_modules():
    long = {module.name for module in built().values() if module.lines > MOST_LINES}
    assert long == set(LONG_MODULES)


def test_length_of_functions():
    long = {
        f"{module.name}.{name}"
        for module in built().values()
        for name, lines in module.functions.items()
        if lines > MOST_LINES_OF_A_FUNCTION
    }
    assert long == set(LONG_FUNCTIONS)


MODULES = """
import contextlib, io, sys
from xnorcore.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print(*sys.modules)
"""


@pytest.mark.parametrize(
    ("command", "most", "unneeded"),
    [
        (["--help"], 20, ["numpy", "xnorcore.model", "xnorcore_hw.sim", "xnorcore_boards.board"]),
        (
            ["info", "digits"],
            120,
            ["amaranth", "serial", "xnorcore.link", "xnorcore.runtime", "xnorcore.verify"],
        ),
    ],
    ids=["help", "info"],
)
def test_a_command_imports_what_it_needs(command: list[str], most: int, unneeded: list[str]):
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *command], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert {"xnorcore.cli.commands", "xnorcore_hw.cli"} <= modules
    assert set(unneeded) & modules == set()
    boards = "xnorcore_boards.targets."  # a module for each
    assert sum(name.startswith("xnorcore") and not name.startswith(boards) for name in modules) <= most


# What the measurements above see.


def test_a_circle_is_seen_wherever_its_imports_are():
    one = "def f():\n    from .two import g\n"
    two = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import three\n"
    three = "import xnorcore.one\n"
    house = {
        f"xnorcore.{name}": read(f"xnorcore.{name}", text)
        for name, text in (("one", one), ("two", two), ("three", three))
    }
    assert set(circle(graph(house))) == set(house)
    del house["xnorcore.two"]
    assert circle(graph(house)) == []


def test_the_face_of_a_package_and_its_parts_are_no_circle():
    face = read("xnorcore.room", "from .part import f\nfrom ..other import g\n", face=True)
    part, other = (
        read("xnorcore.room.part", "from . import h\n"),
        read("xnorcore.other", "from .room import f\n"),
    )
    house = {module.name: module for module in (face, part)}
    assert face.imports.keys() >= {"xnorcore.room.part", "xnorcore.other"}
    assert circle(graph(house)) == []
    assert set(circle(graph({**house, other.name: other}))) == {"xnorcore.room", "xnorcore.other"}


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("xnorcore.a", "import xnorcore_hw.core", ["xnorcore_hw.core"]),
        ("xnorcore_hw.a", "def f():\n    import xnorcore_boards", ["xnorcore_boards"]),
        ("xnorcore_boards.a", "import xnorcore_hw, xnorcore", []),
    ],
)
def test_an_import_against_the_direction_is_seen(name: str, text: str, seen: list[str]):
    assert against(read(name, text)) == seen


def test_lines_and_when_an_import_happens():
    text = "import numpy\n\n\ndef f():\n    import amaranth\n    return 1\n"
    module = read("xnorcore.a", text)
    assert (module.lines, module.functions) == (6, {"f": 3})
    assert module.imports == {"numpy": True, "amaranth": False}
