"""The help of every command ends with an example, and the example is one that the command takes."""

import shlex

import pytest

from xnorcore.cli.commands import COMMANDS, EXAMPLES, build
from xnorcore.cli.options import EXAMPLE
from xnorcore.errors import UsageError


def example_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the last line of a command's help shows."""
    with pytest.raises(SystemExit):
        build().parse_args([name, "--help"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(EXAMPLE)
    return last.removeprefix(EXAMPLE)


def test_there_is_an_example_for_each():
    assert set(EXAMPLES) == {name for name, _, _ in COMMANDS}
    assert {"build", "bench", "web", "serve-sim", "export-verilog"} <= set(build().commands())


@pytest.mark.parametrize("name", build().commands())
def test_example(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # a narrow terminal does not break it
    program, command, *arguments = shlex.split(example_of(name, capsys))
    assert (program, command) == ("xnorcore", name)
    assert arguments or name == "zoo"
    assert build().parse_args([command, *arguments]).command == name


def test_an_example_that_no_longer_parses_is_found(capsys, monkeypatch):
    monkeypatch.setitem(EXAMPLES, "info", "digits --bord icebreaker")
    _, *arguments = shlex.split(example_of("info", capsys))
    with pytest.raises(UsageError, match="--bord"):
        build().parse_args(arguments)
