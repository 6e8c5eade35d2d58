"""What README.md and docs say about commands, fields and counters is what the code does."""

import re
import shlex
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from xml.etree import ElementTree

import pytest

from xnorcore.cli.commands import build
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import COUNTERS, DESCRIPTOR, HEADER, LOOPS, STORE_COUNTERS, WINDOW_HEADER

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
COMMAND_LINE = (ROOT / "docs/command-line.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Rows of the first table after a line of architecture.md that starts with `heading`."""
    text = ARCHITECTURE[ARCHITECTURE.index(f"\n{heading}") :]
    found = re.search(r"\n\|.*\n\|[-|]+\n((?:\|.*\n)+)", text)
    assert found
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.group(1).splitlines()]


@pytest.mark.parametrize(("heading", "record"), [("Header:", HEADER), ("Descriptor:", DESCRIPTOR)])
def test_program_layout(heading, record):
    listed = {}
    for words, bits, text in table(heading):
        names = re.findall(r"`(\w+)`", text)
        places = [(int(word), *part.split("-")) for word in words.split(",") for part in bits.split(",")]
        assert len(places) == len(names), text
        for name, (word, low, *high) in zip(names, places, strict=True):
            listed[name] = (word, int(low), int(high[0]) if high else int(low))
    actual = {n: (f.word, f.low, f.low + f.width - 1) for n, f in record.fields.items()}
    assert listed == actual


def test_header_of_windows():
    """The second table has the words that are laid out otherwise, and names the fields that mean the same."""
    listed = {}
    for words, bits, text in table("Header with `whole_windows`:"):
        names = re.findall(r"`(\w+)`", text)
        places = [(int(word), *part.split("-")) for word in words.split(",") for part in bits.split(",")]
        for name, (word, low, *high) in zip(names, places, strict=True):
            listed[name] = (int(word), int(low), int(high[0]) if high else int(low))
    fields = WINDOW_HEADER.fields
    actual = {n: (f.word, f.low, f.low + f.width - 1) for n, f in fields.items() if 6 <= f.word <= 9}
    assert listed == actual
    others = {n: f for n, f in HEADER.fields.items() if not 6 <= f.word <= 9}
    assert {n: f for n, f in fields.items() if n not in actual} == others


def test_counters():
    assert [name for row in table("## Counters") for name in re.findall(r"`(\w+)`", row[0])] == [
        *COUNTERS,
        *STORE_COUNTERS,
    ]


def test_memories_and_loops():
    named = {name for row in table("## Memories") for name in re.findall(r"`(\w+)`", row[1])}
    assert named <= {field.name for field in fields(DeviceConfig)}
    assert all(f"`{loop}`" in ARCHITECTURE for loop in LOOPS)


def test_commands_of_the_readme():
    commands = re.findall(r"(?:^    |&& |`)xnorcore ([a-z][^#`\n]*)", README, re.MULTILINE)
    parsed = [build().parse_args(shlex.split(command)).command for command in commands]
    assert {"demo", "doctor", "zoo", "info", "golden", "sim", "serve-sim", "run", "bench"} <= set(parsed)


def test_every_command_is_documented():
    actions = [action for action in build()._actions if action.choices]
    names = list(actions[0].choices or ())
    assert len(names) >= 9
    assert all(f"| `{name}" in COMMAND_LINE for name in names)


def test_every_command_says_what_it_takes(capsys: pytest.CaptureFixture[str]):
    (choices,) = [action.choices for action in build()._actions if action.choices]
    for name in choices or ():
        with pytest.raises(SystemExit) as end:
            build().parse_args([name, "--help"])
        assert end.value.code == 0 and f"usage: xnorcore {name} [-h]" in capsys.readouterr().out


def test_where_is_what():
    rows = table("## Where is what")
    rooms = [row[1].strip("`") for row in rows]
    assert 15 <= len(rows) <= 42 and len(set(rooms)) == len(rooms)
    for room, contract in zip(rooms, (row[2] for row in rows), strict=True):
        assert (ROOT / room).exists(), room
        for name in re.findall(r"`([\w/]+\.(?:py|json))`", contract):
            assert (ROOT / room / name).exists() or (ROOT / name).exists(), f"{room}: {name}"
    for package in ("sw/xnorcore", "hw/xnorcore_hw", "boards/xnorcore_boards"):
        folders = {path.parent for path in (ROOT / package).glob("*/__init__.py")}
        missing = {f"{package}/{folder.name}" for folder in folders} - set(rooms)
        # Found from their neighbours: a family from a board, cycles from a bitstream, pieces from a page.
        assert missing <= {
            "hw/xnorcore_hw/parts", "boards/xnorcore_boards/cli", "boards/xnorcore_boards/families",
            "boards/xnorcore_boards/measure", "sw/xnorcore/pages",
        }  # fmt: skip


def test_paths_and_names_exist():
    """Files of the repository, and modules with what is in them, that pages speak of."""
    seen = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = page.read_text()
        for path in re.findall(r"`((?:sw|hw|boards|tests|docs)/[\w/.]+)`", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"
            seen += 1
        for name in re.findall(r"\b(xnorcore(?:_hw|_boards)?(?:\.\w+)+)", text):
            groups = "checks|clocks|commands|boards|transports|preparations"
            if not re.search(rf"\.(git|py|csv|v|fish|{groups})$", name):
                assert exists(name), f"{page.name}: {name}"
                seen += 1
    assert seen > 40
    assert exists("xnorcore.reference.golden.run") and not exists("xnorcore.network.Network")


def exists(name: str) -> bool:
    """Whether a full name is that of a module, or of something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = ".".join(parts[:end])
        try:
            found: object = import_module(path)
        except ModuleNotFoundError as error:
            if not path.startswith(error.name or path):  # another package is missing
                return end == len(parts) and find_spec(path) is not None
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def test_links():
    for name in ("README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        page = ROOT / name
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{name}: {target}"


@pytest.mark.parametrize("word", ["beat", "tile", "plane", "drain", "hazard"])
def test_pictures_of_the_glossary(word):
    """Each is shown under its word, is what draws it, and has colours of its own on a dark page."""
    folder = ROOT / "docs" / "pictures"
    text = (ROOT / "docs" / "glossary.md").read_text()
    (under,) = re.findall(rf"^\*\*{word.title()}\.\*\* (.*?)(?=^\*\*)", text, re.MULTILINE | re.DOTALL)
    assert re.search(rf"^!\[\w[^]]+\]\(pictures/{word}\.svg\)$", under, re.MULTILINE)
    drawn = (folder / f"{word}.svg").read_text()
    assert drawn == run_path(str(folder / "draw.py"))["PICTURES"][word]().svg()
    assert ElementTree.fromstring(drawn).findtext("{*}title")
    assert "prefers-color-scheme: dark" in drawn
