"""Every user error is one line on stderr, exit code 2, nothing on stdout and no file."""

import os
import pickle
import shlex
import socket
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from xnorcore import errors, extras, zoo
from xnorcore.cli import main
from xnorcore.cli.inputs import read_inputs
from xnorcore.files import xnorfile
from xnorcore.reference import golden

from .cli_tools import SMALL, network, runner, spawn, write_inputs


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture
def folder(tmp_path):
    write_inputs(tmp_path)
    return tmp_path


def refused(run, *argv):
    """Run a command that must be refused, with and without --json; return the message."""
    messages = []
    for extra in ([], ["--json"]):
        code, out, err = run(*argv, *extra)
        assert (code, out) == (2, ""), err
        # Lines about the progress so far may come first.
        *_, last = err.splitlines()
        assert last.startswith("xnorcore: error: ") and err.endswith("\n")
        assert err.count("xnorcore: error:") == 1 and "Traceback" not in err and "usage:" not in err
        messages.append(last)
    assert messages[0] == messages[1]
    return messages[0].removeprefix("xnorcore: error: ")


# The command line itself


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate' (choose from 'demo', "),
        (["zoo", "extra"], "unrecognized arguments: extra"),
        (["zoo", "--frob"], "unrecognized arguments: --frob; see xnorcore zoo --help"),
        (["info"], "the following arguments are required: NET; see xnorcore info --help"),
        (["golden", "digits", "in.npy"], "the following arguments are required: -o/--output"),
        (["run", "digits", "in.npy", "-o", "x"], "the following arguments are required: --port"),
        (["info", "digits", "--col", "8"], "unrecognized arguments: --col 8"),
        (["info", "digits", "--rows", "two"], "argument --rows: 'two' is not a whole number, 0 or more"),
        (["info", "digits", "--rows", "-1"], "argument --rows"),
        (["info", "digits", "--rows", "9" * 5000], "is not a whole number"),
        (["info", "digits", "--rows", "٣"], "argument --rows"),
        (["info", "digits", "--rows"], "argument --rows: expected one argument"),
        (["sim", "digits", "x", "--link", "wifi"], "argument --link: invalid choice: 'wifi'"),
        (["demo", "--engine", "verilator"], "engine is 'verilator', but must be one of: compiled, amaranth"),
        (["demo", "--engine", "compiled,rows=2"], "--engine 'compiled,rows=2' is not the name of an engine"),
        (["sim", "digits", "x", "--batch", "0"], "argument --batch: '0' is not a whole number, 1 or more"),
        (["demo", "--count", "-5"], "argument --count"),
        (["bench", "frob"], "unknown benchmark 'frob'; known: lfc, cnn, small"),
    ],
)
def test_arguments(capsys, argv, message):
    for extra in ([], ["--json"]) if argv and argv[0] != "frobnicate" else ([],):
        assert main([*argv, *extra]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
        assert err.startswith("xnorcore: error: ") and message in err


def test_control_characters_stay_out_of_the_terminal(run):
    message = refused(run, "info", "evil\x1b[2J\nname\udcff")
    assert message.isprintable() and "x1b[2J" in message


# Networks


def test_no_such_network(run, tmp_path):
    assert "no network 'nothing': not a file, and the zoo has digits" in refused(run, "info", "nothing")
    assert "Is a directory" in refused(run, "info", tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\3\4" * 100, bytes(1000), None])
def test_broken_network(run, tmp_path, content):
    path = tmp_path / "net.xnor"
    whole = xnorfile.dumps(network())
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    for command in (["info"], ["golden", "x.npy", "-o", "y"], ["sim", "x.npy"]):
        assert "net.xnor: " in refused(run, command[0], path, *command[1:])


def test_network_does_not_fit(run, folder):
    port = ["--port", "machine:columns=4,width=8,weight_depth=64", "-o", folder / "out.npy"]
    xnorfile.save(network((500, 20, 2)), folder / "big.xnor")
    np.save(folder / "big.npy", np.zeros((1, 500), np.uint8))
    message = refused(run, "run", folder / "big.xnor", folder / "big.npy", *port)
    assert "needs 126 words" in message and "the device has 64 (weight_depth)" in message


def test_network_does_not_fit_before_a_simulator_is_built(run, folder, monkeypatch):
    monkeypatch.setattr(
        "xnorcore.runtime.accelerator.Accelerator.open", lambda *_, **__: pytest.fail("opened")
    )
    xnorfile.save(network((500, 20, 2)), folder / "big.xnor")
    np.save(folder / "big.npy", np.zeros((1, 500), np.uint8))
    device = ["--columns", "4", "--width", "8", "--set", "weight_depth=64"]
    message = refused(run, "sim", folder / "big.xnor", folder / "big.npy", *device)
    assert "the device has 64 (weight_depth)" in message


# Images


def header(text: str, version: tuple[int, int] = (1, 0), body: bytes = b"") -> bytes:
    data = text.encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(data))
    return b"\x93NUMPY" + bytes(version) + size + data + body


def described(shape: str, descr: str = "'|u1'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


HOSTILE = {
    "empty": (b"", "not an .npy file"),
    "text": (b"0 1 1 0\n" * 20, "not an .npy file"),
    "pickle": (pickle.dumps([1, 2, 3]), "not an .npy file"),
    "zip": (b"PK\3\4" + bytes(100), "not an .npy file"),
    "version": (header(described("(1, 20)"), (3, 0), bytes(20)), "header is damaged"),
    "magic only": (b"\x93NUMPY\1\0", "not an .npy file"),
    "header cut": (header(described("(1, 20)"))[:30], "not an .npy file"),
    "header is code": (header("__import__('os').system('true')"), "not an .npy file"),
    "header is deep": (header("(" * 9000), "not an .npy file"),
    "header is long": (header(described("(1, 20)") + " " * 60_000), "not an .npy file"),
    "header claims 4 GB": (b"\x93NUMPY\2\0" + struct.pack("<I", 0xFFFFFFFF) + bytes(99), "not an .npy file"),
    "keys": (header("{'descr': '|u1'}"), "not an .npy file"),
    "object": (header(described("(1, 20)", "'|O'"), body=bytes(160)), "holds object"),
    "records": (header(described("(1, 20)", "[('a', '|u1')]"), body=bytes(20)), "must be bool or integers"),
    "text array": (header(described("(1, 20)", "'<U4'"), body=bytes(320)), "holds <U4"),
    "floats": (header(described("(1, 20)", "'<f8'"), body=bytes(160)), "holds float64"),
    "dates": (header(described("(1, 20)", "'<M8[s]'"), body=bytes(160)), "must be bool or integers"),
    "negative": (header(described("(-1, -20)"), body=bytes(20)), "impossible shape"),
    "bools": (header(described("(True, 20)"), body=bytes(20)), "impossible shape"),
    "dimensions": (header(described("(1,) * 99"), body=bytes(1)), "not an .npy file"),
    "many dimensions": (header(described(str((1,) * 99)), body=bytes(1)), "impossible shape"),
    "enormous": (header(described("(10**15, 20)"), body=bytes(20)), "not an .npy file"),
    "huge": (header(described("(1000000000000, 20)"), body=bytes(20)), "truncated"),
    "truncated": (header(described("(2, 20)"), body=bytes(39)), "truncated: shape (2, 20) needs 40 bytes"),
    "too long": (header(described("(2, 20)"), body=bytes(41)), "too long"),
    "shape": (header(described("(2, 21)"), body=bytes(42)), "images have shape (2, 21), but network 'small'"),
    "scalar": (header(described("()"), body=bytes(1)), "images have shape ()"),
    "no images": (header(described("(0, 20)")), "holds no images"),
    "value": (header(described("(1, 20)"), body=bytes([2] * 20)), "images hold the value 2"),
    "minus one": (header(described("(1, 20)", "'|i1'"), body=b"\xff" * 20), "images hold the value -1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_images(run, folder, name):
    content, message = HOSTILE[name]
    path = folder / "bad.npy"
    path.write_bytes(content)
    before = set(folder.iterdir())
    net = folder / "small.xnor"
    tracemalloc.start()
    try:
        with pytest.raises(errors.XnorcoreError):
            read_inputs(str(path), network())
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert message in refused(run, "golden", net, path, "-o", folder / "out.npy")
    assert "bad.npy: " in refused(run, "sim", net, path, "-o", folder / "out.npy", *SMALL)
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    "array",
    [
        np.ones((3, 20), bool),
        np.ones((3, 20), ">i4"),
        np.asfortranarray(np.arange(60).reshape(3, 20) % 2),
        np.ones(20, np.uint64),
    ],
)
def test_every_integer_array_is_taken(run, folder, array):
    np.save(folder / "in.npy", array)
    code, _, err = run("golden", folder / "small.xnor", folder / "in.npy", "-o", folder / "out.npy")
    assert code == 0, err
    np.testing.assert_array_equal(np.load(folder / "out.npy"), golden.run(network(), array))


def test_image_files_that_are_no_files(run, folder):
    net = folder / "small.xnor"
    for path, message in (
        (folder / "none.npy", "No such file or directory"),
        (folder, "has no test_images"),
        ("/dev/null", "not a regular file"),
    ):
        assert message in refused(run, "golden", net, path, "-o", folder / "out.npy")


def test_image_file_beyond_the_limit(run, folder):
    with (folder / "big.npy").open("wb") as file:
        file.truncate((4 << 30) + 1)  # sparse: takes no room
    assert "the limit is" in refused(run, "golden", folder / "small.xnor", folder / "big.npy", "-o", "x")


# Outputs: refused before the work


def test_outputs(run, folder, monkeypatch):
    monkeypatch.setattr("xnorcore.reference.golden.run", None)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
    for path, message in (
        (folder / "no" / "out.npy", "no directory"),
        (folder, "it is a directory"),
        (folder / "socket", "not a regular file"),
        ("", "it is a directory"),
    ):
        assert message in refused(run, "golden", folder / "small.xnor", folder / "in.npy", "-o", path)


# Devices


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "9"], "rows is 9, but must be 1 to 8"),
        (["--columns", "5"], "columns is 5, but must be 4 to 128"),
        (["--columns", "24", "--width", "32"], "one must be a multiple of the other"),
        (["--set", "colour=3"], "unknown device option 'colour'"),
        (["--set", "act_depth"], "--set 'act_depth' is not NAME=N"),
        (["--set", "act_depth=-4"], "is not NAME=N"),
        (["--set", "act_depth=99999999"], "act_depth is 99999999, but must be 64 to 65536"),
        (["--set", "rows=1", "--rows", "2"], "rows is given twice"),
        (["--baud", "7000000"], "baud is 7000000, but must divide clock_hz 12000000"),
        (["--baud", "0"], "argument --baud"),
        (["--clock-hz", "9999999999"], "clock_hz is 9999999999, but must be 1 to"),
    ],
)
def test_device_options(run, folder, options, message):
    for command in (["sim", folder / "small.xnor", folder / "in.npy"], ["demo"], ["serve-sim"]):
        assert message in refused(run, *command, *options)


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("ttyUSB1", "device 'ttyUSB1' has no scheme"),
        ("usb:1", "unknown device scheme 'usb:'"),
        ("serial:/dev/nosuchport", "serial port /dev/nosuchport does not exist"),
        ("serial:/dev/null", "cannot be opened as a serial port"),
        ("serial:", "serial: names no port"),
        ("serial:/dev/null?baud=fast", "baud is 'fast'"),
        ("pty:/dev/pts/nosuch", "is xnorcore serve-sim running?"),
        ("sim:rows=0", "rows is 0"),
        ("sim:colour=3", "unknown option 'colour=3'"),
    ],
)
def test_ports(run, folder, port, message):
    inputs = [folder / "small.xnor", folder / "in.npy"]
    assert message in refused(run, "run", *inputs, "--port", port, "-o", folder / "out.npy")
    assert not (folder / "out.npy").exists()


