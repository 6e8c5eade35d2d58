"""Training of binarized networks, and their export to integer networks. Needs the extra ``[train]``.

Importing this package needs no PyTorch; `train` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..datasets import Dataset
from .recipe import RECIPES, Augment, Conv, Recipe

if TYPE_CHECKING:
    from .loop import Progress, train

__all__ = ["RECIPES", "Augment", "Conv", "Dataset", "Progress", "Recipe", "train"]


def __getattr__(name: str) -> Any:
    if name in ("Progress", "train"):
        from . import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
