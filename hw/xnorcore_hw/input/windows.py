"""Takes every window of an image out of its rows, one behind the other."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig

from ..interfaces import HeaderLayout, bits_for_depth
from ..parts.counting import down_or_load
from .interleaver import ValueLayout
from .padded import PaddedLines

__all__ = ["WindowInterleaver", "WindowSteps"]


class WindowSteps(wiring.Component):
    """Walk through the windows of an image: channels and columns inside kernel rows inside positions.

    Rows with their padding follow each other without a gap, so that a window's row is one run of values, and
    nothing but places counts.

    Parameters
    ----------
    config : DeviceConfig
        With `whole_windows`.

    Members
    -------
    header : In(HeaderLayout)
    clear : In(1)
        To the image's first value.
    step : In(1)
        To the next value; not in two cycles that follow each other.
    place : Out
        In the line buffer.
    window_last, row_last, image_last : Out(1)
        The last value of a window, of a row of positions, of the last row; a cycle late.
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "header": In(HeaderLayout(config)),
                "clear": In(1),
                "step": In(1),
                "place": Out(bits_for_depth(config.line_bytes)),
                "window_last": Out(1),
                "row_last": Out(1),
                "image_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        header, place = self.header, self.place
        run_left, kernel_left = Signal(len(header.run_last)), Signal(3)
        across_left, rows_left = Signal(len(header.across_last)), Signal(10)
        run_last = Signal()
        # What the counters say is needed in the cycle after: a step takes two.
        distance = Signal.like(place)
        m.d.sync += run_last.eq(run_left == 0)
        window_last = (run_left == 0) & (kernel_left == 0)
        row_last = window_last & (across_left == 0)
        m.d.sync += [
            self.window_last.eq(window_last),
            self.row_last.eq(row_last),
            self.image_last.eq(row_last & (rows_left == 0)),
            distance.eq(
                Mux(
                    row_last,
                    header.line_step,
                    Mux(window_last, header.window_step, Mux(run_left == 0, header.row_step, 1)),
                )
            ),
        ]
        levels = (
            (run_left, header.run_last, self.step, run_last),
            (kernel_left, header.kernel_last, self.step & run_last, self.window_last),
            (across_left, header.across_last, self.step & self.window_last, self.row_last),
            (rows_left, header.rows_last, self.step & self.row_last, self.image_last),
        )
        for left, last, moves, ends in levels:
            with m.If(self.clear | moves):
                m.d.sync += left.eq(down_or_load(~(self.clear | ends), left, last))
        with m.If(self.clear | self.step):
            m.d.sync += place.eq(Mux(self.clear, 0, place + distance))
        return m


class WindowInterleaver(wiring.Component):
    """Send the values of every window, position after position; what windows share, again and again.

    For images in words of their own (docs/architecture.md); otherwise like `RowInterleaver`, of which it has
    the members. To the loader, each window is a row of values.

    Parameters
    ----------
    config : DeviceConfig
        With `whole_windows`.
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "header": In(HeaderLayout(config)),
                "o": Out(stream.Signature(ValueLayout)),
                "idle": Out(1),
                "starved": Out(1),
                "restart": In(1),
            }
        )
        self._lines, self._steps = PaddedLines(config), WindowSteps(config)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, o, header = self.i, self.o, self.header
        m.submodules.lines, m.submodules.steps = lines, steps = self._lines, self._steps
        connect(m, flipped(i), lines.i)
        # A value is read every other cycle at most, once the one before it has left.
        moves = Signal()
        m.d.comb += [
            lines.header.eq(header),
            lines.addr.eq(steps.place),
            lines.en.eq(moves),
            steps.header.eq(header),
            steps.step.eq(moves),
            o.p.value.eq(lines.data),
            self.starved.eq(lines.waits & ~o.valid),
        ]
        with m.If(moves):
            m.d.sync += [
                o.valid.eq(1),
                o.p.row_last.eq(steps.window_last),
                o.p.image_last.eq(steps.image_last),
            ]
        with m.Elif(o.ready):
            m.d.sync += o.valid.eq(0)
        # Rows that have to end before the row of positions is there, with the padding behind the last one.
        needed, there = Signal(4), Signal()
        m.d.comb += there.eq((needed == 0) & ~lines.between)
        with m.If(lines.clear | (moves & steps.row_last)):
            m.d.sync += needed.eq(Mux(lines.clear, header.kernel_last + 1, header.stride))
        with m.Elif(lines.row_ends):
            m.d.sync += needed.eq(needed - 1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(~o.valid), lines.clear.eq(1), steps.clear.eq(1)]
                with m.If(i.valid & ~self.restart):
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += lines.take.eq(~there)
                with m.If(self.restart):
                    m.next = "IDLE"
                with m.Elif(there):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.sync += moves.eq(~moves & (~o.valid | o.ready))
                with m.If(moves & steps.row_last):
                    m.next = "FILL"
                    with m.If(steps.image_last):
                        m.next = "SKIP"
            with m.State("SKIP"):
                m.d.comb += lines.take.eq(~lines.complete)
                with m.If(self.restart | lines.complete):
                    m.next = "IDLE"
        return m
