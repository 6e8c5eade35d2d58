"""Binarized neural networks on small FPGAs: numerics, compiler, link and driver.

What a user's program needs can be imported from here, and stays here whatever becomes of the modules behind
it. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiler.compile import compile_network
    from .files import xnorfile
    from .model.network import Add, Concat, Conv2d, Dense, GlobalSum, InputSpec, MaxPool2d, Network, Node
    from .reference import fast, golden
    from .runtime.accelerator import Accelerator

__version__ = "0.1.0"

__all__ = [
    "Accelerator", "Add", "Concat", "Conv2d", "Dense", "GlobalSum", "InputSpec", "MaxPool2d", "Network",
    "Node", "compile_network", "fast", "golden", "xnorfile",
]  # fmt: skip

_ROOMS = {
    "runtime.accelerator": ("Accelerator",),
    "model.network": (
        "Add",
        "Concat",
        "Conv2d",
        "Dense",
        "GlobalSum",
        "InputSpec",
        "MaxPool2d",
        "Network",
        "Node",
    ),
    "compiler.compile": ("compile_network",),
    "reference.fast": ("fast",),
    "reference.golden": ("golden",),
    "files.xnorfile": ("xnorfile",),
}
"""Where each name is; one that a module's path ends in is the module."""


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            module = import_module(f".{room}", __name__)
            return module if room.endswith(f".{name}") else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
