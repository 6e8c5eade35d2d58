"""Random designs on the compiled engine against Amaranth's simulator: the generator is our own."""

import random

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.sim import toolchain as compiler
from xnorcore_hw.sim.amaranth_engine import AmaranthEngine
from xnorcore_hw.sim.compiled import CompiledEngine, generate

from .stand_ins import Device

CONFIG = DeviceConfig(Geometry(1, 4, 8))
CYCLES = 40


class Leaf(wiring.Component):
    """One of several instances of the same random module; they may become lanes of a loop."""

    def __init__(self, seed, width):
        self._seed, self._width = seed, width
        super().__init__({"x": In(width), "y": In(width), "flag": In(1), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        rng = random.Random(self._seed)
        out = Signal(self._width)
        Grower(m, rng, [self.x, self.y, self.flag, out]).grow(rng.randrange(3, 12))
        inner = Signal(self._width)
        m.d.comb += inner.eq(self.y ^ out)
        m.d.sync += out.eq(out + self.x + inner)
        with m.If(self.flag):
            m.d.sync += out.eq(fit(rng, m, self._width, [self.x, self.y, out]))
        if rng.random() < 0.7:
            m.d.comb += self.o.eq(out)
        else:  # not only registers leave it, so it must not become a loop
            m.d.comb += self.o.eq(inner)
        return m


def fit(rng, m, width, pool):
    """Return a random expression of these values, `width` bits."""
    return expression(rng, pool, rng.randrange(1, 4))[:width]


def width_of(rng):
    return rng.choice([1, 1, 2, 3, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 130])


def leaf(rng, pool):
    if rng.random() < 0.15:
        shape = rng.choice([unsigned, signed])(rng.randrange(1, 70))
        return Const(rng.getrandbits(shape.width), shape)
    value = Value.cast(rng.choice(pool))
    if rng.random() < 0.4 and len(value) > 1:
        low = rng.randrange(len(value))
        value = value[low : rng.randrange(low + 1, len(value) + 1)]
    return value.as_signed() if rng.random() < 0.3 and len(value) else value


def expression(rng, pool, depth):
    """Return a random expression, at most about 130 bits."""
    value = _expression(rng, pool, depth)
    if len(value) == 0:
        return Const(1)
    return value[:130] if len(value) > 130 else value


def _expression(rng, pool, depth):
    if depth == 0:
        return leaf(rng, pool)
    a, b = expression(rng, pool, depth - 1), expression(rng, pool, rng.randrange(depth))
    kind = rng.randrange(21)
    match kind:
        case 0 | 1:
            return a + b
        case 2:
            return a - b
        case 3:
            return rng.choice([a & b, a | b, a ^ b])
        case 4:
            return ~a
        case 5:
            return -a
        case 6:
            return rng.choice([a == b, a != b, a < b, a <= b, a > b, a >= b])
        case 7:
            return Cat(a.any(), a.all(), a.xor(), a.bool())
        case 8:
            return Mux(leaf(rng, pool), a, b)
        case 9:
            return Cat(a, b)
        case 10:
            return a << leaf(rng, pool)[:3].as_unsigned()
        case 11:
            return a >> b[:8].as_unsigned()
        case 12:
            # Cat: above the top of a signed expression, Amaranth's simulator has zeros; its manual and
            # its netlist, which we follow, have the sign. test_every_operator has that on a signal.
            return Cat(a).bit_select(b[:5].as_unsigned(), rng.randrange(1, 40))
        case 13:
            return Cat(a).word_select(b[:3].as_unsigned(), rng.randrange(1, 40))
        case 14:
            return a.replicate(rng.randrange(1, 4))
        case 15:
            return a.shift_left(rng.randrange(5))
        case 16:
            return a.shift_right(rng.randrange(5))
        case 17:
            return a[:60] * b[:60] if rng.random() < 0.5 else a[:70].as_signed() * b[:40].as_signed()
        case 18:
            operands = (a[:40], b[:40]) if rng.random() < 0.5 else (a[:33].as_signed(), b[:20].as_signed())
            return operands[0] // operands[1] if rng.random() < 0.5 else operands[0] % operands[1]
        case 19:
            return a.rotate_left(rng.randrange(9)) if len(a) else a
        case _:
            pattern = "".join(rng.choice("01-") for _ in range(min(len(a), 3)))
            return a[: len(pattern)].matches(pattern) if pattern else a


class Grower:
    """Adds random signals to a module; each may read all before it, and every register."""

    def __init__(self, m, rng, pool):
        self._m, self._rng, self._pool = m, rng, pool

    def grow(self, count):
        for _ in range(count):
            self._signal()

    def _signal(self):
        m, rng = self._m, self._rng
        width = width_of(rng)
        shape = signed(width) if rng.random() < 0.3 else unsigned(width)
        signal = Signal(shape, init=rng.getrandbits(width - 1) if width > 1 else 0)
        domain = m.d.sync if rng.random() < 0.5 else m.d.comb
        pool = self._pool
        if domain is m.d.sync:
            pool.append(signal)  # a register may read itself

        def assign():
            target = signal
            if rng.random() < 0.3 and width > 1:
                low = rng.randrange(width)
                target = signal[low : rng.randrange(low + 1, width + 1)]
            elif rng.random() < 0.15:
                target = signal.bit_select(leaf(rng, pool)[:6].as_unsigned(), rng.randrange(1, width + 1))
            return target.eq(expression(rng, pool, rng.randrange(1, 4)))

        if rng.random() < 0.5:
            domain += signal.eq(expression(rng, pool, rng.randrange(1, 4)))
        style = rng.random()
        if style < 0.35:
            with m.If(expression(rng, pool, 1).bool()):
                domain += assign()
                with m.If(leaf(rng, pool).bool()):
                    domain += assign()
            with m.Elif(expression(rng, pool, 1).bool()):
                domain += assign()
            if rng.random() < 0.5:
                with m.Else():
                    domain += assign()
        elif style < 0.6:
            test = leaf(rng, pool)[:4].as_unsigned()
            with m.Switch(test):
                for _ in range(rng.randrange(1, 4)):
                    if len(test):
                        with m.Case("".join(rng.choice("01-") for _ in range(len(test)))):
                            domain += assign()
                with m.Default():
                    domain += assign()
        if domain is m.d.comb:
            pool.append(signal)


class Fuzz(Device):
    """A random design behind the ports that the engines drive; every register reaches the output."""

    def __init__(self, seed, only=None):
        self._seed, self._only = seed, only
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        rng = random.Random(self._seed)
        valid, payload = self.host_to_device.valid, self.host_to_device.payload
        state = Signal(unsigned(rng.choice([8, 40, 64, 130])), init=rng.getrandbits(8))
        m.d.sync += state.eq(Cat(payload, state) + valid)
        pool = [state, payload, valid, self.direct]
        grower = Grower(m, rng, pool)
        grower.grow(rng.randrange(4, 14))
        self._memory(m, rng, pool)
        self._instances(m, rng, pool)
        grower.grow(rng.randrange(2, 6))
        mix = Signal(8)
        total = Signal(8)
        parts = [pool[i][low : low + 8] for i in range(len(pool)) for low in range(0, len(pool[i]), 8)]
        terms = [part.as_unsigned().rotate_left(i % 3) for i, part in enumerate(parts) if len(part)]
        if self._only is not None:
            terms = [terms[self._only]]  # to find out by hand which signal differs
        while len(terms) > 1:
            terms = [left ^ right for left, right in zip(terms[::2], terms[1::2], strict=False)] + (
                terms[-1:] if len(terms) % 2 else []
            )
        m.d.comb += total.eq(terms[0])
        m.d.sync += mix.eq((mix << 1) + mix + total + 1)
        m.d.comb += [
            self.host_to_device.ready.eq(1),
            self.device_to_host.payload.eq(mix | 1),  # no zero byte: a run goes on to its last cycle
            self.device_to_host.valid.eq(1),
        ]
        return m

    def _memory(self, m, rng, pool):
        granularity, lanes = rng.randrange(1, 40), rng.randrange(1, 4)
        width, depth = granularity * lanes, rng.randrange(1, 20)
        contents = [rng.getrandbits(width) for _ in range(rng.randrange(depth + 1))]
        m.submodules.store = store = memory.Memory(shape=width, depth=depth, init=contents)
        writes = [store.write_port(granularity=granularity) for _ in range(rng.randrange(1, 3))]
        for write in writes:
            for member in (write.addr, write.data, write.en):
                m.d.comb += member.eq(expression(rng, pool, 1))
        # Two ports that write one word in one cycle have no defined winner in Amaranth: keep them apart.
        if len(writes) == 2 and len(writes[0].addr):
            m.d.comb += writes[0].addr[0].eq(0)
            m.d.comb += writes[1].addr[0].eq(1)
        elif len(writes) == 2:
            m.d.comb += writes[1].en.eq(0)
        reads = [
            store.read_port(),
            store.read_port(transparent_for=[w for w in writes if rng.random() < 0.6]),
            store.read_port(domain="comb"),
        ]
        for read in reads[:2]:
            m.d.comb += [read.addr.eq(expression(rng, pool, 1)), read.en.eq(leaf(rng, pool))]
        m.d.comb += reads[2].addr.eq(leaf(rng, pool))
        pool += [read.data for read in reads]

    def _instances(self, m, rng, pool):
        width, seed, shared = rng.choice([1, 5, 8, 20, 33, 64, 70]), rng.random(), leaf(rng, pool)
        flag = Signal()
        m.d.sync += flag.eq(expression(rng, pool, 1))
        with_register = [True, rng.random() < 0.5]
        for number in range(rng.randrange(1, 9)):
            m.submodules[f"leaf{number}"] = instance = Leaf(seed, width)
            for port, own in zip((instance.x, instance.y), with_register, strict=True):
                # Registers, because a constant that enters one instance makes it a module of its own.
                value = Signal(width, name=f"value{number}")
                m.d.sync += value.eq(expression(rng, pool, 1))
                m.d.comb += port.eq(value if own else shared)
            m.d.comb += instance.flag.eq(flag)
            pool.append(instance.o)


def outputs(engine, seed):
    rng = random.Random(seed)
    data = []
    with engine:
        for _ in range(CYCLES):
            if rng.random() < 0.7:
                engine.write(rng.randbytes(1))
            data.append(engine.run(1))
    return b"".join(data)


@pytest.mark.parametrize("seed", some(range(30), always=4))
def test_random_design(seed, monkeypatch):
    # What is tested is the C++, not its compiler.
    monkeypatch.setattr(compiler, "FLAGS", tuple(f.replace("-O1", "-O0") for f in compiler.FLAGS))
    top = lambda *_: Fuzz(seed)  # noqa: E731
    expected = outputs(AmaranthEngine(CONFIG, 1, top=top), seed)
    assert outputs(CompiledEngine(CONFIG, 1, top=top), seed) == expected
    assert len(expected) == CYCLES
    assert len(set(expected)) > 5


def test_some_random_designs_have_lanes():
    assert "lanes.cc" in generate(Fuzz(6), print).files
    assert "lanes.cc" not in generate(Fuzz(1), print).files
