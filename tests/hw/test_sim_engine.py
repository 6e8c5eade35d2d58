import gc
import os
import random
import stat
import sys
import threading
import warnings
from functools import partial
from itertools import zip_longest
from pathlib import Path

import pytest
from amaranth.hdl import Assert, Cat, Module, Mux, Signal, signed
from amaranth.lib import fifo, memory, wiring

from tests.campaigns import some
from xnorcore.errors import EngineError, UsageError
from xnorcore.files.cache import cache_directory
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.sim import cache, compiled
from xnorcore_hw.sim import toolchain as compiler
from xnorcore_hw.sim.amaranth_engine import AmaranthEngine
from xnorcore_hw.sim.compiled import CompiledEngine

from .stand_ins import Device

CONFIG = DeviceConfig(Geometry(1, 4, 8))


class Echo(Device):
    """Send every byte back, over the wire or the streams, through a FIFO that fills up."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=8, depth=9)
        rx_bits, rx_left, rx_wait = Signal(8), Signal(4), Signal(17)
        received = Signal()
        m.d.sync += received.eq(0)
        with m.If(rx_left == 0):
            with m.If(~self.uart_rx):
                m.d.sync += [rx_left.eq(9), rx_wait.eq(self.divisor + (self.divisor >> 1) - 1)]
        with m.Elif(rx_wait != 0):
            m.d.sync += rx_wait.eq(rx_wait - 1)
        with m.Else():
            m.d.sync += [rx_left.eq(rx_left - 1), rx_wait.eq(self.divisor - 1)]
            with m.If(rx_left == 1):
                m.d.sync += received.eq(1)
            with m.Else():
                m.d.sync += rx_bits.eq(Cat(rx_bits[1:], self.uart_rx))
        with m.If(self.direct):
            m.d.comb += [
                queue.w_data.eq(self.host_to_device.payload),
                queue.w_en.eq(self.host_to_device.valid),
                self.host_to_device.ready.eq(queue.w_rdy),
            ]
        with m.Else():
            m.d.comb += [queue.w_data.eq(rx_bits), queue.w_en.eq(received)]
        tx_bits, tx_left, tx_wait = Signal(10, init=1), Signal(4), Signal(16)
        slow = Signal(3)
        m.d.sync += slow.eq(slow + 1)
        m.d.comb += [self.device_to_host.payload.eq(queue.r_data), self.uart_tx.eq(tx_bits[0])]
        with m.If(self.direct):
            m.d.comb += self.device_to_host.valid.eq(queue.r_rdy & (slow != 5))
            m.d.comb += queue.r_en.eq(self.device_to_host.valid & self.device_to_host.ready)
        with m.Elif(tx_left == 0):
            m.d.comb += queue.r_en.eq(1)
            with m.If(queue.r_rdy):
                m.d.sync += tx_bits.eq(Cat(0, queue.r_data, 1))
                m.d.sync += [tx_left.eq(10), tx_wait.eq(self.divisor - 1)]
        with m.Elif(tx_wait != 0):
            m.d.sync += tx_wait.eq(tx_wait - 1)
        with m.Else():
            m.d.sync += [
                tx_bits.eq(Cat(tx_bits[1:], 1)),
                tx_left.eq(tx_left - 1),
                tx_wait.eq(self.divisor - 1),
            ]
        return m


class Mangle(Device):
    """Compute with every operator on a word of `width` recent bits, and send what comes out."""

    def __init__(self, width, skip=()):
        self._width, self._skip = width, skip
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        w = self._width
        data = Signal(w, init=0x5A5A5A5A5A % (1 << w))
        taken = Signal()
        m.d.comb += [self.host_to_device.ready.eq(1), taken.eq(self.host_to_device.valid)]
        with m.If(taken):
            m.d.sync += data.eq(Cat(self.host_to_device.payload, data))
        a, b = data[: w // 2], data[w // 2 : w // 2 * 2]
        sa, sb = Signal(signed(w // 2)), Signal(signed(w // 2))
        m.d.comb += [sa.eq(a), sb.eq(b)]
        amount = data[1:8]
        ripple = Signal(w)  # each bit from the one below: a loop of words, not of bits
        for i in range(w):
            m.d.comb += ripple[i].eq(data[i] ^ (ripple[i - 1] if i else 0))
        chosen = Signal(signed(w + 3))
        with m.Switch(data[:6]):
            with m.Case("1----0", "000111"):
                m.d.comb += chosen.eq(sa)
            with m.Case(3, 4, 5):
                m.d.comb += chosen[2 : w // 2].eq(b)
            with m.Default():
                m.d.comb += chosen.eq(sa - sb)
                with m.If(data[7]):
                    m.d.comb += chosen.bit_select(data[8:11], 3).eq(5)
        m.submodules.store = store = memory.Memory(shape=w, depth=11, init=[3 << i for i in range(7)])
        write = store.write_port(granularity=1 if w % 8 else 8)
        plain, clear = store.read_port(), store.read_port(transparent_for=(write,))
        now = store.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(data[:4]), write.data.eq(~data), write.en.eq(Mux(taken, data[3:], 0)),
            plain.addr.eq(data[1:5]), plain.en.eq(data[5]),
            clear.addr.eq(data[:4]), clear.en.eq(data[6]), now.addr.eq(data[2:6]),
        ]  # fmt: skip
        results = [
            a + b, a - b, sa - sb, -sa, a & b, a | b, a ^ b, ~a, sa + b,
            Cat(a.any(), a.all(), a.xor(), a.bool()),
            Cat(a == b, a != b, a < b, a <= b, a > b, a >= b, sa < sb, sa <= sb, sa > sb, sa >= sb, sa < b),
            (data << amount[:3])[:w], data >> amount, sa >> amount, Mux(data[0], sa, b),
            data.bit_select(amount, w // 2), data.word_select(amount[:4], 5), sa.bit_select(amount, 9),
            data.rotate_left(3), chosen, ripple, a.replicate(2),
            data.matches("1-" * (w // 2) + "-" * (w % 2)),
            plain.data, clear.data, now.data,
        ]  # fmt: skip
        if w <= 64:
            results += [a * b, sa * sb, a // b, a % b, sa // sb, sa % sb]
        mix = Signal(8)
        terms = []
        for at, value in enumerate(results):
            if at in self._skip:
                continue
            register = Signal(len(value), name=f"result{at}")
            m.d.sync += register.eq(value)
            for low in range(0, len(value), 8):
                terms.append(register[low : low + 8].rotate_left((at + low) % 7))
        while len(terms) > 1:  # a tree: Python's stack limits a chain
            terms = [left ^ right for left, right in zip_longest(terms[::2], terms[1::2], fillvalue=0)]
        seen = Signal()
        m.d.sync += [mix.eq((mix + mix + mix + 1) ^ terms[0]), seen.eq(taken)]
        m.d.comb += [self.device_to_host.payload.eq(mix), self.device_to_host.valid.eq(seen)]
        return m


class Fragile(Echo):
    """Assert that no byte is 7."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += Assert(~self.host_to_device.valid | (self.host_to_device.payload != 7))
        return m


