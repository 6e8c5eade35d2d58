"""One candidate of a search: its recipe, the devices that it runs on, what its training gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from ..boards import BoardDevice
from ..compiler.compile import compile_network
from ..errors import CompileError, UsageError
from ..isa.device import DeviceConfig, Geometry
from ..model.network import Network
from ..runtime.rates import rates
from ..train.parts import UNDISTORTED, Augment, Conv
from ..train.recipe import Recipe
from .source import Form

__all__ = ["CONVS", "Place", "Point", "own_place", "points"]

DEPTHS, WIDTHS = (1, 2, 3), (32, 64, 128, 256)
CONVS = (16, 32, 64)
"""Channels of the last of three convolutions."""
_LEAST_SIDE = 22
"""Of maps that three convolutions with pooling leave something of."""
_MILD = Augment(rotation=8, stretch=0.08, shift=1)


@dataclass(frozen=True)
class Place:
    """A device that runs a network.

    Attributes
    ----------
    config : DeviceConfig
    build : str
        The command that builds it.
    passes : int
    logic_cells : int or None
        By estimate; None if that is not known.
    images_per_s : float
        End to end.
    latency_us : float
    """

    config: DeviceConfig
    build: str
    passes: int
    logic_cells: int | None
    images_per_s: float
    latency_us: float

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it; `parse` is the inverse."""
        return asdict(self)

    @classmethod
    def parse(cls, value: dict[str, Any]) -> Place:
        """Return a place from its plain form."""
        config = dict(value["config"])
        geometry = Geometry(**config.pop("geometry"))
        return cls(**{**value, "config": DeviceConfig(geometry=geometry, **config)})


@dataclass(frozen=True)
class Point:
    """A candidate.

    Attributes
    ----------
    name : str
        Unique in a search, and a name for files.
    form : Form
    recipe : Recipe
        For all of the epochs.
    """

    name: str
    form: Form
    recipe: Recipe


def own_place(board: str, device: BoardDevice, network: Network) -> Place | None:
    """Return what a network does on a board's own configuration; None if it does not run."""
    try:
        program = compile_network(network, device.config)
    except CompileError:
        return None
    found, size = rates(program, device), device.size
    return Place(
        device.config, f"xnorcore build {board}", program.passes, size.logic_cells if size else None,
        round(found.images_per_s, 1), round(found.latency_us, 1),
    )  # fmt: skip


def points(forms: Sequence[Form], *, epochs: int, most: int, seed: int) -> list[Point]:
    """Return candidates: every form with dense layers, and with convolutions where its maps are large enough.

    Parameters
    ----------
    forms : sequence of Form
    epochs : int
    most : int
        Candidates; of more, a random choice is taken.
    seed : int
        Of that choice.
    """
    found = [
        point
        for form in forms
        for hidden, channels in [
            *(((width,) * depth, 0) for depth in DEPTHS for width in WIDTHS),
            *(((), channels) for channels in CONVS),
        ]
        if (point := _point(form, hidden, channels, epochs)) is not None
    ]
    if len(found) <= most:
        return found
    kept = set(Random(seed).sample(range(len(found)), most))
    return [point for index, point in enumerate(found) if index in kept]


def _point(form: Form, hidden: tuple[int, ...], channels: int, epochs: int) -> Point | None:
    data = form.data
    height, width, _ = shape = data.train_images.shape[1:]
    if channels and min(height, width) < _LEAST_SIDE:
        return None
    last = Conv(channels, pool=(2, 2)) if channels else None
    convs = (Conv(channels // 2, pool=(2, 2)), last, last) if last else ()
    name = f"{form.name}-{'-'.join(map(str, hidden)) if hidden else f'c{channels}'}"
    images = len(data.train_labels)
    try:
        recipe = Recipe(
            name, form.dataset, hidden, convs=convs, threshold=form.threshold, balanced=True,
            augment=_MILD if min(height, width) > 8 else UNDISTORTED,
            epochs=epochs, batch=50, precision="float32", learning_rate=0.01,
            validation=max(2, images // 6), label_smoothing=0.0, head="affine",
        )  # fmt: skip
        recipe.weights((shape[0], shape[1], shape[2]), len(data.classes))
    except UsageError:
        return None
    return Point(name, form, recipe)
