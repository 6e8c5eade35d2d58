"""What a run sets in PyTorch, and puts back; PyTorch's errors in words of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UsageError
from ._torch import torch
from .recipe import Recipe

__all__ = ["deterministic", "enough_memory", "version"]


def version() -> str:
    """Return the version of PyTorch: another one may round otherwise."""
    return str(torch.__version__)


@contextmanager
def enough_memory(recipe: Recipe) -> Iterator[None]:
    """Turn PyTorch's words for too little memory into an error of ours."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if isinstance(error, MemoryError) or "alloc" in text or "out of memory" in text:
            raise UsageError(
                f"recipe {recipe.name!r}: out of memory; use a smaller batch, smaller layers or fewer images"
            ) from None
        raise


@contextmanager
def deterministic(seed: int, threads: int, device: str) -> Iterator[None]:
    """Seed PyTorch and allow only deterministic algorithms; put everything back afterwards."""
    try:
        if torch.device(device).type == "cuda":
            # cuBLAS reads this when it starts; without it PyTorch refuses to be deterministic.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r}: {str(error).splitlines()[0]}") from None
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
