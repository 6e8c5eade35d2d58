"""What a beat or slice emits."""

from __future__ import annotations

from amaranth import Module, Value

from xnorcore.isa.device import DeviceConfig

from ..interfaces import Emission
from .nest import LoopNest
from .slices import ScoreSlices

__all__ = ["emission_of"]


def emission_of(
    m: Module, config: DeviceConfig, emit: Value, nest: LoopNest, issue: Value, slices: ScoreSlices
) -> None:
    """Set `emit` to the `Emission` of the beat or slice that is at the nest, if it leaves.

    Parameters
    ----------
    m : Module
        Gets the statements.
    config : DeviceConfig
    emit : Value
    nest : LoopNest
    issue : Value
        It leaves.
    slices : ScoreSlices
    """
    with m.If(issue & nest.emits):
        with m.If(~nest.window_last):
            m.d.comb += emit.eq(Emission.WINDOW)
        with m.Elif(~nest.closes):
            m.d.comb += emit.eq(Emission.SLICE)
        with m.Elif(nest.layer_end):
            m.d.comb += emit.eq(Emission.LAYER)
        with m.Elif(nest.tile_end):
            m.d.comb += emit.eq(Emission.TILE)
        with m.Else():
            m.d.comb += emit.eq(Emission.POSITION)
        if config.code_bits > 1:
            with m.If(slices.compares & ~nest.closes):
                m.d.comb += emit.eq(Emission.CODE)
