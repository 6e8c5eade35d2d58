"""The default engine: the design as C++, compiled once per configuration and loaded as a library."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from xnorcore.errors import EngineError
from xnorcore.files.cache import cache_directory
from xnorcore.isa.device import DeviceConfig

from . import cache
from .engine import Factory, Progress, check_ports, standard_top
from .native import NativeEngine
from .toolchain import FLAGS, NO_COMPILER, compile_library, find_compiler

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from .fast.schedule import Schedule

_HARNESS = ("harness.cc", "wire.h")
_SUFFIX = ".dll" if os.name == "nt" else ".so"
_MAX_PARTS = 8


@dataclass(frozen=True)
class Sources:
    """C++ of one design.

    Attributes
    ----------
    files : dict of str to str
        File name to text. ``design.h`` defines the class ``Design`` that ``harness.cc`` drives.
    flags : dict of str to tuple of str
        Further compiler flags of single files.
    include : Path, optional
        Folder of headers.
    standard_library : bool
        Whether the sources need the C++ standard library.
    """

    files: dict[str, str]
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    include: Path | None = None
    standard_library: bool = False


@dataclass(frozen=True)
class Backend:
    """A way to C++.

    Attributes
    ----------
    name : str
        Name of the engine.
    versions : callable
        Returns what, besides the sources of this project, decides the result.
    generate : callable
        ``generate(component, say)`` returns the C++; ``say`` takes a line of text before slow work.
    """

    name: str
    versions: Callable[[], tuple[str, ...]]
    generate: Callable[[wiring.Component, Progress], Sources]


def harness_files() -> dict[str, str]:
    """Return the C++ around every design: file name to text, for a folder that also holds ``design.h``."""
    return {file: Path(__file__).with_name(file).read_text() for file in _HARNESS}


def library(
    backend: Backend,
    config: DeviceConfig,
    clock_hz: int,
    *,
    top: Factory | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the simulator of a configuration, building it if the cache has none.

    The cache key covers the configuration, the sources and the tools' versions, so a hit elaborates
    nothing. With a `top` of the caller's the key is the generated C++ instead.

    Raises
    ------
    EngineError
        If there is no C++ compiler, it fails, or the cache cannot be written.
    MissingDependencyError
        If the backend needs a tool that is not installed.
    """
    say = progress or (lambda text: None)
    title = f"simulated device {config.geometry}"

    def generate() -> Sources:
        component = (top or standard_top)(config, clock_hz)
        check_ports(component)
        # Millions of long-lived small objects: the collector takes 40 % of the time and finds nothing.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return backend.generate(component, lambda text: say(f"{title}: {text}"))
        finally:
            if collecting:
                gc.enable()

    sources: Sources | None = None
    if top is None:
        content = cache.source_digest(), *backend.versions()
    else:
        sources = generate()
        harness = tuple(harness_files().values())
        content = (*(f"{name}\0{text}" for name, text in sorted(sources.files.items())), *harness)
    key = cache.key(backend.name, asdict(config), clock_hz, FLAGS, *content)
    name = f"sim-{config.geometry}-{key}"

    def build(folder: Path) -> Path:
        started = time.monotonic()
        compiler = find_compiler()
        if compiler is None:
            raise EngineError(NO_COMPILER)
        made = sources
        if made is None:
            say(f"{title}: elaborating")
            made = generate()
        harness = harness_files()
        for file, text in (made.files | harness).items():
            (folder / file).write_text(text)
        say(f"{title}: compiling C++ with {compiler.name} {compiler.version}")
        output = folder / f"{name}{_SUFFIX}"
        log = cache_directory() / f"{name}.log"
        compile_library(
            compiler.with_standard_library() if made.standard_library else compiler,
            sorted(folder.glob("*.cc")), output, log, flags=made.flags, include=made.include,
        )  # fmt: skip
        say(f"{title}: built in {time.monotonic() - started:.1f} s")
        return output

    return cache.cached(f"{name}{_SUFFIX}", build, say)


def generate(component: wiring.Component, say: Progress = print) -> Sources:
    """Return the C++ of one component from this project's own generator.

    Raises
    ------
    EngineError
        If the design cannot be compiled: two clocks, a combinational loop, a cell without a model.
    """
    from .adapter import lower
    from .fast.codegen import Emitter
    from .fast.netlist import Nets
    from .fast.schedule import Schedule

    schedule = Schedule(Nets(lower(component)))
    return Sources(Emitter(schedule).sources(parts_of(schedule)), flags={"lanes.cc": ("-O3",)})


def parts_of(schedule: Schedule) -> int:
    """Return into how many files a design's C++ is split, which are compiled at the same time."""
    return max(1, min(os.cpu_count() or 1, _MAX_PARTS, len(schedule.order) // 400))


COMPILED = Backend("compiled", lambda: (f"amaranth {version('amaranth')}",), generate)


class CompiledEngine(NativeEngine):
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

    backend = COMPILED

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
        build = partial(library, self.backend, config, clock_hz, top=top, progress=progress)
        super().__init__(build, link, divisor, progress)
