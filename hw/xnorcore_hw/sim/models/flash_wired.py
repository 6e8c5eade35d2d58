"""A serial flash behind the registers at the pads of an FPGA."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ...memory.stores.flash_pins import FlashPlace, FlashSignature, simulated
from .flash import FlashModel

__all__ = ["CLOCK_HZ", "CONFIGURED_S", "PACE", "PaddedFlash", "WiredFlash"]

CLOCK_HZ = 36_000_000
"""Of a device that does not say its own."""
PACE = 1 / 64
"""Of the time that erasing and programming really takes: simulations would else do little else."""
CONFIGURED_S = 20e-3
"""Seconds from a flash's power-up to the first cycle of a device, at least.

Gateware that uses four lines sets the status register as soon as it has woken the chip up. It is in FPGAs
that read their configuration from that very chip on one line: an UP5K takes 20.8 ms for 104,090 bytes, at the
40 MHz that it can be set to at most, an ECP5 35 ms and more; the slowest chips allow changes after 10 ms. On
fewer lines nothing is changed before the link asks for it. `tests/boards/test_flash_pads.py` holds boards to
this.
"""


class WiredFlash(wiring.Component):
    """What a device has on its pins `chip`.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        0 if unknown.
    place : FlashPlace, optional
        Default: that of a simulated device.
    pace : float
    status, configured_s
        As of `FlashModel`.

    Members
    -------
    chip : In(FlashSignature)

    Attributes
    ----------
    model : FlashModel
    """

    def __init__(
        self,
        config: DeviceConfig,
        clock_hz: int,
        place: FlashPlace | None = None,
        pace: float = PACE,
        status: int = 0,
        configured_s: float = CONFIGURED_S,
    ) -> None:
        self._place = place = place or simulated(config)
        hz, words = clock_hz or CLOCK_HZ, config.store_words
        self.model = FlashModel(hz, place.first, words, pace=pace, status=status, configured_s=configured_s)
        super().__init__({"chip": In(FlashSignature())})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.model = model = self.model
        out = (self._place.lag + 1) // 2
        for name in ("select", "clock", "o", "drive", "i"):
            outward = name != "i"
            source, target = (self, model) if outward else (model, self)
            value = getattr(source.chip, name)
            for stage in range(out if outward else self._place.lag - out):
                early, value = value, Signal.like(value, name=f"{name}_d{stage}")
                m.d.sync += value.eq(early)
            m.d.comb += getattr(target.chip, name).eq(value)
        return m


class PaddedFlash(wiring.Component):
    """A serial flash behind pads with registers of their own, as a netlist has them.

    Parameters
    ----------
    clock_hz : int
    place : FlashPlace
    words : int
        As of `FlashModel`.

    Members
    -------
    unselected : In(1), o, drive : In, i : Out
        What pads have registers for, the first ones of the chip's lines.
    clock : In(1)
        For the second half of this cycle.
    """

    def __init__(self, clock_hz: int, place: FlashPlace, words: int) -> None:
        lines = max(place.lanes, 2)
        self._model = FlashModel(clock_hz, place.first, words, pace=PACE, configured_s=CONFIGURED_S)
        super().__init__(
            {"unselected": In(1), "clock": In(1), "o": In(lines), "drive": In(lines), "i": Out(lines)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.model = model = self._model
        high = Const(0b1111, 4)
        o, drive, select = Signal.like(self.o), Signal.like(self.drive), Signal()
        m.d.sync += [select.eq(~self.unselected), o.eq(self.o), drive.eq(self.drive), self.i.eq(model.chip.i)]
        m.d.comb += [
            model.chip.select.eq(select),
            model.chip.clock.eq(self.clock),
            model.chip.o.eq(Cat(o, high[len(o) :])),
            model.chip.drive.eq(drive),
        ]
        return m
