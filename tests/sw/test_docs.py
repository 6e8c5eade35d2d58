"""What README.md and docs say about commands, fields and counters is what the code does."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from xnorcore.cli.commands import build
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import COUNTERS, DESCRIPTOR, HEADER, LOOPS

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


def test_counters():
    assert [name for row in table("## Counters") for name in re.findall(r"`(\w+)`", row[0])] == list(COUNTERS)


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


def test_links():
    for name in ("README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        page = ROOT / name
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{name}: {target}"
