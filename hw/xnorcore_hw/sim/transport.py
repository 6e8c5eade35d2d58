"""The simulated device as a transport of the driver, and the ``sim:`` URL that opens it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from xnorcore.boards import BAUD, CLOCK_HZ, board_config, find_device
from xnorcore.errors import UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import MIN_DIVISOR
from xnorcore.isa.stores import check_clock

from .engine import ENGINES, LINKS, MAX_DIVISOR, Engine, Progress
from .engine_transport import EngineTransport

MAX_CLOCK_HZ = 1_000_000_000

_SIZES = [f.name for f in fields(Geometry)] + [f.name for f in fields(DeviceConfig) if f.name != "geometry"]
_OPTIONS = ["board", *_SIZES, "link", "engine", "clock_hz", "baud"]
# Cycles between two looks at Ctrl-C: about 0.1 s of each engine.
_AT_ONCE = {"compiled": 100_000, "amaranth": 100, "cxxrtl": 20_000}


def _divisors(clock_hz: int) -> list[int]:
    """Every number of clock cycles per bit that gives a whole baud rate."""
    low = [d for d in range(1, math.isqrt(clock_hz) + 1) if clock_hz % d == 0]
    both = sorted({*low, *(clock_hz // d for d in low)})
    return [d for d in both if MIN_DIVISOR <= d <= MAX_DIVISOR]


def divisor_for(clock_hz: int, baud: int) -> int:
    """Return the clock cycles per UART bit.

    Raises
    ------
    UsageError
        If `baud` does not divide `clock_hz` into 4 to 65535 whole cycles; the nearest legal rates are named.
    """
    if baud > 0 and clock_hz % baud == 0 and MIN_DIVISOR <= clock_hz // baud <= MAX_DIVISOR:
        return clock_hz // baud
    bauds = sorted(clock_hz // d for d in _divisors(clock_hz))
    below = [b for b in bauds if b < baud][-1:]
    above = [b for b in bauds if b > baud][:1]
    nearest = " and ".join(str(b) for b in below + above) or "none at this clock"
    raise UsageError(
        f"baud is {baud}, but must divide clock_hz {clock_hz} into {MIN_DIVISOR} to {MAX_DIVISOR} "
        f"whole cycles per bit; nearest legal: {nearest}"
    )


def _default_baud(clock_hz: int) -> int:
    legal = [clock_hz // d for d in _divisors(clock_hz)]
    if not legal:
        raise UsageError(f"clock_hz is {clock_hz}, which no baud rate divides by 4 or more; try {CLOCK_HZ}")
    return min(legal, key=lambda baud: abs(baud - BAUD))


@dataclass(frozen=True)
class SimOptions:
    """Everything that a ``sim:`` URL can say.

    Parameters
    ----------
    config : DeviceConfig
    link : str
        ``direct``: frames as bytes, no bit timing. ``uart``: every bit on the wire.
    engine : str
        ``compiled``, ``amaranth`` or ``cxxrtl``.
    clock_hz : int
        Clock of the device in Hz; it is what turns cycles into seconds.
    baud : int
        Bits per second of the UART; 0 picks 3,000,000 or the nearest that the clock divides into.
    clocks_per_bit : int
        Of the UART, where `baud` is what a board was asked for: its clock need not be a multiple. 0: exactly
        `clock_hz` / `baud`.

    Raises
    ------
    UsageError
        If a value is not one of those, or `baud` does not divide `clock_hz`.
    GeometryError
        If the device's store cannot work at `clock_hz`.
    """

    config: DeviceConfig = field(default_factory=DeviceConfig)
    link: str = "direct"
    engine: str = "compiled"
    clock_hz: int = CLOCK_HZ
    baud: int = 0
    clocks_per_bit: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("link", self.link, LINKS), ("engine", self.engine, ENGINES)):
            if value not in known:
                raise UsageError(f"{name} is {value!r}, but must be one of: {', '.join(known)}")
        if not 1 <= self.clock_hz <= MAX_CLOCK_HZ:
            raise UsageError(f"clock_hz is {self.clock_hz}, but must be 1 to {MAX_CLOCK_HZ}")
        check_clock(self.config.store_kind, self.clock_hz)
        if not self.baud:
            object.__setattr__(self, "baud", _default_baud(self.clock_hz))
        if not self.clocks_per_bit:
            divisor_for(self.clock_hz, self.baud)

    @property
    def divisor(self) -> int:
        """Clock cycles per UART bit."""
        return self.clocks_per_bit or self.clock_hz // self.baud

    @classmethod
    def parse(cls, spec: str) -> SimOptions:
        """Read ``NAME=VALUE,NAME=VALUE``, the part of the URL after ``sim:``.

        ``board=NAME`` is a board's device: its configuration, clock, and clock cycles per bit at its baud
        rate, or the best one of its USB bridge. Other options change a part of that.

        Raises
        ------
        UsageError
            If an option is unknown, given twice or not a number; or there is no such board.
        GeometryError
            If a size is illegal.
        """
        given: dict[str, str] = {}
        for item in filter(None, spec.split(",")):
            name, equals, value = (part.strip() for part in item.partition("="))
            if not equals or name not in _OPTIONS:
                raise UsageError(f"unknown option {item.strip()!r} of sim:; known: {', '.join(_OPTIONS)}")
            if name in given:
                raise UsageError(f"option {name} of sim: is given twice: {given[name]} and {value}")
            given[name] = value
        link, engine = given.pop("link", "direct"), given.pop("engine", "compiled")
        chosen = given.pop("board", None)
        numbers: dict[str, int] = {}
        for name, value in given.items():
            if not (value.isascii() and value.isdigit() and len(value) <= 12):
                raise UsageError(f"option {name} of sim: is {value!r}, but must be a whole number")
            numbers[name] = int(value)
        if numbers.get("baud") == 0:
            raise UsageError("option baud of sim: is 0; leave it out for the default")
        board = None if chosen is None else find_device(chosen)
        clock_hz = numbers.pop("clock_hz", board.clock_hz if board else CLOCK_HZ)
        own = board is not None and clock_hz == board.clock_hz
        baud = numbers.pop("baud", board.baud if board and own else 0)
        clocks = board.clocks_per_bit.get(baud, 0) if board and own else 0
        return cls(board_config(chosen, numbers), link, engine, clock_hz, baud, clocks)

    def open_engine(self, progress: Progress | None = None) -> Engine:
        """Start the simulated device.

        Raises
        ------
        EngineError
            If it cannot be built.
        MissingDependencyError
            If it needs a tool that is not installed.
        """
        if self.engine == "compiled":
            from .compiled import CompiledEngine as Chosen
        elif self.engine == "cxxrtl":
            from .cxxrtl import CxxrtlEngine as Chosen
        else:
            from .amaranth_engine import AmaranthEngine as Chosen
        return Chosen(self.config, self.clock_hz, link=self.link, divisor=self.divisor, progress=progress)


class SimTransport(EngineTransport):
    """A `Transport` to a simulated device.

    Parameters
    ----------
    options : SimOptions
    engine : Engine
    name : str
        What messages call it.
    at_once : int, optional
        Cycles between two looks at Ctrl-C.

    Attributes
    ----------
    options : SimOptions
    engine : Engine
    name : str
    clock_hz : int
        Clock of the device in Hz.
    """

    def __init__(
        self, options: SimOptions, engine: Engine, name: str = "sim:", at_once: int | None = None
    ) -> None:
        super().__init__(engine, options.clock_hz, name, at_once or _AT_ONCE[options.engine])
        self.options = options

    @property
    def config(self) -> DeviceConfig:
        """The device's configuration."""
        return self.options.config

    @property
    def link(self) -> str:
        """``direct`` or ``uart``."""
        return self.options.link

    @property
    def divisor(self) -> int:
        """Clock cycles per UART bit."""
        return self.options.divisor


def open_sim(spec: str = "", *, progress: Progress | None = None) -> SimTransport:
    """Open a simulated device.

    Parameters
    ----------
    spec : str
        The part of the URL after ``sim:``, for instance ``rows=2,columns=32,width=32,link=uart``.
        Options are those of `SimOptions` and the sizes of `Geometry` and `DeviceConfig`.
    progress : callable, optional
        Called with one line of text while the simulator is built.

    Raises
    ------
    UsageError
        If an option is unknown or its value illegal.
    GeometryError
        If a size is illegal.
    EngineError
        If the simulator cannot be built.
    """
    options = SimOptions.parse(spec)
    return SimTransport(options, options.open_engine(progress), f"sim:{spec}")
