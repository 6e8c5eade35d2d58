"""What a programmer's failure means, told from its own words: who must do what."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Mapping

from ..board import Board
from ..process import how_it_ended, signal_of
from .usb import RULES, udev_rule

__all__ = ["explain", "unconfigured"]

# In this order: what a later line says may be the consequence of what an earlier one says. libftdi's numbers:
# -3 no such device, -4 not allowed to open it, -5 somebody else has it, -6 and -7 it does not answer.
_MEANINGS = (
    ("interpreter", r"\benv: .*no such file or directory|bad interpreter"),
    ("library", r"shared librar|library not (?:found|loaded)|image not found|version `[\w.]+' not found"),
    ("unknown", r"(?:cannot|can't) find (?:board|cable) '|(?:board|cable) .* (?:not |un)supported"),
    ("silent", r"flash id:(?:(?: 0xff){3}|(?: 0x00){3})|jedec id: 0x(?:f{6}|0{6})\b"),
    ("verify", r"verify (?:write )?fail|verification fail|difference between flash and file"),
    ("wrong", r"unknown device with idcode|mismatch between .*idcode"),
    ("permission", r"\bdevice: -4 |libusb_error_access|permission|access denied|errno=13|not permitted"),
    ("busy", r"\bdevice: -5 |libusb_error_busy|\bbusy\b|unable to claim|claim interface|temporarily"),
    ("stuck", r"\bdevice: -[678] |failed to (?:reset|purge|get latency|set latency|set bitmode)|"
              r"\breset failed|libusb_error_(?:timeout|io|pipe)|(?:read|write) error|timed? ?out"),
    ("absent", r"\bdevice: -3 |libusb_error_no_device|no (?:such )?device|device not found|found 0 "),
    # iceprog and fujprog say this whatever kept them from opening the device.
    ("closed", r"can't find ice ftdi|cannot find jtag cable|unable to open|can't open|entity not found"),
)  # fmt: skip
_EMPTY = re.compile(
    r"abort\.|bye\.|init\.\.|jtag init failed with: unable to open .*|fail|done", re.IGNORECASE
)
_CDONE = re.compile(r"cdone: (\w+)")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST = 200


def explain(board: Board, tool: str, code: int, output: str, there: Mapping[str, bool] | None = None) -> str:
    """Return one line that says why a board was not programmed, with the programmer's own reason.

    Parameters
    ----------
    board : Board
    tool : str
        Name of the programmer.
    code : int
        Its exit status.
    output : str
        All that it said.
    there : mapping of str to bool, optional
        What the system says of devices of the board's kind (`usb.may_open`); it settles what the tool leaves
        open.
    """
    lines = [line for line in (_ESCAPE.sub("", line).strip() for line in output.splitlines()) if line]
    meaning, reason = _understand(lines, code)
    if meaning in ("absent", "closed") and there is not None:
        if not there:
            meaning = "absent"
        elif not any(there.values()):
            meaning = "permission"
        elif meaning == "closed":
            meaning = "busy"
    if meaning == "permission" and there and all(there.values()):
        meaning = "busy"
    return f"{_advice(board, tool, code, meaning, reason)} ({tool}: {reason})"


def unconfigured(output: str) -> bool:
    """Return whether a programmer's last words of the FPGA are that it is not configured: iceprog's CDONE."""
    return _CDONE.findall(output)[-1:] == ["low"]


def _understand(lines: list[str], code: int) -> tuple[str, str]:
    for meaning, words in _MEANINGS:
        pattern = re.compile(words, re.IGNORECASE)
        if found := [line for line in lines if pattern.search(line)]:
            return meaning, found[0][:_LONGEST]
    telling = [line for line in lines if not _EMPTY.fullmatch(line)]
    # iceprog holds the FPGA in reset while it writes: of a failure, only the end is a complaint.
    if unconfigured("\n".join(telling[-1:] if code else telling)):
        return "unconfigured", [line for line in telling if _CDONE.search(line)][-1]
    errors = [line for line in telling if re.search(r"error|fail|cannot|can't|unable", line, re.IGNORECASE)]
    return "", ([*lines[-1:], *telling[-1:], *errors[-1:]] or ["no message"])[-1][:_LONGEST]


def _advice(board: Board, tool: str, code: int, meaning: str, reason: str) -> str:
    vendor, product = board.usb
    rule = "give this user the right to its USB device"
    if sys.platform.startswith("linux"):
        rule = (
            f"write this udev rule to {RULES}: {udev_rule(vendor, product)} ; then run: "
            "sudo udevadm control --reload && sudo udevadm trigger"
        )
    title = board.title
    match meaning:
        case "library":
            name = re.search(r"\blib[\w+-]*\.(?:so|\d|dylib)[\w.]*|GLIBC\w*[\d.]+", reason)
            what = name.group() if name else "a library"
            return (
                f"{tool} does not start for want of {what}; install that, or {tool} anew with its libraries"
            )
        case "interpreter":
            return f"the first line of {tool} asks for an interpreter that is not there; install that"
        case "silent":
            return (
                f"{title}: its flash memory does not answer; take the board's power away and give it back, "
                "look whether a jumper or another board is on the flash's pins, and try again"
            )
        case "verify":
            return (
                f"{title}: its flash memory does not hold what was written; try again, with another cable "
                "and without a hub; if it stays so, the flash is write-protected or worn out"
            )
        case "unconfigured":
            return (
                f"{title}: the FPGA did not take the bitstream (CDONE is low); build it anew for this board, "
                f"take the board's power away and give it back, and see that its FPGA is {board.part.name}"
            )
        case "unknown":
            return f"this {tool} does not know the {title}; install a newer one"
        case "wrong":
            return (
                f"the FPGA that answers is not the {title}'s {board.part.name}, or the cable garbles its "
                "answer; check which board is connected, and the name given to xnorcore program"
            )
        case "permission":
            return f"{title}: no permission for its USB device {vendor}:{product}; {rule}"
        case "busy":
            return (
                f"{title}: its USB device is in use; close the program that has it (a terminal, another "
                "programmer), or unload the driver that does"
            )
        case "stuck":
            return (
                f"{title}: its USB device does not answer as it should (a reset failed, or a transfer); take "
                "the cable out and back in, without a hub, and try again"
            )
        case "absent":
            return (
                f"{title}: not found on USB as {vendor}:{product}; plug it in, with a cable that carries data"
            )
        case "closed":
            return (
                f"{title}: no USB device {vendor}:{product} that can be opened; if lsusb does not list it, "
                "plug it in; if it does, either another program has it, or there is no permission: "
                f"{rule}"
            )
    return _failed(tool, code)


def _failed(tool: str, code: int) -> str:
    """A failure that the programmer's words do not explain."""
    ended, number = how_it_ended(code), signal_of(code)
    if not number:
        return f"{tool} failed ({ended})"
    if number == getattr(signal, "SIGKILL", 9):
        return f"{tool} was {ended}; perhaps for want of memory; start it again"
    if number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", 1)):
        return f"{tool} was {ended}; the board may hold half of it: start it again"
    return f"{tool} was {ended}, a fault of its own; install another version of it, and start it again"
