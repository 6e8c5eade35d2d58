"""Tables on a terminal: nothing is wider than it is, nothing is lost without a word."""

import os
import subprocess
import sys

import pytest

from tests.campaigns import some
from xnorcore.cli import columns
from xnorcore.cli.columns import fit, prose, records, wrap
from xnorcore.cli.console import table

HEAD = ("board", "logic cells", "array", "GMAC/s")
ROWS = [("ecpix5-45f", "23,023 of 43,848", "4x32x64", "819.2"), ("icestick", "1,280", "none fits", "-")]


@pytest.fixture
def terminal(monkeypatch):
    """Say how wide the terminal is; None: stdout is a file."""
    return lambda width: monkeypatch.setattr("xnorcore.cli.console.terminal_width", lambda: width)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 5, [""]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 5, ["one", "two", "three"]),
        ("unbreakable", 4, ["unbreakable"]),
        ("ice40-hx8k-b-evn", 8, ["ice40-hx8k-b-evn"]),  # short names stay whole
        ("784-1024-1024-1024-1024-10", 12, ["784-1024-", "1024-1024-", "1024-10"]),
        ("/usr/share/datasets/fashion", 14, ["/usr/share/", "datasets/", "fashion"]),
        ("a  b", 9, ["a  b"]),
    ],
)
def test_wrap(text, width, lines):
    assert wrap(text, width) == lines


def test_wrapping_loses_nothing():
    text = "ecpix5-45f, ecpix5-85f, 28x28x1-12x12x64-10x10x64-5x5x64-3x3x64-10 and more"
    for width in range(1, 90):
        lines = wrap(text, width)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_what_is_no_terminal_gets_the_whole_table(terminal):
    terminal(None)
    assert table(ROWS, HEAD, drop=("GMAC/s",)) == [
        "board       logic cells       array      GMAC/s",
        "----------  ----------------  ---------  ------",
        "ecpix5-45f  23,023 of 43,848  4x32x64     819.2",
        "icestick    1,280             none fits       -",
    ]


def test_a_table_that_fits_is_not_touched(terminal):
    terminal(None)
    whole = table(ROWS, HEAD)
    terminal(len(whole[0]))
    assert table(ROWS, HEAD, drop=HEAD[1:]) == whole


def test_cells_are_wrapped_before_columns_go(terminal):
    terminal(40)
    assert table(ROWS, HEAD, drop=("GMAC/s",)) == [
        "board       logic      array      GMAC/s",
        "            cells",
        "----------  ---------  ---------  ------",
        "ecpix5-45f  23,023 of  4x32x64     819.2",
        "            43,848",
        "icestick    1,280      none fits       -",
    ]


def test_columns_go_in_their_order_and_are_named(terminal):
    terminal(32)
    found = table(ROWS, HEAD, "  ", drop=("GMAC/s", "array"))
    assert found[0] == "  board       logic      array"
    assert found[-1] == "  (no room for: GMAC/s)" and max(map(len, found)) <= 32
    terminal(25)
    assert table(ROWS, HEAD, "  ", drop=("GMAC/s", "array"))[-2:] == ["  (no room for: array,", "  GMAC/s)"]


def test_without_titles_commands_and_paths_stay_whole(terminal):
    terminal(20)
    # Only `Console.result` breaks them, and continues commands.
    row = ("to program", "xnorcore program icebreaker --bitstream build/icebreaker-3x8x32/icebreaker.bin")
    assert table([row]) == ["  ".join(row)]


def test_fit_never_hangs_where_nothing_helps():
    assert fit([["abc", "def"]], 1, []) == ([0, 1], [3, 3])
    assert fit([["abc", "def"]], 1, [1]) == ([0], [3])


