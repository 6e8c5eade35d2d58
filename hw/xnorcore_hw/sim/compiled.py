"""The default engine: the design as C++, compiled once per configuration and loaded as a library."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from xnorcore.errors import EngineError
from xnorcore.geometry import DeviceConfig

from . import cache
from .compiler import FLAGS, NO_COMPILER, compile_library, find_compiler
from .engine import Factory, Progress, check_link, check_ports, standard_top

_HARNESS = Path(__file__).with_name("harness.cc")
_SUFFIX = ".dll" if os.name == "nt" else ".so"
_MAX_PARTS = 8


def generate(config: DeviceConfig, clock_hz: int, top: Factory | None = None) -> dict[str, str]:
    """Return the C++ files of one simulated device, file name to text, the harness included.

    Raises
    ------
    EngineError
        If the design lacks a port or cannot be compiled (two clocks, a combinational loop).
    """
    from .codegen import Emitter
    from .netlist import Schedule, lower

    # Millions of long-lived small objects: the collector takes 40 % of the time and finds nothing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        component = (top or standard_top)(config, clock_hz)
        check_ports(component)
        schedule = Schedule(lower(component))
        parts = max(1, min(os.cpu_count() or 1, _MAX_PARTS, len(schedule.order) // 400))
        files = Emitter(schedule).sources(parts)
    finally:
        if collecting:
            gc.enable()
    return files | {"harness.cc": _HARNESS.read_text()}


def library(
    config: DeviceConfig, clock_hz: int, *, top: Factory | None = None, progress: Progress | None = None
) -> Path:
    """Return the compiled simulator of a configuration, building it if the cache has none.

    The cache key covers the configuration, the sources and Amaranth's version, so a hit elaborates
    nothing. With a `top` of the caller's the key is the generated C++ instead.

    Raises
    ------
    EngineError
        If there is no C++ compiler, it fails, or the cache cannot be written.
    """
    say = progress or (lambda text: None)
    files: dict[str, str] | None = None
    if top is None:
        content = cache.source_digest(), version("amaranth")
    else:
        files = generate(config, clock_hz, top)
        content = tuple(f"{name}\0{text}" for name, text in sorted(files.items()))
    name = f"sim-{config.geometry}-{cache.key(asdict(config), clock_hz, FLAGS, *content)}"

    def build(folder: Path) -> Path:
        started = time.monotonic()
        compiler = find_compiler()
        if compiler is None:
            raise EngineError(NO_COMPILER)
        texts = files
        if texts is None:
            say(f"simulated device {config.geometry}: elaborating")
            texts = generate(config, clock_hz)
        for file, text in texts.items():
            (folder / file).write_text(text)
        sources = [folder / file for file in texts if file.endswith(".cc")]
        say(f"simulated device {config.geometry}: compiling C++ with {compiler.name} {compiler.version}")
        output = folder / f"{name}{_SUFFIX}"
        compile_library(compiler, sources, output, cache.cache_directory() / f"{name}.log")
        say(f"simulated device {config.geometry}: built in {time.monotonic() - started:.1f} s")
        return output

    return cache.cached(f"{name}{_SUFFIX}", build)


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    device, u64 = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("xc_open", device, [ctypes.c_int, u64]),
        ("xc_close", None, [device]),
        ("xc_reset", None, [device]),
        ("xc_write", ctypes.c_int, [device, ctypes.c_char_p, u64]),
        ("xc_run", u64, [device, u64]),
        ("xc_collect", None, [device, ctypes.c_char_p]),
        ("xc_cycles", u64, [device]),
        ("xc_pending", u64, [device]),
        ("xc_framing_errors", u64, [device]),
        ("xc_memory", ctypes.c_int, [device]),
        ("xc_failed", ctypes.c_char_p, [device]),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class CompiledEngine:
    """Engine compiled to machine code; more than five hundred times as fast as Amaranth's simulator.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Clock that the device believes it has, in Hz.
    link : str
        ``direct`` or ``uart``.
    divisor : int
        Clock cycles per UART bit.
    top : callable, optional
        ``top(config, clock_hz)`` returns the component to simulate; default: the accelerator.
    progress : callable, optional
        Called with one line of text at each stage of a build.

    Raises
    ------
    UsageError
        If `link` or `divisor` is illegal.
    EngineError
        If the simulator cannot be built or loaded.
    """

    def __init__(
        self,
        config: DeviceConfig,
        clock_hz: int,
        *,
        link: str = "direct",
        divisor: int = 4,
        top: Factory | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._device: int | None = None
        check_link(link, divisor)
        path = library(config, clock_hz, top=top, progress=progress)
        try:
            self._lib = _load(path)
        except (OSError, AttributeError):
            # Damaged, or of another machine that shares the folder: build it again, once.
            path.unlink(missing_ok=True)
            path = library(config, clock_hz, top=top, progress=progress)
            try:
                self._lib = _load(path)
            except (OSError, AttributeError) as error:
                raise EngineError(f"cannot load the compiled simulator {path}: {error}") from error
        self._device = self._lib.xc_open(link == "direct", divisor)
        if not self._device:
            raise EngineError("out of memory: cannot open the simulated device; choose smaller depths")

    @property
    def cycles(self) -> int:
        """Clock cycles run since the engine was opened."""
        return self._lib.xc_cycles(self._open())

    @property
    def pending(self) -> int:
        """Bytes written that are not yet on the wire."""
        return self._lib.xc_pending(self._open())

    @property
    def framing_errors(self) -> int:
        """Bytes from the device without a stop bit, since power-on."""
        return self._lib.xc_framing_errors(self._open())

    def reset(self) -> None:
        """Switch the device off and on."""
        self._lib.xc_reset(self._open())

    def write(self, data: bytes) -> None:
        """Queue bytes towards the device.

        Raises
        ------
        EngineError
            If the engine is closed or the queue does not fit the memory.
        """
        data = bytes(data)
        if not self._lib.xc_write(self._open(), data, len(data)):
            raise EngineError(f"out of memory: cannot queue {len(data)} bytes for the simulated device")

    def run(self, max_cycles: int) -> bytes:
        """Advance the clock until a zero byte arrives, but at most `max_cycles`; return what arrived.

        Raises
        ------
        EngineError
            If an assertion in the gateware fails, or the engine is closed.
        """
        device = self._open()
        size = self._lib.xc_run(device, max(max_cycles, 0))
        place = self._lib.xc_failed(device)
        if place is not None:
            raise EngineError(f"an assertion in the gateware failed in cycle {self.cycles}: {place.decode()}")
        if not self._lib.xc_memory(device):
            raise EngineError("out of memory: the simulated device's output does not fit")
        data = ctypes.create_string_buffer(size)
        if size:
            self._lib.xc_collect(device, data)
        return data.raw

    def close(self) -> None:
        """Release the simulation; closing twice is harmless."""
        if self._device is not None:
            self._lib.xc_close(self._device)
            self._device = None

    def __enter__(self) -> CompiledEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _open(self) -> int:
        if self._device is None:
            raise EngineError("the simulation engine is closed; open a new one")
        return self._device