def test_nobody_answers(run, folder):
    master, slave = os.openpty()
    name = os.ttyname(slave)
    inputs = [folder / "small.xnor", folder / "in.npy"]
    code, out, err = run("run", *inputs, "--port", f"pty:{name}", "-o", folder / "o", "--timeout", "0.05")
    os.close(master)
    os.close(slave)
    assert (code, out) == (2, "") and err.startswith("xnorcore: error: ") and err.count("\n") == 1


def test_no_compiler(run, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XNORCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "/no/such/compiler")
    message = refused(run, "sim", folder / "small.xnor", folder / "in.npy", *SMALL)
    assert "$CXX is '/no/such/compiler', which does not run" in message
    monkeypatch.setitem(sys.modules, "ziglang", None)  # which no PATH hides
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no C++ compiler found" in refused(run, "demo", *SMALL)


def test_unwritable_cache(run, folder, monkeypatch):
    monkeypatch.setenv("XNORCORE_CACHE", str(folder / "in.npy" / "cache"))
    assert "set XNORCORE_CACHE" in refused(run, "sim", folder / "small.xnor", folder / "in.npy", *SMALL)


# The demo


def test_demo(run):
    assert "--count is 201, but network 'digits' comes with 200 images" in refused(
        run, "demo", "--count", 201
    )
    assert "no network 'cats' in the zoo, which has digits" in refused(run, "demo", "--net", "cats")


