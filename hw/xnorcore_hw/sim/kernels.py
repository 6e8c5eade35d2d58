"""The bit-packed model's inner loops, compiled once; `xnorcore.reference.kernels` finds them."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

from xnorcore.errors import EngineError
from xnorcore.files.cache import cache_directory

from . import cache
from .toolchain import FLAGS, compile_library, find_compiler

__all__ = ["library", "load"]

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernels.cc", "slices.h"))
_HERE = ("-O3", "-march=native")
_SUFFIX = ".dll" if os.name == "nt" else ".so"
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_uint64


def load() -> ctypes.CDLL | None:
    """Return the library, built if the cache has none; None where there is no compiler, or none that can."""
    try:
        found = ctypes.CDLL(str(library()))
    except (EngineError, OSError):
        return None
    found.xk_bits.argtypes = [_POINTER] * 6 + [_SIZE] * 5
    found.xk_sums.argtypes = [_POINTER] * 5 + [_SIZE] * 4
    found.xk_windows.argtypes = [_POINTER] * 2 + [_SIZE] * 13
    found.xk_pack.argtypes = [_POINTER] * 2 + [_SIZE] * 4
    found.xk_chain.argtypes = [_POINTER, _SIZE, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _POINTER]
    for name in ("xk_chain", "xk_bits", "xk_sums", "xk_windows", "xk_pack"):
        getattr(found, name).restype = None
    return found


def library() -> Path:
    """Return the shared library, building it if it is not there.

    Raises
    ------
    EngineError
        If there is no compiler, it fails, or the cache cannot be written.
    """
    compiler = find_compiler()
    if compiler is None:
        raise EngineError("no C++ compiler")
    texts = [source.read_text() for source in _SOURCES]
    # A library for one kind of processor must not be loaded on another that shares the folder.
    key = cache.key(*texts, FLAGS, _HERE, compiler.name, compiler.version, _processor())
    name = f"kernels-{key}{_SUFFIX}"

    def build(folder: Path) -> Path:
        for source, text in zip(_SOURCES, texts, strict=True):
            (folder / source.name).write_text(text)
        main, output = folder / _SOURCES[0].name, folder / name
        log = cache_directory() / f"{name}.log"
        compile_library(compiler, [main], output, log, flags={main.name: _HERE})
        return output

    return cache.cached(name, build)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
