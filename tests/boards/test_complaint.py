"""What `xnorcore program` makes of what programmers say when they fail."""

import os
import sys

import pytest

from xnorcore.errors import BuildError
from xnorcore.nearest import did_you_mean
from xnorcore_boards.board import find_board
from xnorcore_boards.build.complaint import explain
from xnorcore_boards.build.tools import Tool, run_tool
from xnorcore_boards.build.usb import may_open, udev_rule

from .test_commands import bitstream, run  # noqa: F401
from .test_flow import script

LIBRARY, UNKNOWN, WRONG = "does not start for want of", "install a newer one", "the FPGA that answers is not"
PERMISSION, BUSY, STUCK = "no permission for its USB device", "is in use", "take the cable out"
SILENT, VERIFY = "its flash memory does not answer", "does not hold what was written"
UNCONFIGURED, INTERPRETER = "the FPGA did not take the bitstream", "asks for an interpreter that is not"
ABSENT, CLOSED = "not found on USB", "if lsusb does not list it"
FTDI = "unable to open ftdi device: {}\nJTAG init failed with: unable to open ftdi device"
ALL = (LIBRARY, UNKNOWN, WRONG, PERMISSION, BUSY, STUCK, ABSENT, CLOSED, SILENT, VERIFY, UNCONFIGURED,
       INTERPRETER)  # fmt: skip
ICE = "init..\nCan't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).\nABORT."

SHORT = {"9k": "tang-nano-9k", "20k": "tang-nano-20k", "ofl": "openFPGALoader"}
# Board, programmer, what it prints, the one thing it means, the line that is shown of it.
SAID = [
    ("9k", "ofl", FTDI.format("-3 (device not found)"), ABSENT, "-3 (device not found)"),
    ("9k", "ofl", FTDI.format("-4 (usb_open() failed)"), PERMISSION, "-4 (usb_open() failed)"),
    ("ecpix5-45f", "ofl", FTDI.format("-4 (libusb_open() failed) (USB bus 1 addr 4)"), PERMISSION, "bus 1"),
    (
        "ulx3s-25f",
        "ofl",
        FTDI.format("-5 (unable to claim usb device. Make sure the default FTDI driver is not in use)"),
        BUSY,
        "Make sure the default FTDI driver",
    ),
    ("20k", "ofl", FTDI.format("-6 (ftdi_usb_reset failed)"), STUCK, "-6 (ftdi_usb_reset"),
    (
        "9k",
        "ofl",
        "write to flash\n\x1b[31mJTAG init failed with: Unknown device with IDCODE: "
        "0x00fa03fa (manufacturer: 0x1fd ()\x1b[0m",
        WRONG,
        "0x00fa03fa",
    ),
    (
        "9k",
        "ofl",
        "Parse file Parse x.fs: \nDONE\nError: mismatch between target's idcode and "
        "bitstream idcode\n\tbitstream has 0x0100481B hardware requires 0x0000081b",
        WRONG,
        "mismatch between",
    ),
    ("20k", "ofl", "Error: cannot find board 'tangnano20k'", UNKNOWN, "cannot find board"),
    (
        "ulx3s-25f",
        "ofl",
        "openFPGALoader: error while loading shared libraries: libftdi1.so.2: cannot open "
        "shared object file: No such file or directory",
        LIBRARY,
        "want of libftdi1.so.2;",
    ),
    (
        "ulx3s-25f",
        "ofl",
        "dyld[512]: Library not loaded: /opt/homebrew/opt/hidapi/lib/libhidapi.0.dylib\n"
        "  Reason: tried: '/usr/lib/libhidapi.0.dylib' (no such file)",
        LIBRARY,
        "want of libhidapi.0.dylib;",
    ),
    (
        "ulx3s-25f",
        "ofl",
        "openFPGALoader: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found "
        "(required by openFPGALoader)",
        LIBRARY,
        "GLIBC_2.38",
    ),
    ("icebreaker", "iceprog", ICE, CLOSED, "(vendor_id 0x0403, device_id 0x6010 or 0x6014)."),
    (
        "icebreaker",
        "iceprog",
        "init..\nFailed to reset iCE FTDI USB device.\nABORT.",
        STUCK,
        "Failed to reset iCE",
    ),
    (
        "icebreaker",
        "iceprog",
        "init..\ncdone: high\nWrite error (single byte, rc=-4, expected 1).\nABORT.",
        STUCK,
        "rc=-4",
    ),
    (
        "icebreaker",
        "iceprog",
        "libusb: error [get_usbfs_fd] libusb couldn't open USB device /dev/bus/usb/001/004, errno=13\n" + ICE,
        PERMISSION,
        "errno=13",
    ),
    ("icebreaker", "iceprog", "iceprog: Resource busy", BUSY, "Resource busy"),
    (
        "ulx3s-85f",
        "fujprog",
        "ULX2S / ULX3S JTAG programmer v4.8\nFT_Open() failed\nCannot find JTAG cable.",
        CLOSED,
        "Cannot find JTAG cable.",
    ),
    (
        "ulx3s-85f",
        "fujprog",
        "ftdi_usb_open() failed (unable to claim usb device)\nCannot find JTAG cable.",
        BUSY,
        "unable to claim",
    ),
    (
        "icebreaker",
        "iceprog",
        "cdone: low\nflash ID: 0xFF 0xFF 0xFF\nFound difference between flash and file!\nABORT.",
        SILENT,
        "flash ID: 0xFF 0xFF 0xFF",
    ),
    ("icestick", "iceprog", "flash ID: 0x00 0x00 0x00 0x00\nVERIFY FAILED", SILENT, "0x00 0x00"),
    ("ulx3s-25f", "ofl", "JEDEC ID: 0xffffff\nFail", SILENT, "JEDEC ID: 0xffffff"),
    (
        "icebreaker",
        "iceprog",
        "cdone: low\nflash ID: 0xEF 0x40 0x18 0x00\nFound difference between flash and file!\nABORT.",
        VERIFY,
        "Found difference between flash and file!",
    ),
    (
        "icebreaker",
        "iceprog",
        "flash ID: 0xFF 0x40 0x18\nreading..\nVERIFY FAILED\nBye.",
        VERIFY,
        "VERIFY FA",
    ),
    ("icebreaker", "iceprog", "init..\nreset..\ncdone: low\nABORT.", UNCONFIGURED, "cdone: low"),
    (
        "icebreaker",
        "iceprog",
        "cdone: low\nflash ID: 0xEF 0x40 0x18\nfile size: 9",
        "(exit status 1)",
        "size: 9",
    ),
    ("9k", "ofl", "/usr/bin/env: 'python9': No such file or directory", INTERPRETER, "'python9'"),
    (
        "ecpix5-45f",
        "ofl",
        "Open file: DONE\nParse file: FAIL\nError: Failed to parse",
        "failed (exit status 1)",
        "Error: Failed to parse",
    ),
    ("icebreaker", "iceprog", "", "failed (exit status 1)", "no message"),
]


