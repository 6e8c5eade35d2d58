"""URL schemes, and serial transports over pseudo-terminals."""

from __future__ import annotations

import os
import threading
import time
import tty
from contextlib import closing
from importlib import metadata

import pytest
import serial

from xnorcore.errors import DisconnectedError, LinkTimeoutError, MissingDependencyError, PortError, UsageError
from xnorcore.link import Transport, open_transport, schemes, serial_port
from xnorcore.link.frames import Splitter, decode_request, encode_response
from xnorcore.link.serial_port import SerialTransport
from xnorcore.link.session import Session

from .fake_device import INFO


@pytest.fixture
def terminal():
    master, slave = os.openpty()
    tty.setraw(slave)
    open_ends = {master, slave}

    def close(end):
        if end in open_ends:
            open_ends.remove(end)
            os.close(end)

    yield master, os.ttyname(slave), close, slave
    for end in list(open_ends):
        close(end)


def test_the_schemes_of_the_package():
    assert {"serial", "pty", "sim"} <= set(schemes())


def test_url_errors():
    with pytest.raises(UsageError, match=r"device 'ttyUSB1' has no scheme; write SCHEME:REST with .*serial:"):
        open_transport("ttyUSB1")
    with pytest.raises(UsageError, match=r"unknown device scheme 'usb:' in 'usb:1'; known: .*pty:.*serial:"):
        open_transport("usb:1")


def test_a_bare_path_is_a_serial_port_at_the_usual_rate(terminal):
    _, path, *_ = terminal
    said = []
    with closing(open_transport(path, progress=said.append)) as transport:
        assert isinstance(transport, SerialTransport)
        assert (transport.name, transport.baud) == (f"serial:{path}?baud=3000000", 3_000_000)
    assert said == [f"{path}: serial, 3000000 baud; for another rate write serial:{path}?baud=N"]
    with closing(open_transport(f"{path}?baud=9600", progress=said.append)) as transport:
        assert isinstance(transport, SerialTransport) and transport.baud == 9600
    assert len(said) == 1


@pytest.mark.parametrize(
    "name",
    ["COM3", "com12", "/dev/by-path/pci-0000:00:14.0-port0", "./port", r"\\.\COM10", "/dev/nix?baud=9600"],
)
def test_names_of_ports_that_need_no_scheme(name):
    with pytest.raises(PortError, match=r"does not exist|cannot be opened"):
        open_transport(name)


def test_a_scheme_whose_package_is_missing(monkeypatch):
    entry = metadata.EntryPoint("far", "no_such_package.here:open_it", "xnorcore.transports")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    with pytest.raises(MissingDependencyError, match=r"far: needs the Python package 'no_such_package'.*pip"):
        open_transport("far:away")


def test_progress_reaches_the_opener(monkeypatch):
    calls = []
    entry = metadata.EntryPoint("far", "tests.sw.nowhere:f", "xnorcore.transports")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    monkeypatch.setattr(
        metadata.EntryPoint, "load", lambda self: lambda rest, progress: calls.append((rest, progress))
    )
    open_transport("far:a:b?c", progress=print)
    assert calls == [("a:b?c", print)]


@pytest.mark.parametrize("scheme", ["serial", "pty"])
def test_bytes_both_ways(terminal, scheme):
    master, path, _, _ = terminal
    transport = open_transport(f"{scheme}:{path}")
    assert isinstance(transport, Transport)
    assert transport.name == f"{scheme}:{path}"
    transport.write(bytes(range(256)))
    assert os.read(master, 1000) == bytes(range(256))
    os.write(master, bytes(range(255, -1, -1)))
    received = b""
    while len(received) < 256:
        received += transport.read(1.0)
    assert received == bytes(range(255, -1, -1))
    os.write(master, b"stale")
    time.sleep(0.02)
    transport.discard()
    assert transport.read(0.0) == b""
    before = transport.now()
    assert transport.read(0.12) == b""
    assert 0.1 <= transport.now() - before < 1.0
    transport.close()
    transport.close()


