"""Images go through the stream shell as fast as the core takes them, in the compiled simulator."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring

from tests.campaigns import some
from xnorcore.compiler.compile import Program, compile_network
from xnorcore.isa.device import DeviceConfig
from xnorcore.model.bits import pack_images
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.requests import infer_head
from xnorcore_hw.core import Core
from xnorcore_hw.shells.sim import engine_ports
from xnorcore_hw.shells.stream import StreamShell
from xnorcore_hw.sim.compiled import CompiledEngine

from .networks import random_images, random_network
from .test_core import small_config


class _Plain(wiring.Component):
    """Packets of `length` bytes into a baked core or its stream shell, with the ports that engines drive."""

    def __init__(self, program: Program, length: int, shell: bool) -> None:
        self.program, self.length, self.shell = program, length, shell
        super().__init__(engine_ports())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.program.config
        inside = StreamShell(config, bake=self.program) if self.shell else Core(config, bake=self.program)
        m.submodules.inside = inside
        i, o = (inside.images, inside.scores) if isinstance(inside, StreamShell) else (inside.i, inside.o)
        number = Signal(range(self.length))
        with m.If(i.valid & i.ready):
            m.d.sync += number.eq(number + 1)
            with m.If(i.payload.last):
                m.d.sync += number.eq(0)
        m.d.comb += [
            i.valid.eq(self.host_to_device.valid),
            i.payload.data.eq(self.host_to_device.payload),
            i.payload.last.eq(number == self.length - 1),
            self.host_to_device.ready.eq(i.ready),
            self.device_to_host.valid.eq(o.valid),
            self.device_to_host.payload.eq(o.payload.data),
            o.ready.eq(self.device_to_host.ready),
        ]
        return m


def cycles(network: Network, config: DeviceConfig, images: np.ndarray, shell: bool) -> int:
    """Return the cycles from power-up to the last score; of the core, with all images in one request."""
    program = compile_network(network, config)
    wire = pack_images(network, images)
    sent = wire.tobytes() if shell else bytes([5, 0, 0]) + infer_head(program) + wire.tobytes()
    length = wire.shape[1] if shell else len(sent)
    engine = CompiledEngine(config, 0, link="direct", top=lambda *_: _Plain(program, length, shell))
    try:
        engine.write(sent)
        wanted = len(images) * program.result_bytes + (0 if shell else 4)
        found = b""
        while len(found) < wanted:
            found += engine.run(20)
            assert engine.cycles < 2000 * len(images), f"{len(found)} of {wanted} bytes"
        scores = found if shell else found[3:-1]
        np.testing.assert_array_equal(program.decode(scores, len(images)), golden.run(network, images))
        return engine.cycles
    finally:
        engine.close()


@pytest.mark.parametrize("rows", some([1, 3], 0))
def test_as_fast_as_the_core(rows: int) -> None:
    """At most two cycles an image more, in which the core waits for nothing else; all starting included."""
    network = random_network(np.random.default_rng(0), (192, 16, 10))
    images = random_images(np.random.default_rng(1), network, 300)
    config = small_config(rows, 16, 16, line_bytes=0, convolution=0)
    alone, shelled = (cycles(network, config, images, shell) for shell in (False, True))
    print(f"{alone / 300:.1f} cycles per image of the core, {shelled / 300:.1f} of the shell")
    assert shelled <= alone + 2 * len(images)
