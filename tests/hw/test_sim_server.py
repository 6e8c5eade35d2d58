import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import serial
from amaranth.hdl import Module

from xnorcore.errors import GeometryError, UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.transport import Transport
from xnorcore_hw.sim import compiled, server, transport
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.server import PtyServer, serve
from xnorcore_hw.sim.transport import SimOptions, SimTransport, open_sim

from .stand_ins import Device

CONFIG = DeviceConfig(Geometry(1, 4, 8))


class Wire(Device):
    """Stand-in for the accelerator: what comes in goes out."""

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.device_to_host.payload.eq(self.host_to_device.payload),
            self.device_to_host.valid.eq(self.host_to_device.valid),
            self.host_to_device.ready.eq(self.device_to_host.ready),
        ]
        m.d.sync += self.uart_tx.eq(self.uart_rx)
        return m


@pytest.fixture(scope="module", autouse=True)
def cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XNORCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(compiled, "standard_top", Wire)
        yield


# The transport


def frame(device):
    data = device.read(1)
    while data and not data.endswith(b"\0"):
        data += device.read(1)
    return data


@pytest.mark.parametrize("engine", ["compiled", "amaranth"])
@pytest.mark.parametrize("link", ["direct", "uart"])
def test_transport(engine, link, monkeypatch):
    monkeypatch.setattr("xnorcore_hw.sim.amaranth_engine.standard_top", Wire)
    device = open_sim(f"columns=4,width=8,link={link},engine={engine},clock_hz=1000000,baud=200000")
    assert isinstance(device, Transport)
    assert (device.divisor, device.link, device.config) == (5, link, CONFIG)
    assert device.now() == 0
    device.write(b"hello\0again\0")
    assert frame(device) == b"hello\0"
    assert device.cycles < 400
    assert frame(device) == b"again\0"
    assert device.read(0) == b""
    before = device.now()
    assert device.read(0.001) == b""
    assert device.now() - before == pytest.approx(0.001)
    device.discard()
    device.close()
    device.close()


def test_long_waits_are_sliced():
    class Engine:
        cycles = 0
        longest = 0

        def run(self, max_cycles):
            self.cycles += max_cycles
            self.longest = max(self.longest, max_cycles)
            return b"x" if self.cycles > 10**6 else b""

    engine = Engine()
    device = SimTransport(SimOptions(), engine)  # type: ignore[arg-type]
    assert device.read(1) == b"x"
    assert engine.longest <= 100_000


def test_defaults():
    options = SimOptions.parse("")
    assert options == SimOptions(DeviceConfig(), "direct", "compiled", 12_000_000, 3_000_000)
    assert options.divisor == 4
    assert SimOptions.parse("clock_hz=10000000").baud == 2_500_000
    assert SimOptions.parse("rows=2, act_depth=4096").config == DeviceConfig(Geometry(2), act_depth=4096)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("speed=9", "unknown option 'speed=9' of sim:; known: board, rows, columns, width, .*, baud"),
        ("rows", "unknown option 'rows' of sim:"),
        ("rows=1,rows=2", "option rows of sim: is given twice: 1 and 2"),
        ("rows=two", "option rows of sim: is 'two', but must be a whole number"),
        ("link=usb", "link is 'usb', but must be one of: direct, uart"),
        ("engine=fpga", "engine is 'fpga', but must be one of: compiled, amaranth"),
        ("clock_hz=0", "clock_hz is 0, but must be 1 to 1000000000"),
        ("clock_hz=3", "clock_hz is 3, which no baud rate divides by 4 or more"),
        (
            "baud=2000001",
            "baud is 2000001, but must divide clock_hz 12000000 into 4 to 65535 whole cycles per bit; "
            "nearest legal: 2000000 and 2400000",
        ),
        ("baud=6000000", "nearest legal: 3000000$"),
        ("baud=0", "option baud of sim: is 0; leave it out for the default"),
    ],
)
def test_bad_options(spec, message):
    with pytest.raises(UsageError, match=message):
        SimOptions.parse(spec)


