"""What a shell is told at a Tab, asked as a shell asks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xnorcore import zoo
from xnorcore.boards import board_devices
from xnorcore.cli import main
from xnorcore.cli.commands import COMMANDS
from xnorcore.cli.completion import SHELLS


@pytest.fixture
def ask(tmp_path):
    """Words that complete a line, in a folder of one's own."""

    def words(line: str) -> set[str]:
        found = tmp_path / "words.txt"
        asked = {
            "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "fish", "COMP_LINE": line,
            "COMP_POINT": str(len(line.encode())), "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(found),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "xnorcore"], cwd=tmp_path, env={**os.environ, **asked},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return {word.partition("\t")[0].rstrip() for word in found.read_text().splitlines()}

    return words


def test_commands(ask):
    assert {name for name, _, _ in COMMANDS} | {"build", "bench", "web"} <= ask("xnorcore ")
    assert ask("xnorcore export") == {"export-verilog"}


def test_options_of_a_command(ask):
    assert {"--board", "--rows", "--json"} <= ask("xnorcore info digits --")
    assert ask("xnorcore eval digits --eng") == {"--engine"}
    assert ask("xnorcore eval digits --engine ") >= {"fast", "golden", "sim"}


def test_networks_and_files(ask, tmp_path):
    for name in ("mine.xnor", "notes.txt", "digits.npy"):
        (tmp_path / name).touch()
    (tmp_path / "nets").mkdir()
    assert ask("xnorcore info ") >= {*zoo.names(), "mine.xnor", "nets/"}
    assert "notes.txt" not in ask("xnorcore info n")
    assert ask("xnorcore info mi") == {"mine.xnor"}
    assert ask("xnorcore golden digits di") == {"digits", "digits.npy"}


def test_boards(ask):
    boards = set(board_devices())
    assert len(boards) > 3
    assert boards <= ask("xnorcore build ") and boards <= ask("xnorcore info digits --board ")
    assert ask("xnorcore program iceb") == {"icebreaker"}


def test_nothing_of_a_number(ask, tmp_path):
    (tmp_path / "8").touch()
    assert ask("xnorcore info digits --rows ") == set()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_that_the_shell_reads(shell, tmp_path, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "xnorcore" in script and "_ARGCOMPLETE" in script
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shell": shell, "script": script.removesuffix("\n")}
    if program := shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True)


def test_bash_completes(tmp_path):
    """The whole way: bash, its script, its words."""
    (tmp_path / "xnorcore").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m xnorcore "$@"\n')
    (tmp_path / "xnorcore").chmod(0o755)
    lines = (
        'eval "$(xnorcore completion bash)"; COMP_WORDS=(xnorcore info fash); COMP_CWORD=2; COMP_TYPE=9; '
        'COMP_LINE="xnorcore info fash"; COMP_POINT=18; _python_argcomplete xnorcore fash info; '
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", lines], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout.split() == ["fashion"]


def test_the_completer_is_imported_only_at_a_tab():
    code = "import sys; from xnorcore.cli import main; main([]); sys.exit('argcomplete' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=Path.cwd(), check=False)
    assert done.returncode == 0
