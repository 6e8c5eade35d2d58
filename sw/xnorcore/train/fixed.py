"""Real shortcuts of a trained model in fixed point: the model with quantisers, and what that changes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UsageError
from ..model.check import brief, is_int
from ._torch import nn, torch
from .branches import unquantised
from .fewbits import MOST_BITS, Quant, Residual
from .layers import Sign
from .model import BinaryNet

__all__ = ["check_blocks", "in_fixed_point"]


def check_blocks(modules: Sequence[torch.nn.Module]) -> None:
    """Refuse modules that add real numbers to real numbers, with the way out; UsageError names the first."""
    for number in _real_blocks(modules):
        if not isinstance(modules[number - 1], Quant | Residual | Sign):
            raise unquantised(f"module {number} (Residual)")


def _real_blocks(modules: Sequence[torch.nn.Module]) -> list[int]:
    """Return which modules add real numbers."""
    return [
        number
        for number, one in enumerate(modules)
        if isinstance(one, Residual) and one.values is None and not isinstance(one.body[-1], Quant | Residual)
    ]


def in_fixed_point(
    model: BinaryNet | torch.nn.Sequential, bits: int, images: ArrayLike | None
) -> tuple[torch.nn.Sequential, dict[str, Any]]:
    """Return a model whose shortcuts are values of 8 bits, and in words what was changed.

    Each `Residual` whose body ends without a `Quant` gets one, of changes of so many bits, and saturates;
    what the first one reads becomes values. All have one step, with which they differ least from what they
    were.

    Parameters
    ----------
    model : torch.nn.Sequential
        Of float64; it stays as it is.
    bits : int
        Of a change, 2 to 8.
    images : array, shape (n, ...)
        What the model reads.

    Returns
    -------
    model : torch.nn.Sequential
        The same, if it adds no real numbers.
    notes : dict
        Empty then; else ``exported``, with what was ``rounded``: for the network's metadata.

    Raises
    ------
    UsageError
        If `bits` is out of range, there are no images, or the model is a recipe's.
    """
    from ..importers.onnx.fixed import CHANGE_BITS, step_for  # here: no other model needs the importers

    if isinstance(model, BinaryNet):
        raise UsageError("fixed_point is for models of one's own: no recipe adds real numbers")
    low, high = CHANGE_BITS
    if not is_int(bits) or not low <= bits <= high:
        raise UsageError(f"fixed_point is {brief(bits)}, but must be {low} to {high} bits of a change")
    blocks = _real_blocks(list(model))
    if not blocks:
        return model, {}
    x = _numbers(images)
    changed = copy.deepcopy(model).eval()
    try:
        values, changes, before = _seen(changed, blocks, x)
    except (RuntimeError, IndexError, ValueError) as error:
        raise UsageError(
            f"the model does not read images of shape {tuple(x.shape)}; give them as it takes them, "
            f"(n, channels, height, width): {str(error).splitlines()[0][:200]}"
        ) from None
    quant = Quant(MOST_BITS, signed=True)
    step = step_for(values, changes, bits, zero=0.0)
    with torch.no_grad():
        quant.step.fill_(step)
    for number in blocks:
        block: Any = changed[number]
        block.body.append(Quant(bits, signed=True, like=quant))
        block.values = quant
    modules = list(changed)
    changed = nn.Sequential(*modules[: blocks[0]], quant, *modules[blocks[0] :]).eval()
    with torch.no_grad():
        behind = changed(x).numpy().reshape(len(x), -1).argmax(axis=1)
    rounded = [
        f"in fixed point: what {len(blocks)} additions give are values of {MOST_BITS} bits, and what layers "
        f"add to them changes of {bits}, in steps of {step:.9g}",
        f"the model so changed gives another class for {int((before != behind).sum())} of {len(x)} of the "
        "images given",
    ]
    return changed, {"exported": {"rounded": rounded}}


def _numbers(images: ArrayLike | None) -> torch.Tensor:
    """Return images as the model takes them; UsageError if they are none."""
    try:
        x = np.asarray(() if images is None else images, np.float64)
    except (TypeError, ValueError):
        x = np.empty(0)
    if not x.size or not np.isfinite(x).all():
        raise UsageError(
            "fixed_point needs images: what the model reads, an array of finite numbers of shape (n, ...), "
            "with which a step is chosen and the classes are compared"
        )
    return torch.from_numpy(x)


def _seen(model: torch.nn.Sequential, blocks: list[int], x: torch.Tensor) -> tuple[list[Any], list[Any], Any]:
    """Return what is to be values, and changes, for images; and the classes."""
    values: list[Any] = []
    changes: list[Any] = []
    with torch.no_grad():
        for number, module in enumerate(model):
            if number in blocks:
                block: Any = module
                values += [x.numpy()] if number == blocks[0] else []
                changes.append(block.body(x).numpy())
            x = module(x)
            values += [x.numpy()] if number in blocks else []
    return values, changes, x.numpy().reshape(len(x), -1).argmax(axis=1)