@pytest.mark.parametrize("board, tool, text, means, shown", SAID)
def test_what_a_programmer_says(bitstream, tmp_path, monkeypatch, capsys, board, tool, text, means, shown):  # noqa: F811
    board, tool = (str(SHORT.get(word, word)) for word in (board, tool))
    script(tmp_path, tool, f"import sys; print({text!r}, file=sys.stderr); sys.exit(1)")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr("xnorcore_boards.build.flash.may_open", lambda *_: None)
    code, out, err = run(capsys, "program", board, "--bitstream", bitstream)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert means in err and shown in err and "\\x1b" not in err
    assert [other for other in ALL if other in err and other != means] == []


def programmed(bitstream, tmp_path, monkeypatch, capsys, code):  # noqa: F811
    """What is said when iceprog is this script."""
    script(tmp_path, "iceprog", code)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setattr("xnorcore_boards.build.flash.may_open", lambda *_: None)
    return run(capsys, "program", "icebreaker", "--bitstream", bitstream)


@pytest.mark.parametrize(
    "end, told",
    [
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "iceprog was ended by SIGSEGV: Segmentation fault, a fault of",
        ),
        ("os.kill(os.getpid(), signal.SIGILL)", "ended by SIGILL: Illegal instruction, a fault of its own"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL: Killed; perhaps for want of memory"),
        (
            "os.kill(os.getpid(), signal.SIGTERM)",
            "ended by SIGTERM: Terminated; the board may hold half of it",
        ),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 1)", "ended by signal 35, a fault of its own"),
        ("sys.exit(139)", "ended by SIGSEGV: Segmentation fault"),
        ("sys.exit(255)", "iceprog failed (exit status 255)"),
    ],
)
def test_a_programmer_that_a_signal_ends(bitstream, tmp_path, monkeypatch, capsys, end, told):  # noqa: F811
    text = f"import os, signal, sys; print('cdone: low', 'erase..', sep=chr(10), flush=True); {end}"
    code, out, err = programmed(bitstream, tmp_path, monkeypatch, capsys, text)
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert told in err and "(iceprog: erase..)" in err and "-11" not in err


def test_an_fpga_that_stays_unconfigured_is_no_success(bitstream, tmp_path, monkeypatch, capsys):  # noqa: F811
    text = "print('cdone: {}', 'reset..', 'cdone: {}', 'Bye.', sep=chr(10))"
    code, out, err = programmed(bitstream, tmp_path, monkeypatch, capsys, text.format("high", "low"))
    assert (code, out) == (2, "") and UNCONFIGURED in err and "(iceprog: cdone: low)" in err
    assert programmed(bitstream, tmp_path, monkeypatch, capsys, text.format("low", "high"))[0] == 0