def test_bad_size():
    with pytest.raises(GeometryError, match="rows is 9, but must be 1 to 8"):
        SimOptions.parse("rows=9")


# The pseudo-terminal


class Running:
    """A server in a thread."""

    def __init__(self, engine=None, **options):
        self.server = PtyServer(engine or CompiledEngine(CONFIG, 1, top=Wire), **options)
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop:
            self.server.step(0.02)

    def __enter__(self):
        return self.server

    def __exit__(self, *_):
        self._stop = True
        self._thread.join()
        self.server.close()


def exchange(port, data):
    writer = threading.Thread(target=port.write, args=(data,))
    writer.start()
    received = bytearray()
    while len(received) < len(data):
        part = port.read(min(4096, len(data) - len(received)))
        assert part, f"{len(received)} of {len(data)} bytes came back"
        received += part
    writer.join()
    return bytes(received)


@pytest.mark.parametrize("baud", [9600, 3_000_000])
def test_every_byte_value_survives_reopening(baud):
    with Running() as running:
        for _ in range(3):
            with serial.Serial(running.path, baud, timeout=5, exclusive=True) as port:
                assert exchange(port, bytes(range(256)) * 4) == bytes(range(256)) * 4


def test_no_byte_is_lost_under_backpressure(monkeypatch):
    monkeypatch.setattr(server, "_OUT_LIMIT", 4096)
    monkeypatch.setattr(server, "_IN_LIMIT", 4096)
    data = random.Random(2).randbytes(200_000)
    with Running() as running, serial.Serial(running.path, timeout=5) as port:
        writer = threading.Thread(target=port.write, args=(data,))
        writer.start()
        time.sleep(0.3)  # nobody reads: the device has to stop taking
        assert writer.is_alive()
        assert len(running._out) < 10_000
        received = b""
        while len(received) < len(data):
            received += port.read(max(1, min(port.in_waiting, len(data) - len(received))))
        writer.join()
        assert received == data


def test_quiet_device_does_not_run():
    engine = CompiledEngine(CONFIG, 1, top=Wire)
    with Running(engine, slice_cycles=1000, quiet_cycles=5000) as running:
        assert not running.busy
        with serial.Serial(running.path, timeout=5) as port:
            assert exchange(port, b"a\0b") == b"a\0b"
        deadline = time.monotonic() + 5
        while running.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        cycles = engine.cycles
        assert cycles < 20_000
        used = time.process_time()
        time.sleep(0.2)
        assert engine.cycles == cycles
        assert time.process_time() - used < 0.1


def test_serve_stops():
    paths, stop = [], threading.Event()
    options = SimOptions(CONFIG)
    thread = threading.Thread(target=serve, args=(options,), kwargs={"announce": paths.append, "stop": stop})
    thread.start()
    deadline = time.monotonic() + 10
    while not paths and time.monotonic() < deadline:
        time.sleep(0.01)
    with serial.Serial(paths[0], timeout=5) as port:
        assert exchange(port, b"served\0") == b"served\0"
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


def test_ctrl_c_ends_serve_cleanly():
    program = (
        "from xnorcore_hw.sim import server\n"
        "class E:\n"
        "    cycles = pending = 0\n"
        "    def run(self, n): return b''\n"
        "    def close(self): print('closed', flush=True)\n"
        "class O:\n"
        "    engine = 'compiled'\n"
        "    def open_engine(self, progress): return E()\n"
        "server.serve(O(), announce=lambda path: print(path, flush=True))\n"
        "print('done', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        path = child.stdout.readline().strip()
        assert Path(path).exists()
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=10)
    assert rest.split()[-1] == "done"
    assert "closed" in rest
    assert child.returncode == 0


def test_no_pseudo_terminals(monkeypatch):
    monkeypatch.delattr(os, "openpty")
    with pytest.raises(UsageError, match="serve-sim needs pseudo-terminals"):
        PtyServer(CompiledEngine(CONFIG, 1, top=Wire))


def test_divisors_are_complete():
    clock = 12_000
    expected = [d for d in range(4, clock + 1) if clock % d == 0]
    assert transport._divisors(clock) == expected