class Loop(Device):
    """Hold a true combinational loop."""

    def elaborate(self, platform):
        m = Module()
        a = Signal(8)
        m.d.comb += [a.eq(a + 1), self.device_to_host.payload.eq(a)]
        m.d.sync += self.uart_tx.eq(1)
        return m


class Unclocked(Echo):
    """Assert without a clock."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += Assert(self.host_to_device.payload != 7)
        return m


@pytest.fixture(scope="module", autouse=True)
def cache_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    old = os.environ.get("XNORCORE_CACHE")
    os.environ["XNORCORE_CACHE"] = str(folder)
    yield folder
    if old is None:
        del os.environ["XNORCORE_CACHE"]
    else:
        os.environ["XNORCORE_CACHE"] = old


def arrivals(engine, script, total):
    """Run with random chunks; return every (cycle, bytes) and the state between."""
    rng, log = random.Random(9), []
    script = list(script)
    with engine:
        while engine.cycles < total:
            if script and rng.random() < 0.5:
                engine.write(script.pop(0))
            data = engine.run(rng.randrange(1, 60))
            log.append((engine.cycles, engine.pending, data))
    return log


def both(top, script, total, **options):
    """Run both engines; return the log they agree on."""
    logs = [
        arrivals(e(CONFIG, 1, top=top, **options), script, total) for e in (AmaranthEngine, CompiledEngine)
    ]
    assert logs[0] == logs[1]
    return logs[0]


def messages(count, seed=1):
    rng = random.Random(seed)
    return [rng.randbytes(rng.randrange(1, 12)) + b"\0" * (rng.random() < 0.7) for _ in range(count)]


@pytest.mark.parametrize(("link", "divisor", "count"), [("direct", 4, 40), ("uart", 4, 12), ("uart", 7, 6)])
def test_engines_agree_cycle_for_cycle(link, divisor, count):
    script = messages(count)
    total = 1500 if link == "direct" else len(b"".join(script)) * 10 * divisor + 1500
    log = both(lambda *_: Echo(), script, total, link=link, divisor=divisor)
    assert b"".join(data for *_, data in log) == b"".join(script)


@pytest.mark.parametrize("width", some([64, 9, 61, 130], 1))
def test_every_operator(width):
    rng = random.Random(width)
    log = both(lambda *_: Mangle(width), [rng.randbytes(40) for _ in range(8)], 330)
    assert len({data for *_, data in log}) > 10


def test_run_returns_at_the_first_zero_byte():
    with CompiledEngine(CONFIG, 1, top=lambda *_: Echo()) as engine:
        engine.write(b"ab\0cd\0e")
        assert engine.run(1000) == b"ab\0"
        assert engine.cycles < 20
        assert engine.run(1000) == b"cd\0"
        before = engine.cycles
        assert engine.run(1000) == b"e"
        assert engine.cycles == before + 1000
        assert engine.run(0) == b""


@pytest.mark.parametrize("engine_class", [AmaranthEngine, CompiledEngine])
def test_reset_loses_what_is_under_way_and_keeps_time(engine_class):
    with engine_class(CONFIG, 1, top=lambda *_: Echo()) as engine:
        engine.write(b"abcdef" * 4)
        engine.run(6)
        engine.reset()
        assert (engine.pending, engine.cycles) == (0, 6)
        engine.write(b"xy\0")
        assert engine.run(100) == b"xy\0"


@pytest.mark.parametrize("engine_class", [AmaranthEngine, CompiledEngine])
def test_failed_assertion_stops_the_run(engine_class):
    with engine_class(CONFIG, 1, top=lambda *_: Fragile()) as engine:
        engine.write(b"\5\6\7")
        with pytest.raises(EngineError, match=r"an assertion in the gateware failed in cycle \d+: "):
            engine.run(100)


@pytest.mark.parametrize("engine_class", [AmaranthEngine, CompiledEngine])
def test_closed_engine(engine_class):
    engine = engine_class(CONFIG, 1, top=lambda *_: Echo())
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="the simulation engine is closed; open a new one"):
        engine.run(1)


def test_two_engines_share_no_state():
    top = lambda *_: Echo()  # noqa: E731
    with CompiledEngine(CONFIG, 1, top=top) as one, CompiledEngine(CONFIG, 1, top=top) as two:
        one.write(b"one\0")
        two.write(b"two\0")
        assert (one.run(99), two.run(99)) == (b"one\0", b"two\0")


@pytest.mark.parametrize("engine_class", [AmaranthEngine, CompiledEngine])
def test_bad_options(engine_class):
    with pytest.raises(UsageError, match="divisor is 3, but must be 4 to 65535 clock cycles per UART bit"):
        engine_class(CONFIG, 1, divisor=3, top=lambda *_: Echo())
    with pytest.raises(UsageError, match="link is 'usb', but must be one of: direct, uart"):
        engine_class(CONFIG, 1, link="usb", top=lambda *_: Echo())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the component that is refused is never elaborated
        with pytest.raises(EngineError, match="Component has no port 'uart_rx', so it cannot be simulated"):
            engine_class(CONFIG, 1, top=lambda *_: wiring.Component({}))
        gc.collect()


def test_true_loop_is_refused():
    with pytest.raises(EngineError, match=r"combinational loop through .*; break it with a register"):
        compiled.generate(Loop())


def test_assertion_without_a_clock_is_refused():
    with pytest.raises(EngineError, match=r"no assertion without a clock .*; add it to m\.d\.sync"):
        compiled.generate(Unclocked())


# The build


def test_cache_hit_builds_nothing(cache_folder, monkeypatch):
    said = []
    top = lambda *_: Mangle(17)  # noqa: E731
    first = compiled.library(compiled.COMPILED, CONFIG, 1, top=top, progress=said.append)
    assert [text.split(":")[1].split()[0] for text in said] == ["compiling", "built"]
    monkeypatch.setattr(compiled, "find_compiler", lambda: pytest.fail("built again"))
    assert compiled.library(compiled.COMPILED, CONFIG, 1, top=top) == first
    assert not list(cache_folder.glob(".build-*"))


def test_standard_top_is_keyed_by_source(cache_folder, monkeypatch):
    built = []
    monkeypatch.setattr(compiled, "standard_top", lambda *a: built.append(a) or Echo())
    paths = {compiled.library(compiled.COMPILED, CONFIG, hz) for hz in (1, 2, 1)}
    assert len(paths) == len(built) == 2
    monkeypatch.setattr(cache, "source_digest", lambda: "changed")
    assert compiled.library(compiled.COMPILED, CONFIG, 1) not in paths


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    assert compiler.find_compiler() is None
    with pytest.raises(EngineError, match=r'install g\+\+, or run: .* -m pip install "ziglang>'):
        compiled.library(compiled.COMPILED, CONFIG, 1, top=lambda *_: Mangle(18))


def fake_compiler(folder, body):
    path = folder / "fakecc"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nif '--version' in sys.argv: sys.exit(print('fake 1.2'))\n{body}\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_failing_compiler_is_quoted(tmp_path, monkeypatch, cache_folder):
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, "print('one\\ntwo: error\\nthree'); sys.exit(3)"))
    message = (
        r"fakecc 1.2 could .* \(exit status 3\): one \| two: error \| three; all messages are in (.*\.log)"
    )
    with pytest.raises(EngineError, match=message) as caught:
        compiled.library(compiled.COMPILED, CONFIG, 1, top=lambda *_: Mangle(19))
    assert "\n" not in str(caught.value)
    log = str(caught.value).rsplit(" ", 1)[1]
    assert "two: error" in Path(log).read_text()
    assert not list(cache_folder.glob(".build-*"))


def test_chosen_compiler_must_run(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O9")
    with pytest.raises(EngineError, match=r"\$CXX is 'no-such-compiler -O9', which does not run"):
        compiler.find_compiler()


def test_interrupted_build_leaves_nothing(monkeypatch, cache_folder):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    before = sorted(cache_folder.iterdir())
    monkeypatch.setattr(compiled, "compile_library", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compiled.library(compiled.COMPILED, CONFIG, 1, top=lambda *_: Mangle(20))
    assert sorted(cache_folder.iterdir()) == before


def test_concurrent_builds(cache_folder):
    results = []
    build = partial(compiled.library, compiled.COMPILED, CONFIG, 1, top=lambda *_: Mangle(21))
    threads = [threading.Thread(target=lambda: results.append(build())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len(set(results)) == 1
    assert not list(cache_folder.glob(".build-*"))


def test_damaged_library_is_built_again():
    top = lambda *_: Mangle(22)  # noqa: E731
    compiled.library(compiled.COMPILED, CONFIG, 1, top=top).write_bytes(b"not a library")
    with CompiledEngine(CONFIG, 1, top=top) as engine:
        assert engine.run(3) == b""


def test_unwritable_cache(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XNORCORE_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        EngineError, match=r"cannot write the simulator cache .*; set XNORCORE_CACHE to a writable"
    ):
        compiled.library(compiled.COMPILED, CONFIG, 1, top=lambda *_: Echo())


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.delenv("XNORCORE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "xnorcore"
