"""The one place that imports PyTorch, so that its absence is one clear error."""

from ..errors import MissingDependencyError

try:
    import torch  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise MissingDependencyError('training needs PyTorch; run: pip install "xnorcore[train]"') from error

nn = torch.nn

__all__ = ["nn", "torch"]
