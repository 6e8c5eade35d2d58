"""Training of binarized networks, and their export to integer networks. Needs the extra ``[train]``.

Importing this package needs no PyTorch; `train` does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..datasets import Dataset
from .recipe import Augment, Conv, Recipe
from .recipes import RECIPES

if TYPE_CHECKING:
    from .export import to_network
    from .fewbits import Quant, QuantConv2d, QuantLinear, Residual, Shortcut
    from .layers import BinaryConv2d, BinaryLinear, Sign, sign
    from .loop import Progress, train

__all__ = [
    "RECIPES", "Augment", "BinaryConv2d", "BinaryLinear", "Conv", "Dataset", "Progress", "Quant",
    "QuantConv2d", "QuantLinear", "Recipe", "Residual", "Shortcut", "Sign", "sign", "to_network", "train",
]  # fmt: skip

_LAZY = {
    "BinaryConv2d": "layers", "BinaryLinear": "layers", "Sign": "layers", "sign": "layers",
    "Quant": "fewbits", "QuantConv2d": "fewbits", "QuantLinear": "fewbits", "Residual": "fewbits",
    "Shortcut": "fewbits", "to_network": "export", "Progress": "loop", "train": "loop",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