def test_read_returns_as_soon_as_something_is_there(terminal):
    master, path, _, _ = terminal
    transport = open_transport(f"pty:{path}")
    timer = threading.Timer(0.1, os.write, (master, b"late"))
    timer.start()
    before = time.monotonic()
    assert transport.read(10.0)
    assert time.monotonic() - before < 2
    timer.join()
    transport.close()


def test_baud_is_passed_on(terminal, monkeypatch):
    _, path, _, _ = terminal
    transport = open_transport(f"serial:{path}?baud=115200")
    assert isinstance(transport, serial_port.SerialTransport)
    assert transport.baud == transport._port.baudrate == 115200
    transport.close()
    transport = serial_port.open_serial(path)
    assert transport.baud == 3_000_000
    transport.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("serial:", "serial: names no port"),
        ("serial:/dev/ttyX?baud=fast", "baud is 'fast' in serial:/dev/ttyX.*300 to 100000000"),
        ("serial:/dev/ttyX?baud=", "baud is ''"),
        ("serial:/dev/ttyX?baud=10", "baud is '10'"),
        ("serial:/dev/ttyX?speed=9600", "unknown option 'speed' in '/dev/ttyX.speed=9600'; known: baud"),
        ("pty:/dev/pts/x?baud=9600", "unknown option 'baud' in .*; known: none"),
        ("pty:", "pty: names no path"),
    ],
)
def test_bad_options(url, message):
    with pytest.raises(UsageError, match=message):
        open_transport(url)


def test_absent_ports():
    with pytest.raises(PortError, match="serial port /dev/ttyNone99 does not exist; ports found: "):
        open_transport("serial:/dev/ttyNone99")
    with pytest.raises(PortError, match="/dev/pts/none does not exist; is xnorcore serve-sim running"):
        open_transport("pty:/dev/pts/none")


def test_a_busy_port(terminal):
    _, path, _, _ = terminal
    first = open_transport(f"serial:{path}")
    with pytest.raises(PortError, match=f"serial port {path} is in use by another program; close"):
        open_transport(f"serial:{path}")
    first.close()
    open_transport(f"serial:{path}").close()


def test_no_permission_and_odd_failures(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise serial.SerialException(13, "could not open port: Permission denied")

    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(PortError, match="cannot be opened as a serial port"):
        open_transport(f"serial:{file}")
    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(PortError, match=r"no permission to open /dev/ttyS0.*dialout"):
        open_transport("serial:/dev/ttyS0")


def test_unplugged(terminal):
    master, path, close, slave = terminal
    transport = open_transport(f"serial:{path}")
    close(slave)
    close(master)
    with pytest.raises(DisconnectedError, match=r"is gone .* check the cable and reopen"):
        transport.read(1.0)
    with pytest.raises(DisconnectedError):
        transport.write(b"hello")
    transport.close()
    with pytest.raises(DisconnectedError):
        transport.read(0.1)


def test_a_port_that_takes_no_bytes(terminal, monkeypatch):
    _, path, _, _ = terminal
    monkeypatch.setattr(serial_port, "WRITE_TIMEOUT", 0.2)
    transport = open_transport(f"serial:{path}")
    with pytest.raises(LinkTimeoutError, match=r"took no bytes for 0\.2 s"):
        transport.write(bytes([1]) * 1_000_000)
    transport.close()


def test_a_session_over_a_pseudo_terminal(terminal):
    master, path, close, slave = terminal
    splitter = Splitter()

    def device():
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                return
            for frame in splitter.feed(data):
                request = decode_request(frame)
                if request is not None:
                    command, tag, payload = request
                    os.write(master, encode_response(command, tag, INFO.pack() if command == 1 else payload))

    thread = threading.Thread(target=device)
    thread.start()
    session = Session(open_transport(f"serial:{path}"))
    assert session.synchronise() == INFO
    payloads = [os.urandom(200) for _ in range(50)]
    assert list(session.stream((2, payload) for payload in payloads)) == payloads
    session.close()
    close(slave)
    thread.join()
