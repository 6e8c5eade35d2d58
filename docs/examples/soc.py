"""A network inside a design of one's own: digits out of a memory, and a count of each class.

Run it with ``python docs/examples/soc.py``; it takes some seconds. docs/soc.md says what the parts are.
"""

from amaranth import Array, Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, connect
from amaranth.sim import Simulator

from xnorcore import zoo
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.bits import pack_images
from xnorcore.model.network import prepare
from xnorcore_hw.interfaces import byte_stream
from xnorcore_hw.shells.baked import bake
from xnorcore_hw.shells.stream import StreamShell, score_stream

CONFIG = DeviceConfig(
    Geometry(1, 16, 16), weight_depth=1024, threshold_depth=128, act_depth=256, line_bytes=0, convolution=0
)
IMAGES, CLASSES = 5, 10


class Sender(wiring.Component):
    """Sends the images of a memory, a packet each."""

    def __init__(self, wire):
        self.wire = wire  # array of uint8, shape (images, bytes per image)
        super().__init__({"o": Out(byte_stream())})

    def elaborate(self, platform):
        m = Module()
        count, size = self.wire.shape
        m.submodules.store = store = memory.Memory(
            shape=8, depth=count * size, init=self.wire.reshape(-1).tolist()
        )
        port = store.read_port()
        place, left = Signal(range(count * size + 1)), Signal(range(size), init=size - 1)
        taken, loaded = Signal(), Signal()
        m.d.sync += loaded.eq(1)  # the memory answers a cycle later
        m.d.comb += [
            taken.eq(self.o.valid & self.o.ready),
            port.addr.eq(place + taken),
            self.o.valid.eq(loaded & (place != count * size)),
            self.o.p.data.eq(port.data),
            self.o.p.last.eq(left == 0),
        ]
        with m.If(taken):
            m.d.sync += [place.eq(place + 1), left.eq(left - 1)]
            with m.If(left == 0):
                m.d.sync += left.eq(size - 1)
        return m


class Counter(wiring.Component):
    """Puts the scores of each image together, finds the largest, and counts its class."""

    def __init__(self, program):
        self.program = program
        counts = {f"count{number}": Out(8) for number in range(CLASSES)}
        super().__init__({"i": In(score_stream()), "images": Out(8), **counts})

    def elaborate(self, platform):
        m = Module()
        values, lanes = self.program.values, self.program.results.word_bytes
        # The most significant bit of all scores comes first, then the next; a score's bits are inverted.
        raw = [Signal(signed(values.slices), name=f"raw{number}") for number in range(CLASSES)]
        lane = Signal(range(lanes))
        scores = Array(~raw[number] * values.factor + int(values.offset[number]) for number in range(CLASSES))
        best, winner, number = Signal(signed(24)), Signal(range(CLASSES)), Signal(range(CLASSES + 1))
        counts = Array(getattr(self, f"count{number}") for number in range(CLASSES))
        with m.FSM():
            with m.State("BYTES"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(lane == lanes - 1):
                        m.d.sync += lane.eq(0)
                    for place, value in enumerate(raw):
                        with m.If(lane == place // 8):
                            m.d.sync += value.eq((value << 1) | self.i.p.data[place % 8])
                    with m.If(self.i.p.last & ~self.i.p.error):
                        m.d.sync += [winner.eq(0), number.eq(1)]
                        m.next = "FIRST"
            with m.State("FIRST"):
                m.d.sync += best.eq(scores[0])
                m.next = "LARGEST"
            with m.State("LARGEST"):
                m.d.sync += number.eq(number + 1)
                with m.If(number == CLASSES):
                    m.d.sync += [counts[winner].eq(counts[winner] + 1), self.images.eq(self.images + 1)]
                    m.next = "BYTES"
                with m.Elif(scores[number] > best):
                    m.d.sync += [best.eq(scores[number]), winner.eq(number)]
        return m


class Digits(wiring.Component):
    """The whole design: a memory with images, a network, and a counter for each class."""

    def __init__(self, network, images):
        self.program = bake(network, CONFIG)  # refuses a network that does not fit
        self.sender = Sender(pack_images(network, images))
        self.core = StreamShell(CONFIG, bake=self.program)
        self.counter = Counter(self.program)
        super().__init__({"images": Out(8), **{f"count{number}": Out(8) for number in range(CLASSES)}})

    def elaborate(self, platform):
        m = Module()
        m.submodules.sender, m.submodules.core, m.submodules.counter = self.sender, self.core, self.counter
        connect(m, self.sender.o, self.core.images)
        connect(m, self.core.scores, self.counter.i)
        for name in self.signature.members:
            m.d.comb += getattr(self, name).eq(getattr(self.counter, name))
        return m


def simulate(network, images):
    """Return how many images of each class the design finds, and in how many cycles."""
    design = Digits(network, images)
    counts, cycles = [0] * CLASSES, 0

    async def watch(ctx):
        nonlocal cycles
        while ctx.get(design.images) < len(images):
            await ctx.tick()
            cycles += 1
            assert cycles < 20_000
        counts[:] = [ctx.get(getattr(design, f"count{number}")) for number in range(CLASSES)]

    simulator = Simulator(design)
    simulator.add_clock(1e-8)
    simulator.add_testbench(watch)
    simulator.run()
    return counts, cycles


if __name__ == "__main__":
    network = zoo.load("digits")
    images = prepare(network, zoo.test_images("digits")[0][:IMAGES])
    counts, cycles = simulate(network, images)
    print(f"{IMAGES} images in {cycles} cycles")
    for number, count in enumerate(counts):
        print(f"{number}: {count}")