# All of them


def error_classes(cls: type[errors.XnorcoreError]) -> list[type[errors.XnorcoreError]]:
    return [cls] + [found for sub in cls.__subclasses__() for found in error_classes(sub)]


@pytest.mark.parametrize("cls", error_classes(errors.XnorcoreError))
def test_every_error_class(run, monkeypatch, cls):
    def fails():
        raise cls("something\n  is wrong")

    monkeypatch.setattr(zoo, "names", fails)
    assert refused(run, "zoo") == "something is wrong"


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device"), OSError("odd")])
def test_errors_of_the_machine(run, monkeypatch, error):
    def fails():
        raise error

    monkeypatch.setattr(zoo, "names", fails)
    assert refused(run, "zoo")


def test_bugs_are_not_taken_for_failed_checks(run, monkeypatch):
    def fails():
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(zoo, "names", fails)
    code, out, err = run("zoo", "--json")
    assert (code, out) == (3, "") and "ZeroDivisionError: oops" in err and "bug in xnorcore" in err


def test_in_a_process_of_its_own(folder):
    command = spawn("golden", folder / "small.xnor", folder / "none.npy", "-o", folder / "out.npy", "--json")
    out, err = command.communicate(timeout=60)
    assert (command.returncode, out) == (2, "")
    assert err.startswith("xnorcore: error: cannot read ") and err.count("\n") == 1


