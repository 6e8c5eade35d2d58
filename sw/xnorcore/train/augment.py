"""Random small distortions of integer images, as a batch."""

from __future__ import annotations

from math import radians

from ._torch import nn, torch
from .recipe import Augment

_CHUNK = 2000
"""Images at a time: sampling takes some 50 bytes per pixel."""


def augment(images: torch.Tensor, options: Augment, maximum: int, generator: torch.Generator) -> torch.Tensor:
    """Mirror, rotate, stretch, shear and shift each image by its own random amounts.

    Parameters
    ----------
    images : torch.Tensor
        Integers, shape (batch, height, width, channels).
    options : Augment
        Largest amounts; each image draws uniformly within them.
    maximum : int
        Largest pixel value.
    generator : torch.Generator
        Source of the random numbers, on the CPU, so that every device sees the same ones.

    Returns
    -------
    torch.Tensor
        Same shape and dtype: bilinear interpolation, rounded; what comes in from outside is 0. A shift
        of a whole number, with neither rotation nor stretch, moves by whole pixels.
    """
    draws = torch.rand(7, len(images), generator=generator, dtype=torch.float64) * 2 - 1
    if options.mirror:
        flipped = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(flipped.to(images.device)[:, None, None, None], images.flip(2), images)
    draws = draws.to(images.device)
    if not options.rotation and not options.stretch and options.shift == int(options.shift):
        return _roll(images, int(options.shift), draws[5:])
    chunks = zip(images.split(_CHUNK), draws.split(_CHUNK, dim=1), strict=True)
    return torch.cat([_sample(chunk, options, maximum, part) for chunk, part in chunks])


def _roll(images: torch.Tensor, shift: int, draws: torch.Tensor) -> torch.Tensor:
    """Shift by whole pixels, each distance as likely: sharp, and much faster than sampling."""
    _, height, width, _ = images.shape
    right, down = ((draws + 1) / 2 * (2 * shift + 1)).long().clamp(0, 2 * shift)
    padded = nn.functional.pad(images, (0, 0, shift, shift, shift, shift))
    moved = torch.empty_like(images)
    for y in range(2 * shift + 1):
        for x in range(2 * shift + 1):
            chosen = (down == y) & (right == x)
            moved[chosen] = padded[chosen, y : y + height, x : x + width]
    return moved


def _sample(images: torch.Tensor, options: Augment, maximum: int, draws: torch.Tensor) -> torch.Tensor:
    _, height, width, _ = images.shape
    angle = draws[0] * radians(options.rotation)
    tall, wide = 1 + draws[1] * options.stretch, 1 + draws[2] * options.stretch
    shear_x, shear_y = draws[3] * options.stretch, draws[4] * options.stretch
    # The sampling grid spans -1 to 1: one pixel is 2 / size.
    right, down = draws[5] * options.shift * 2 / width, draws[6] * options.shift * 2 / height
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [wide * cos, shear_x - sin, right], [shear_y + sin, tall * cos, down]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    planes = images.permute(0, 3, 1, 2).to(torch.float64)
    grid = nn.functional.affine_grid(matrix, list(planes.shape), align_corners=False)
    moved = nn.functional.grid_sample(planes, grid, align_corners=False)
    return moved.round().clamp(0, maximum).permute(0, 2, 3, 1).to(images.dtype)
