"""What a beat reads."""

from __future__ import annotations

from amaranth import Module, Mux, Value
from amaranth.lib import data

from xnorcore.isa.device import DeviceConfig

from .nest import LoopNest

__all__ = ["operand_of"]


def operand_of(
    m: Module,
    config: DeviceConfig,
    operand: data.View,
    descriptor: data.View,
    nest: LoopNest,
    outside: Value,
    grant: Value,
) -> None:
    """Say what a beat reads; with `grant` a word is read out instead, as it is.

    Parameters
    ----------
    m : Module
        Gets the statements.
    config : DeviceConfig
    operand : View of OperandLayout
    descriptor : View of DescriptorLayout
    nest : LoopNest
        At the beat.
    outside : Value
        The beat's tap is outside the map.
    grant : Value
    """
    cut = operand.cut
    # With windows in words of their own, all lanes or all but the last one count.
    masked = descriptor.lanes[0] if config.whole_windows else descriptor.lanes != 0
    pad = descriptor.pad_one
    if config.code_bits > 1:
        later = Mux(nest.plane_last, descriptor.pad_last, descriptor.pad_between)
        pad = Mux(nest.plane_first | ~descriptor.double, pad, later)
    m.d.comb += [
        operand.addr.eq(nest.raddr),
        operand.strip.eq(Mux(descriptor.strips, descriptor.in_strip, 0)),
        cut.offset.eq(Mux(grant, 0, nest.offset)),
        cut.lanes.eq(descriptor.lanes),
        cut.masked.eq(nest.run_end & masked & ~grant),
        cut.balance.eq(descriptor.balance & nest.run_end & ~nest.plane_first),
        cut.pad.eq(outside & ~descriptor.pad_zero & ~grant),
        cut.pad_one.eq(pad),
    ]
