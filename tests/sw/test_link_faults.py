"""What the operating system and pyserial may raise, at every call: one error of ours, in words."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from xnorcore import errors
from xnorcore.cli import main
from xnorcore.errors import DisconnectedError, LinkError, LinkTimeoutError, PortError
from xnorcore.link import open_transport, serial_port, system_words
from xnorcore.link.serial_port import SerialTransport
from xnorcore.link.session import Session

from .cli_tools import write_inputs

RAISED: list[Exception] = [
    termios.error(errno.EIO, "Input/output error"),
    termios.error(errno.EINVAL, "Invalid argument"),
    termios.error("odd"),
    termios.error(),
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ENODEV, "No such device"),
    OSError("odd"),
    serial.SerialException("read failed: [Errno 5] Input/output error"),
    serial.PortNotOpenError(),
    TypeError("'NoneType' object cannot be interpreted as an integer"),
    ValueError("filedescriptor out of range in select()"),
]


@pytest.fixture
def port() -> Iterator[str]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


class Fake:
    """A port of which one call fails."""

    def __init__(self, failing: str, error: Exception) -> None:
        self.failing, self.error, self.closed = failing, error, False

    def _do(self, name: str) -> None:
        if name == self.failing:
            raise self.error

    @property
    def in_waiting(self) -> int:
        self._do("in_waiting")
        return 3

    def read(self, size: int) -> bytes:
        self._do("read")
        return bytes(size)

    def write(self, data: bytes) -> int:
        self._do("write")
        return len(data)

    def reset_input_buffer(self) -> None:
        self._do("reset_input_buffer")

    def close(self) -> None:
        self._do("close")
        self.closed = True


USES: dict[str, Callable[[SerialTransport], object]] = {
    "in_waiting": lambda transport: transport.read(0.1),
    "read": lambda transport: transport.read(0.1),
    "write": lambda transport: transport.write(b"x"),
    "reset_input_buffer": lambda transport: transport.discard(),
}


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize("call", USES)
def test_every_call_may_fail(monkeypatch: pytest.MonkeyPatch, call: str, error: Exception) -> None:
    monkeypatch.setattr(serial, "Serial", lambda *_, **__: Fake(call, error))
    transport = serial_port.open_serial("/dev/ttyX")
    with pytest.raises(
        DisconnectedError, match=r"^serial:/dev/ttyX is gone \(.+\); check the cable"
    ) as caught:
        USES[call](transport)
    assert "\n" not in str(caught.value) and "[Errno" not in str(caught.value).partition("failed")[0]
    with pytest.raises(DisconnectedError):
        Session(transport).synchronise() if call != "reset_input_buffer" else transport.discard()


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_closing_a_port_that_is_gone_is_quiet(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(serial, "Serial", lambda *_, **__: Fake("close", error))
    serial_port.open_serial("/dev/ttyX").close()


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_opening_may_fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(PortError, match="/dev/ttyX"):
        open_transport("serial:/dev/ttyX")


def test_a_write_timeout_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    error = serial.SerialTimeoutException("Write timeout")
    monkeypatch.setattr(serial, "Serial", lambda *_, **__: Fake("write", error))
    with pytest.raises(LinkTimeoutError, match="took no bytes for 10 s"):
        serial_port.open_serial("/dev/ttyX").write(b"x")


# pyserial itself, over a pseudo-terminal, of which the system refuses one call

SYSTEM: dict[str, tuple[Any, str]] = {
    "open": (os, "open"),
    "lock": (fcntl, "flock"),
    "read the settings": (termios, "tcgetattr"),
    "set rate and mode": (termios, "tcsetattr"),
    "drop the input": (termios, "tcflush"),
    "set the lines": (fcntl, "ioctl"),
}


def fail(monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    """Let a call of the system's fail from now on, as it does."""
    module, name = SYSTEM[call]
    real = getattr(module, name)

    def failing(first: Any, *rest: Any, **named: Any) -> Any:
        if name == "open" and "/pts/" not in str(first):
            return real(first, *rest, **named)
        raise (termios.error if module is termios else OSError)(code, os.strerror(code))

    monkeypatch.setattr(module, name, failing)


@pytest.mark.parametrize("call", SYSTEM)
def test_the_cable_is_pulled_while_opening(monkeypatch: pytest.MonkeyPatch, port: str, call: str) -> None:
    fail(monkeypatch, call, errno.EIO)
    message = (
        rf"^{port} cannot be opened .*: no device answers there, or it was unplugged \(EIO\); plug it in"
    )
    with pytest.raises(PortError, match=message):
        open_transport(f"serial:{port}")
    monkeypatch.undo()
    open_transport(f"serial:{port}").close()  # nothing was left open and locked


