"""The one place that imports PyTorch, so that its absence is one clear error."""

from ..errors import MissingDependencyError
from ..extras import install_extra

try:
    import torch  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise MissingDependencyError(f"training needs PyTorch; run: {install_extra('train')}") from error

nn = torch.nn

__all__ = ["nn", "torch"]