def on_terminal(width, *command):
    """Run a command with stdout a pseudo-terminal of this width; return its lines."""
    master, slave = os.openpty()
    environment = {**os.environ, "COLUMNS": str(width)}
    argv = [sys.executable, "-m", "xnorcore", *command]
    with subprocess.Popen(argv, stdout=slave, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(slave)
        text = b""
        try:
            while part := os.read(master, 1 << 16):
                text += part
        except OSError:  # Linux: the other end is closed
            pass
    os.close(master)
    assert process.returncode == 0
    return text.decode().replace("\r", "").splitlines()


def test_prose_hangs_below_what_it_goes_on_with():
    assert prose("short", 40) == ["short"]
    assert prose("expected efficiency: 0.651 of that device's MACs", 30) == [
        "expected efficiency: 0.651 of", "  that device's MACs",
    ]  # fmt: skip
    assert prose("  loops    tile 8 x +0, plane 5 x -2, run 2 x +1", 32) == [
        "  loops    tile 8 x +0, plane 5", "           x -2, run 2 x +1",
    ]  # fmt: skip
    assert prose("from  /a/long/path/of/words/x.npy and more", 20) == [
        "from  /a/long/path/of/words/x.npy", "      and more",
    ]  # fmt: skip


def test_a_command_goes_on_as_a_shell_reads_it():
    command = 'python3 -m pip install "ziglang>=0.13" "numpy>=2"'
    lines = prose(f"  extra [zig]: {command}", 34)
    assert max(map(len, lines)) <= 34 and all(line.endswith(" \\") for line in lines[:-1])
    joined = "\n".join(lines).replace("\\\n", "").split(": ")[1]
    assert joined.split() == command.split()
    path = "build/icebreaker-3x8x32/icebreaker.bin"
    assert path in "\n".join(prose(f"to program  xnorcore program icebreaker --bitstream {path}", 30))


def test_a_table_that_fits_no_columns_is_rows_of_lines(terminal):
    terminal(22)
    assert table(ROWS, HEAD, drop=("GMAC/s",)) == records([list(row) for row in ROWS], HEAD, 22) == [
        "board        ecpix5-45f",
        "logic cells  23,023 of", "             43,848", "array        4x32x64", "GMAC/s       819.2", "",
        "board        icestick", "logic cells  1,280", "array        none fits", "GMAC/s       -",
    ]  # fmt: skip


@pytest.mark.parametrize("width", some([40, 60], 1))
@pytest.mark.parametrize(
    "command",
    some([("doctor",), ("zoo",), ("info", "fashion"), ("listing", "digits"), ("train", "--list"),
          ("data", "digits"), ("boards",), ("info", "digits", "--board", "icebreaker")], 3),
)  # fmt: skip
def test_everything_fits_narrow_terminals_and_what_columns_says(width, command):
    environment = {**os.environ, "COLUMNS": str(width)}
    argv = [sys.executable, "-m", "xnorcore", *command]
    piped = subprocess.run(argv, capture_output=True, text=True, env=environment)
    lines = piped.stdout.splitlines()
    assert piped.returncode in (0, 1) and "Traceback" not in piped.stderr and lines
    # A path has no place to break.
    assert [line for line in lines if len(line) > width and "/" not in line] == []


@pytest.mark.parametrize(
    ("width", "command"),
    some(
        [(60, ("zoo",)), (80, ("boards",)), (60, ("boards",)), (100, ("zoo",)), (80, ("info", "fashion"))],
        1,
        many=True,
    ),
)
def test_the_widest_tables(width, command):
    lines = on_terminal(width, *command)
    assert max(map(len, lines)) <= width and len(lines) > 5


def test_nothing_is_left_out_of_a_wide_terminal():
    assert (
        on_terminal(400, "zoo")
        == subprocess.run(
            [sys.executable, "-m", "xnorcore", "zoo"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
    )


def test_a_file_has_no_width(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert columns.terminal_width() is None
    for said, width in (("72", 72), ("1", 20), ("0", None), ("-5", None), ("wide", None), ("9" * 99, None)):
        # No longer than this: pytest itself reads it where it says that the test has passed.
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", said)
            assert columns.terminal_width() == width