@pytest.mark.parametrize("baud", [115_200, 2_999_999])
def test_a_rate_that_the_driver_refuses(monkeypatch: pytest.MonkeyPatch, port: str, baud: int) -> None:
    # 2,999,999 has no constant: pyserial sets it by an ioctl, of whose failure it makes a ValueError.
    fail(monkeypatch, "set rate and mode" if baud == 115_200 else "set the lines", errno.EINVAL)
    with pytest.raises(
        PortError, match=rf"^serial port {port} cannot run at {baud} baud; choose another \?baud="
    ):
        open_transport(f"serial:{port}?baud={baud}")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            errno.EACCES,
            r"^no permission to open {}; add yourself to .* sudo usermod -aG \S+ \$USER, and",
        ),
        (errno.EPERM, "^no permission to open {}; add yourself to the group"),
        (errno.ENOENT, "^serial port {} does not exist; ports found: "),
        (errno.EBUSY, "^serial port {} is in use by another program; close that program first"),
        (errno.ENODEV, r"no device answers there, or it was unplugged \(ENODEV\); plug it in again"),
        (errno.ENXIO, r"no device answers there, or it was unplugged \(ENXIO\); plug it in again"),
        (errno.EPROTO, r"the device's USB link failed \(EPROTO\); plug it in again"),
        (errno.EMFILE, r"this program has too many files open \(EMFILE\)$"),
        (errno.EISDIR, r"it is a directory \(EISDIR\)$"),
        (errno.ENOSYS, r"Function not implemented \(ENOSYS\)$"),
    ],
)
def test_words_of_linux_are_explained(
    monkeypatch: pytest.MonkeyPatch, port: str, code: int, message: str
) -> None:
    fail(monkeypatch, "open", code)
    with pytest.raises(PortError, match=message.format(port)):
        open_transport(f"serial:{port}")


def test_the_group_is_the_port_s_own(tmp_path: Path) -> None:
    import grp

    denied = OSError(errno.EACCES, "Permission denied")
    file = tmp_path / "port"
    file.touch()
    group = file.stat().st_gid
    # Nobody is told to join the group of root.
    own = grp.getgrgid(group).gr_name if group else "often dialout"
    text = system_words.explain(str(file), 9600, denied)
    assert f"the group that owns it ({own})" in text
    assert f"usermod -aG {own.removeprefix('often ')} $USER" in text
    assert "(often dialout)" in system_words.explain("/dev/no-such-port", 9600, denied)


@pytest.mark.parametrize("call", ["drop the input", "set the lines", "wait", "read", "write"])
def test_the_cable_is_pulled_later(monkeypatch: pytest.MonkeyPatch, port: str, call: str) -> None:
    transport = serial_port.open_serial(port)
    lost = OSError(errno.EIO, "Input/output error")

    def raise_lost(*_: Any) -> Any:
        raise lost

    if call in SYSTEM:
        fail(monkeypatch, call, errno.EIO)
    elif call == "wait":
        monkeypatch.setattr(select, "select", raise_lost)
    else:
        monkeypatch.setattr(os, call, raise_lost)
        if call == "read":
            monkeypatch.setattr(select, "select", lambda r, w, x, t: (r[:1], w, []))
    message = r"is gone \(no device answers there, or it was unplugged \(EIO\)\); check the cable"
    with pytest.raises(DisconnectedError, match=message):
        if call == "drop the input":
            transport.discard()
        elif call == "write":
            transport.write(b"x")
        else:
            transport.read(0.2)
    monkeypatch.undo()
    transport.close()


def test_the_command_line_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, port: str, tmp_path: Path, capsys: Any
) -> None:
    inputs = write_inputs(tmp_path)
    fail(monkeypatch, "set rate and mode", errno.EIO)
    code = main(["run", *inputs, "--port", f"serial:{port}", "-o", str(tmp_path / "out.npy")])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.count("\n") == 1 and "it was unplugged (EIO)" in err


def test_ports_that_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(system_words.list_ports, "comports", gone)
    assert system_words.found_ports() == "none"
    with pytest.raises(PortError, match="does not exist; ports found: none"):
        open_transport("serial:/dev/ttyNone99")
    assert issubclass(PortError, LinkError) and issubclass(errors.DisconnectedError, LinkError)