# What mends a missing package


def test_install_commands(monkeypatch):
    wanted = [
        "numpy>=2.0",
        'ziglang>=0.13; extra == "zig"',
        "xnorcore[zig]; extra == 'all'",
        'b; extra == "all"',
    ]
    monkeypatch.setattr(extras.metadata, "requires", lambda name: wanted)
    pip = f"{shlex.quote(sys.executable)} -m pip install "
    assert extras.requirements() == {
        "": ["numpy>=2.0"], "zig": ["ziglang>=0.13"], "all": ["xnorcore[zig]", "b"],
    }  # fmt: skip
    assert extras.install_extra("zig") == pip + '"ziglang>=0.13"'
    assert extras.install_extra("all") == pip + '"b"'
    assert extras.install_extra("") == pip + '"numpy>=2.0"'

    # Run from a folder without installation: only that folder can be installed.
    def absent(name):
        raise extras.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras.metadata, "requires", absent)
    assert extras.install_extra("zig") == 'pip install ".[zig]" in the folder of xnorcore\'s pyproject.toml'


def test_output_over_the_input(run, folder):
    np.save(folder / "in.npy", np.zeros((1, 64), np.uint8))
    before = (folder / "in.npy").read_bytes()
    for command in ("golden", "sim"):
        message = refused(run, command, "digits", folder / "in.npy", "-o", folder / "in.npy")
        assert "it is the input file" in message
    assert (folder / "in.npy").read_bytes() == before


# Inputs that are no files


@pytest.mark.parametrize(
    "argv",
    [
        ["info"], ["golden", "digits"], ["import", "-o", "o.xnor"], ["train"], ["eval", "digits", "--data"],
        ["train", "digits", "--data"], ["data"], ["data", "mnist", "--folder"], ["listing"],
        ["sample", "digits", "-o", "o.npy", "--data"], ["verify", "digits", "--images"],
    ],
)  # fmt: skip
def test_inputs_that_are_pipes_or_devices(run, tmp_path, monkeypatch, argv):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkfifo("pipe.onnx")
    Path("link").symlink_to("pipe")
    output = ["-o", "out.npy"] if argv[0] == "golden" else []
    for name, kind in (("pipe", "pipe"), ("pipe.onnx", "pipe"), ("link", "pipe"), ("/dev/null", "device")):
        message = refused(run, *argv, name, *output)
        assert f"cannot read {name}: not a regular file, but a {kind}; copy its content into one" in message


@pytest.mark.parametrize("name", ["images.npy", "t10k-images-idx3-ubyte", "test_batch.bin", "classes.txt"])
def test_data_sets_with_a_pipe_in_them(run, tmp_path, name):
    if name == "classes.txt":
        np.save(tmp_path / "images.npy", np.full((2, 8, 8), 16))
        np.save(tmp_path / "labels.npy", np.arange(2))
    os.mkfifo(tmp_path / name)
    message = refused(run, "eval", "digits", "--data", tmp_path)
    assert f"{str(tmp_path / name)!r} is not a regular file" in message
