"""Boards that are plugged in, with stand-ins for the system's list of ports and for what is on them."""

import json
from types import SimpleNamespace

import pytest

from xnorcore.cli import main
from xnorcore.errors import PortError, UsageError
from xnorcore.link import found
from xnorcore.link.transport import open_transport
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import open_machine

Paths = tuple[str, ...]


class Silent:
    """A port of something else: takes everything, says nothing."""

    name, baud = "silent", 3_000_000

    def __init__(self) -> None:
        self.time = 0.0

    def write(self, data: bytes) -> None:
        pass

    def read(self, timeout: float) -> bytes:
        self.time += timeout
        return b""

    def now(self) -> float:
        return self.time

    def discard(self) -> None:
        pass

    def close(self) -> None:
        pass


def port(path: str, usb: tuple[int, int] | None, number: str | None = None) -> SimpleNamespace:
    vid, pid = usb or (None, None)
    return SimpleNamespace(device=path, vid=vid, pid=pid, serial_number=number)


FTDI, OTHER = (0x0403, 0x6010), (0x1234, 0x0001)


@pytest.fixture
def plug(monkeypatch):
    def set_up(
        *there: SimpleNamespace, answering: tuple[str, ...] = (), busy: tuple[str, ...] = ()
    ) -> list[str]:
        opened: list[str] = []

        def open_serial(spec, progress=None):
            opened.append(spec)
            path = spec.partition("?")[0]
            if path in busy:
                raise PortError(f"{path} is in use by another program")
            return open_machine("rows=1") if path in answering else Silent()

        monkeypatch.setattr(found.list_ports, "comports", lambda: list(there))
        monkeypatch.setattr(found, "open_serial", open_serial)
        return opened

    return set_up


def test_the_port_that_answers_is_opened(plug):
    opened = plug(
        port("/dev/ttyUSB0", FTDI, "A1"), port("/dev/ttyUSB1", FTDI, "A1"), port("/dev/ttyACM0", OTHER),
        port("/dev/ttyS0", None), answering=("/dev/ttyUSB1",),
    )  # fmt: skip
    said: list[str] = []
    for url in ("auto", "auto:", "auto:serial=A1"):
        with Accelerator.open(url, progress=lambda told: said.append(told.message)) as accelerator:
            assert accelerator.info.config.geometry.rows == 1
    # What is of no board is left alone: a byte may upset it.
    assert not any(spec.startswith(("/dev/ttyACM0", "/dev/ttyS0")) for spec in opened)
    assert any("icebreaker" in text and "/dev/ttyUSB1" in text for text in said)


def test_several_and_none_are_told(plug):
    ports = port("/dev/ttyUSB0", FTDI, "A1"), port("/dev/ttyUSB1", FTDI, "B2")
    plug(*ports, answering=("/dev/ttyUSB0", "/dev/ttyUSB1"))
    with pytest.raises(UsageError, match=r"2 devices answer: /dev/ttyUSB0 .serial=A1.*serial=B2"):
        open_transport("auto")
    open_transport("auto:serial=B2").close()
    plug(*ports, busy=("/dev/ttyUSB0",))
    with pytest.raises(PortError, match=r"no device found .*ttyUSB0 is in use"):
        open_transport("auto")
    plug(port("/dev/ttyACM0", OTHER), answering=("/dev/ttyACM0",))
    with pytest.raises(PortError, match="no port has the USB numbers of a board"):
        open_transport("auto")
    for url in ("auto:what", "auto:baud=3", "auto:serial=A1&x=1"):
        with pytest.raises(UsageError, match="known: serial=NUMBER"):
            open_transport(url)


def test_devices(plug, capsys):
    opened = plug(
        port("/dev/ttyUSB1", FTDI, "A1\n\x1b[31m"), port("/dev/ttyACM0", OTHER), answering=("/dev/ttyUSB1",)
    )
    assert main(["devices", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    board, other = value["ports"]
    assert (board["port"], board["answers"], board["serial"]) == ("/dev/ttyUSB1", True, "A1[31m")
    assert "icebreaker" in board["boards"] and board["baud"] == 3_000_000
    assert (other["boards"], other["answers"]) == ([], False)
    opened.clear()
    assert main(["devices", "--list"]) == 0 and not opened
    assert "/dev/ttyACM0" in capsys.readouterr().out
    plug()
    assert main(["devices"]) == 0 and "no serial port on USB" in capsys.readouterr().out
