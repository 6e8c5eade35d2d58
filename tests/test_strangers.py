"""What strangers look for: licences of all that is needed, whom to cite, and complete metadata."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_dependency_has_a_licence():
    table = (ROOT / "docs" / "licenses.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    extras = [text for part in PROJECT["optional-dependencies"].values() for text in part]
    needed = {re.split(r"[\[><=; ]", text)[0] for text in [*PROJECT["dependencies"], *extras]} - {"xnorcore"}
    assert needed == named
    assert all(row.split("|")[2].strip() for row in rows)


def test_whom_to_cite_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in text and f"\nlicense: {PROJECT['license']}\n" in text


def test_metadata_says_which_python():
    least = PROJECT["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {least}" in PROJECT["classifiers"]
    assert "Typing :: Typed" in PROJECT["classifiers"]
    for package in ("sw/xnorcore", "hw/xnorcore_hw", "boards/xnorcore_boards"):
        assert (ROOT / package / "py.typed").is_file()