@pytest.mark.parametrize(
    "content, told",
    [
        (b"#!/nowhere/python3 -E\n", "asks for '/nowhere/python3', which is not there; install that"),
        (b"#! /bin/sh\r\n", "asks for '/bin/sh\\r', which is not there"),
        (b"\x7fELF nonsense", "is no program for this computer"),
        (b"#!/etc\n", "no permission to run"),
    ],
)
def test_a_programmer_that_does_not_start(bitstream, tmp_path, monkeypatch, capsys, content, told):  # noqa: F811
    path = tmp_path / "iceprog"
    path.write_bytes(content)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    code, out, err = run(capsys, "program", "icebreaker", "--bitstream", bitstream)
    assert (code, out) == (2, "") and "iceprog does not start: " in err and len(err.splitlines()) == 1
    assert told in err and os.fspath(path) in err


def test_a_tool_that_does_not_start_or_crashes(tmp_path):
    tool = Tool("yosys", ("/nowhere/yosys",), "1")
    with pytest.raises(BuildError, match=r"yosys does not start: no such program: /nowhere/yosys$"):
        run_tool(tool, [], tmp_path, "log")
    tool = Tool("yosys", (sys.executable, "-c", "import os; os.abort()"), "1")
    with pytest.raises(BuildError, match=r"yosys failed \(ended by SIGABRT: Aborted\): .*its log is"):
        run_tool(tool, [], tmp_path, "log")


def test_permission_comes_with_the_rule(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    told = explain(find_board("ulx3s-25f"), "openFPGALoader", 1, FTDI.format("-4 (usb_open() failed)"))
    assert "/etc/udev/rules.d/70-xnorcore.rules" in told and "udevadm control --reload" in told
    rule = 'SUBSYSTEM=="usb", ATTR{idVendor}=="0403", ATTR{idProduct}=="6015", MODE="0660", TAG+="uaccess"'
    assert udev_rule("0403", "6015") == rule and rule in told
    assert rule in explain(find_board("ulx3s-25f"), "fujprog", 1, "Cannot find JTAG cable.")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "udev" not in explain(find_board("icebreaker"), "iceprog", 1, ICE)


@pytest.mark.parametrize(
    "text, there, means",
    [
        (ICE, {}, ABSENT),
        (ICE, {"001/004": False}, PERMISSION),
        (ICE, {"001/004": True}, BUSY),
        (FTDI.format("-3 (device not found)"), {"001/004": False}, PERMISSION),
        (FTDI.format("-4 (usb_open() failed)"), {"001/004": True}, BUSY),
        (FTDI.format("-4 (usb_open() failed)"), {"001/004": False, "001/005": True}, PERMISSION),
        (FTDI.format("-5 (unable to claim usb device.)"), {"001/004": True}, BUSY),
    ],
)
def test_the_system_settles_what_a_programmer_leaves_open(text, there, means):
    assert means in explain(find_board("icebreaker"), "iceprog", 1, text, there)


def test_devices_of_linux(tmp_path, monkeypatch):
    assert may_open("0403", "6010", tmp_path) is None
    for name, product, number in (("1-1", "6010", "4"), ("1-2", "6015", "5"), ("1-2:1.0", "", "")):
        device = tmp_path / "sys/bus/usb/devices" / name
        device.mkdir(parents=True)
        if product:
            values = {"idVendor": "0403", "idProduct": product, "busnum": "1", "devnum": number}
            for key, value in values.items():
                (device / key).write_text(value + "\n")
    asked = []
    monkeypatch.setattr("xnorcore_boards.build.usb.os.access", lambda path, mode: bool(asked.append(path)))
    assert may_open("0403", "6010", tmp_path) == {"001/004": False}
    assert asked == [tmp_path / "dev/bus/usb/001/004"]
    assert may_open("1234", "6010", tmp_path) == {}
    (tmp_path / "sys/bus/usb/devices/1-1/busnum").write_text("x")
    assert may_open("0403", "6010", tmp_path) is None


def test_a_bitstream_of_another_board(bitstream, tmp_path, capsys):  # noqa: F811
    (tmp_path / "build.json").write_text('{"board": "icebreaker"}')
    code, _, err = run(capsys, "program", "icestick", "--bitstream", bitstream)
    assert code == 2 and "was built for the board 'icebreaker', not for 'icestick'" in err
    (tmp_path / "build.json").write_text("[]")
    assert "was built for" not in run(capsys, "program", "icestick", "--bitstream", bitstream)[2]


@pytest.mark.parametrize(
    "word, meant",
    [("ICEBREAKER", "icebreaker"), ("ice breaker", "icebreaker"), ("tang nano 9k", "tang-nano-9k"),
     ("zzz", ""), ("x" * 10_000_000, ""), ("", "")],
)  # fmt: skip
def test_nearest_board(word, meant):
    known = ("icebreaker", "icestick", "tang-nano-9k", "tang-nano-20k", "ulx3s-25f")
    assert did_you_mean(word, known) == (f'; did you mean "{meant}"?' if meant else "")
