"""Pictures of three classes, drawn: rings, triangles, crosses of any place, size, turn, colour, light."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("cross", "ring", "triangle")


def shape(kind: str, rng: np.random.Generator) -> Image.Image:
    side = int(rng.integers(48, 97))
    ground = rng.integers(120, 240, 3)
    ink = np.maximum(ground - rng.integers(70, 120, 3), 0)
    image = Image.new("RGB", (side * 4, side * 4), tuple(map(int, ground)))
    draw = ImageDraw.Draw(image)
    size = rng.uniform(0.16, 0.34) * side * 4
    x, y = (rng.uniform(size * 1.1, side * 4 - size * 1.1) for _ in range(2))
    turn, pen = rng.uniform(0, 2 * np.pi), int(max(6, size * rng.uniform(0.2, 0.35)))
    colour = tuple(map(int, ink))

    def at(angle: float) -> tuple[float, float]:
        return x + size * np.cos(turn + angle), y + size * np.sin(turn + angle)

    if kind == "ring":
        draw.ellipse((x - size, y - size, x + size, y + size), outline=colour, width=pen)
    elif kind == "triangle":
        corners = [at(2 * np.pi * k / 3) for k in range(3)]
        draw.line([*corners, corners[0], corners[1]], fill=colour, width=pen, joint="curve")
    else:
        for angle in (0, np.pi / 2):
            draw.line([at(angle), at(angle + np.pi)], fill=colour, width=pen)
    values = np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float64)
    down, right = np.mgrid[0:side, 0:side] / side
    light = 1 - 0.4 * rng.uniform() * (right if rng.random() < 0.5 else down)
    values = values * light[..., np.newaxis] + rng.normal(0, rng.uniform(2, 8), values.shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def write(folder: Path, each: int, seed: int) -> None:
    """Write so many pictures of each class, as PNG and JPEG."""
    rng = np.random.default_rng(seed)
    for kind in CLASSES:
        home = folder / kind
        home.mkdir(parents=True)
        for number in range(each):
            shape(kind, rng).save(home / f"{kind} {number}.{'png' if number % 2 else 'jpg'}")
