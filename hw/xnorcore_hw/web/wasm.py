"""The simulated device as WebAssembly, compiled once per configuration."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from xnorcore.errors import MissingDependencyError
from xnorcore.extras import install_extra
from xnorcore.files.cache import cache_directory
from xnorcore.isa.device import DeviceConfig

from ..sim import cache
from ..sim.compiled import generate, harness_files
from ..sim.engine import Progress
from ..sim.toolchain import Tool, compile_library, find_zig

__all__ = ["device_wasm"]

_TARGET = ("-target", "wasm32-wasi")
_FLAGS = (
    "-std=c++17", "-O1", "-g0", "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden",
    "-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint",
)  # fmt: skip
_LANES = ("-O3", "-msimd128")
_LINK = ("-nostdlib", "-Wl,--no-entry", "-s")
_SOURCES = ("device.cc", "memory.h")


def device_wasm(config: DeviceConfig, clock_hz: int, progress: Progress | None = None) -> Path:
    """Return the simulated device of a configuration as a WebAssembly file, building it if there is none.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Clock that the device believes it has, in Hz.
    progress : callable, optional
        Called with one line of text at each stage of a build.

    Raises
    ------
    MissingDependencyError
        If the compiler is not installed.
    EngineError
        If the build fails.
    """
    say = progress or (lambda text: None)
    zig = find_zig()
    if zig is None:
        raise MissingDependencyError(
            f"xnorcore web compiles the device with ziglang, which is not installed; "
            f"run: {install_extra('zig')}"
        )
    compiler = Tool(zig.name, (*zig.command, *_TARGET), zig.version)
    parts = asdict(config), clock_hz, _FLAGS, _LANES, _LINK, zig.version, version("amaranth")
    key = cache.key("web", *parts, cache.source_digest())
    name = f"web-{config.geometry}-{key}"

    def build(folder: Path) -> Path:
        from .watched import WatchedTop

        say(f"device {config.geometry} for the page: elaborating")
        made = generate(WatchedTop(config, clock_hz), say)
        own = {name: Path(__file__).with_name(name).read_text() for name in _SOURCES}
        files = {**made.files, **harness_files(), **own}
        for file, text in files.items():
            (folder / file).write_text(text)
        # The harness is included by the page's own source.
        sources = sorted(path for path in folder.glob("*.cc") if path.name != "harness.cc")
        say(f"device {config.geometry} for the page: compiling to WebAssembly")
        output = folder / f"{name}.wasm"
        log = cache_directory() / f"{name}.log"
        flags = {"lanes.cc": _LANES}
        compile_library(compiler, sources, output, log, flags=flags, common=_FLAGS, link=_LINK)
        say(f"device {config.geometry} for the page: {output.stat().st_size:,} bytes")
        return output

    return cache.cached(f"{name}.wasm", build, say)
