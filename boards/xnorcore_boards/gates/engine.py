"""A netlist as an engine of the simulated device, and as a device of the driver."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from xnorcore.errors import EngineError
from xnorcore_hw.sim import cache
from xnorcore_hw.sim.compiled import harness_files
from xnorcore_hw.sim.native import NativeEngine
from xnorcore_hw.sim.toolchain import FLAGS, NO_COMPILER, compile_library, find_compiler

from ..clock import RESET_S
from .circuit import Circuit
from .emit import emit

__all__ = ["NetlistEngine", "read_top"]

Say = Callable[[str], None]
_FILES = 2
_RESETS = 8
"""Shortest resets that the first one lasts at most; it ends at a power of two of cycles."""


def read_top(path: Path) -> dict[str, Any]:
    """Return the top module of a netlist that Yosys wrote as JSON.

    Raises
    ------
    EngineError
        If the file is not there or is none.
    """
    try:
        modules = json.loads(path.read_text())["modules"]
    except OSError as error:
        raise EngineError(f"cannot read the netlist {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise EngineError(f"{path} is not a netlist as Yosys writes it") from None
    if "top" not in modules:
        raise EngineError(f"{path} has no module named top")
    return modules["top"]


class NetlistEngine(NativeEngine):
    """Engine that runs a board's netlist; its link is always ``uart``, and its first reset is over.

    Parameters
    ----------
    circuit : Circuit
    clock_hz : int
        Of the board.
    divisor : int
        Clock cycles per UART bit, as the netlist was built.
    progress : callable, optional
        Called with one line of text before slow work.

    Raises
    ------
    EngineError
        If it cannot be compiled or loaded.
    """

    def __init__(self, circuit: Circuit, clock_hz: int, divisor: int, progress: Say | None = None) -> None:
        build = partial(_library, circuit, progress or (lambda text: None))
        super().__init__(build, "uart", divisor, progress)
        self.run(math.ceil(_RESETS * RESET_S * clock_hz))


def _library(circuit: Circuit, say: Say) -> Path:
    files = {**emit(circuit, _FILES), **harness_files()}
    name = f"netlist-{cache.key(FLAGS, *(part for item in sorted(files.items()) for part in item))}"

    def build(folder: Path) -> Path:
        compiler = find_compiler()
        if compiler is None:
            raise EngineError(NO_COMPILER)
        for file, text in files.items():
            (folder / file).write_text(text)
        say(f"compiling C++ with {compiler.name} {compiler.version}")
        output = folder / f"{name}.so"
        log = cache.cache_directory() / f"{name}.log"
        compile_library(compiler, sorted(folder.glob("*.cc")), output, log)
        return output

    return cache.cached(f"{name}.so", build, say)
