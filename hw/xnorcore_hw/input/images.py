"""The way of image bytes into activation memory."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, LoaderSignature
from ..memory.ports import row_writes
from ..parts.stream_register import StreamRegister
from .interleaver import RowInterleaver
from .loader import Loader
from .windows import WindowInterleaver

__all__ = ["ImageInput"]


class ImageInput(wiring.Component):
    """The loader, and the interleaver in front of it on a device with a line buffer.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    control : In(LoaderSignature)
    header : In(HeaderLayout)
    full, parity, write, flushed
        As in `Loader`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(LoaderSignature()),
                "header": In(HeaderLayout(config)),
                "full": In(2),
                "parity": Out(1),
                "write": Out(row_writes()),
                "flushed": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.loader = loader = Loader(self.config)
        m.submodules.bytes = register = StreamRegister(stream.Signature(8))
        control, busy, boundary = self.control, Signal(), Signal()
        connect(m, flipped(control.images), register.i)
        connect(m, loader.batch, flipped(control.batch))
        connect(m, loader.write, flipped(self.write))
        images = register.o
        m.d.comb += [
            loader.header.eq(self.header),
            loader.full.eq(self.full),
            loader.restart.eq(control.restart),
            loader.close.eq(control.close),
            loader.flushed.eq(self.flushed),
            self.parity.eq(loader.parity),
            busy.eq(loader.busy | images.valid),
            boundary.eq(loader.boundary),
        ]
        # Known a cycle late, but for what makes it busy again.
        m.d.sync += [
            control.busy.eq(busy | control.images.valid | control.close),
            control.boundary.eq(boundary),
        ]
        if not self.config.line_bytes:
            connect(m, images, loader.i)
            return m
        kind = WindowInterleaver if self.config.whole_windows else RowInterleaver
        m.submodules.interleaver = interleaver = kind(self.config)
        connect(m, interleaver.o, loader.values)
        m.d.comb += [
            interleaver.header.eq(self.header),
            interleaver.restart.eq(control.restart),
            interleaver.i.p.eq(images.p),
            loader.i.p.eq(images.p),
        ]
        with m.If(self.header.interleaved):
            m.d.comb += [
                interleaver.i.valid.eq(images.valid),
                images.ready.eq(interleaver.i.ready),
                busy.eq(loader.busy | images.valid | ~(interleaver.idle | interleaver.starved)),
                boundary.eq(loader.boundary & interleaver.idle),
            ]
        with m.Else():
            m.d.comb += [loader.i.valid.eq(images.valid), images.ready.eq(loader.i.ready)]
        return m
