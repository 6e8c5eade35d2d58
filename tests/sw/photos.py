"""Photos of digits on paper, drawn: stated ranges of scale, place, tilt, light, shadow and noise."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SCALE = 0.35, 0.75
"""Height of the digit, as a share of the shorter side of the photo."""
TILT = 10.0
"""Degrees, to either side."""
OFF = 0.12
"""Distance of the digit from the middle, as a share of the side."""
PAPER, INK = (150, 250), (10, 90)
"""Light of paper and of ink where there is no shadow."""
SHADOW = 0.5, 0.9
"""What is left of the light in the shadow, whose edge is soft and crosses the photo anywhere."""
SLOPE = 0.3
"""Light that is lost from one side of the photo to the other, at most."""
NOISE = 3.0, 8.0
"""Standard deviation of the noise of each pixel."""
SIDES = 160, 420
QUALITY = 60, 95
"""Sides of the photo in pixels, and the quality of its JPEG."""

# Points of polylines in a box 0 to 1: x, y, from the top left. Arcs are polygons of their own.
_ROUND = [(0.5 + 0.5 * np.cos(t), 0.5 + 0.5 * np.sin(t)) for t in np.linspace(-np.pi / 2, 3 * np.pi / 2, 25)]


def _ring(
    x: float, y: float, w: float, h: float, first: float = 0, last: float = 360
) -> list[tuple[float, float]]:
    """An arc of the ellipse in a box, from the top clockwise, in degrees."""
    turns = np.radians(np.linspace(first, last, 25))
    return [(x + w / 2 * (1 + np.sin(t)), y + h / 2 * (1 - np.cos(t))) for t in turns]


Strokes = Sequence[Sequence[tuple[float, float]]]

PEN: dict[int, Strokes] = {
    0: [_ring(0.1, 0, 0.8, 1)],
    1: [[(0.3, 0.2), (0.55, 0), (0.55, 1)]],
    2: [[*_ring(0.1, 0, 0.75, 0.55, -80, 120), (0.1, 1), (0.9, 1)]],
    3: [_ring(0.1, 0, 0.7, 0.5, -70, 180), _ring(0.1, 0.47, 0.8, 0.53, 0, 250)],
    4: [[(0.7, 1), (0.7, 0), (0.05, 0.65), (0.95, 0.65)]],
    5: [[(0.85, 0), (0.25, 0), (0.2, 0.42), *_ring(0.08, 0.38, 0.8, 0.62, -20, 240)]],
    6: [[(0.75, 0.02), (0.4, 0.25), (0.17, 0.6)], _ring(0.15, 0.42, 0.7, 0.58)],
    7: [[(0.1, 0), (0.9, 0), (0.4, 1)]],
    8: [_ring(0.2, 0, 0.6, 0.47), _ring(0.12, 0.46, 0.76, 0.54)],
    9: [_ring(0.15, 0, 0.7, 0.5), [(0.85, 0.25), (0.8, 0.6), (0.6, 1)]],
}
"""A font of strokes."""
FONTS = ("sans", "pen", "slanted")


def glyph(font: str, digit: int) -> Image.Image:
    """A digit of a font, white on black, about 160 pixels high."""
    image = Image.new("L", (200, 240))
    draw = ImageDraw.Draw(image)
    if font == "sans":
        from PIL import ImageFont

        # Comes with Pillow.
        draw.text((100, 120), str(digit), 255, ImageFont.load_default(200), anchor="mm")
        return image.crop(image.getbbox())
    slant, wide, pen = (0.0, 110, 16) if font == "pen" else (0.25, 90, 11)
    for line in PEN[digit]:
        points = [(30 + wide * x + slant * 160 * (1 - y), 30 + 160 * y) for x, y in line]
        draw.line(points, 255, pen, joint="curve")
        for x, y in points:
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 255)
    return image.crop(image.getbbox())


def handwritten(bits: NDArray[Any]) -> Image.Image:
    """A digit of 28 x 28 bits, its strokes smooth, white on black."""
    image = Image.fromarray((bits.reshape(28, 28) > 0).astype(np.uint8) * 255)
    image = image.crop(image.getbbox())
    large = image.resize((image.width * 8, image.height * 8), Image.Resampling.BICUBIC)
    large = large.filter(ImageFilter.GaussianBlur(4))
    return Image.fromarray((np.asarray(large) > 127).astype(np.uint8) * 255)


def photo(digit: Image.Image, rng: np.random.Generator) -> bytes:
    """A JPEG of a digit on paper, within the ranges above."""
    wide, high = (int(n) for n in rng.integers(SIDES[0], SIDES[1] + 1, 2))
    side = min(wide, high)
    tall = side * rng.uniform(*SCALE)
    factor = min(tall / digit.height, 0.8 * side / digit.width)
    digit = digit.resize((max(1, int(digit.width * factor)), max(1, int(digit.height * factor))))
    digit = digit.rotate(rng.uniform(-TILT, TILT), Image.Resampling.BILINEAR, expand=True)
    mask = Image.new("L", (wide, high))
    dx, dy = rng.uniform(-OFF, OFF, 2) * side
    mask.paste(digit, (int((wide - digit.width) / 2 + dx), int((high - digit.height) / 2 + dy)))
    cover = np.asarray(mask, np.float64) / 255
    y, x = np.mgrid[0:high, 0:wide] / side
    turn = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    light = 1 - SLOPE * rng.uniform() * (along - along.min()) / np.ptp(along)
    turn = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    edge = rng.uniform(along.min(), along.max())
    dark = 1 / (1 + np.exp(-(along - edge) / rng.uniform(0.02, 0.1)))
    light = light * (1 - (1 - rng.uniform(*SHADOW)) * dark)
    paper, ink = rng.uniform(*PAPER), rng.uniform(*INK)
    values = (paper + (ink - paper) * cover) * light
    values = values[..., np.newaxis] * rng.uniform(0.9, 1, 3)
    values = values + rng.normal(0, rng.uniform(*NOISE), values.shape)
    image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(*QUALITY)))
    return buffer.getvalue()


def photos(images: NDArray[Any], labels: NDArray[Any], seed: int) -> Iterator[tuple[bytes, int]]:
    """200 photos and their digits: 110 by hand, of held-out images, and 30 of each font."""
    rng = np.random.default_rng(seed)
    for index in rng.choice(len(images), 110, replace=False):
        yield photo(handwritten(images[index]), rng), int(labels[index])
    for font in FONTS:
        for count in range(30):
            yield photo(glyph(font, count % 10), rng), count % 10
