"""What the export reads of PyTorch's own modules."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from ._torch import nn, torch
from .layers import BinaryConv2d, BinaryLinear

__all__ = ["pair", "place", "refusal", "stored"]


def pair(value: Any) -> tuple[int, int]:
    """Return a size that may be one number as (vertical, horizontal)."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def place(index: int | str, module: torch.nn.Module) -> str:
    """Return where a module stands, in messages."""
    return f"module {index} ({type(module).__name__})"


def stored(index: int | str, norm: Any) -> dict[str, Any]:
    """Return a batch norm as `xnorcore.folding.fold` takes it.

    Raises
    ------
    UsageError
        If it has no running statistics.
    """
    if norm.running_mean is None:
        raise UsageError(f"{place(index, norm)}: has no running statistics; set track_running_stats")
    tensors = {"mean": norm.running_mean, "var": norm.running_var}
    tensors["gamma"] = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
    tensors["beta"] = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
    return {key: value.detach().cpu().numpy() for key, value in tensors.items()} | {"eps": norm.eps}


def refusal(where: str, module: torch.nn.Module) -> str:
    """Return why a module cannot run on the accelerator at its place."""
    if isinstance(module, (BinaryLinear, BinaryConv2d)):
        return (
            f"{where}: reads real-valued activations, as in Binary-Weight-Networks; the accelerator has them "
            "only as 1- to 8-bit values; put xnorcore.train.Sign or Quant in front of it"
        )
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return f"{where}: has real weights; use BinaryLinear or BinaryConv2d of xnorcore.train"
    if isinstance(module, (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.PReLU, nn.SiLU)):
        return (
            f"{where}: gives real-valued activations, as in Binary-Weight-Networks; the accelerator has them "
            "only as 1- to 8-bit values; use xnorcore.train.Sign or Quant"
        )
    return (
        f"{where}: is not expected here; the order is layer, pooling or none, batch norm or none, Sign, "
        "pooling or none, and again, ending in a layer with or without batch norm"
    )
