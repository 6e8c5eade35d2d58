"""A recipe for data and a device: which rule for inputs, which layers, how wide: what fits, and learns best.

Candidates of a device are tried for a few epochs each, at the largest width that it holds and that reaches
the wanted rate; the one that gets most of the validation part right is trained to the end. The held-out part
chooses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..compiler.compile import Program, compile_network
from ..datasets import Dataset
from ..errors import CompileError, UsageError
from ..isa.device import DeviceConfig
from ..model.network import Network
from ..pictures import PictureRule
from ._torch import torch
from .export import to_network
from .loop import train
from .model import BinaryNet
from .parts import UNDISTORTED, Augment, Conv
from .recipe import Recipe

WIDTHS = (256, 224, 192, 160, 128, 112, 96, 80, 64, 48, 32, 24, 16)
"""Widths that are tried, the largest that fits first."""
PROBE_EPOCHS = 15
EPOCHS, PATIENCE = 120, 40
_MILD = Augment(rotation=8, stretch=0.08, shift=1)


@dataclass(frozen=True)
class Candidate:
    """A way to classify pictures on a device.

    Attributes
    ----------
    name : str
        In words.
    rule : PictureRule or None
        None for values, which are no pictures.
    threshold : int or None
        As of a recipe.
    depth : int
        Hidden dense layers.
    convolution : bool
        Convolutions in front of them.
    """

    name: str
    rule: PictureRule | None
    threshold: int | None = None
    depth: int = 2
    convolution: bool = False

    def recipe(self, name: str, dataset: str, width: int, images: int) -> Recipe:
        """Return the recipe of a width, for so many images to train on."""
        convs = ()
        hidden = (width,) * self.depth
        if self.convolution:
            convs = (Conv(width // 2, pool=(2, 2)), Conv(width, pool=(2, 2)), Conv(width, pool=(2, 2)))
            hidden = ()
        return Recipe(
            name, dataset, hidden, convs=convs, threshold=self.threshold, balanced=True,
            augment=_MILD if self.rule else UNDISTORTED,
            epochs=EPOCHS, patience=PATIENCE, batch=50, precision="float32", learning_rate=0.01,
            validation=max(2, images // 6), label_smoothing=0.0, head="affine",
        )  # fmt: skip


def candidates(config: DeviceConfig) -> list[Candidate]:
    """Return what may be tried with pictures on a device; of equals, the first is taken."""
    found = [
        Candidate("strokes, or one thing on plain ground", PictureRule((20, 20, 1), "paper", box=18), 128)
    ]
    for maximum in (15, 3):
        bits = f"{maximum.bit_length()} bits"
        found += [
            Candidate(f"grey, 16 x 16, {bits}", PictureRule((16, 16, 1), "crop", maximum=maximum)),
            Candidate(f"colour, 10 x 10, {bits}", PictureRule((10, 10, 3), "crop", maximum=maximum)),
        ]
    if config.reads_windows:
        shape = PictureRule((30, 30, 3), "crop")
        found.append(Candidate("colour, 30 x 30, convolutions", shape, convolution=True))
    return found


VALUES = Candidate("the values", None)


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes
    ----------
    candidate : Candidate
    data : Dataset
    recipe : Recipe
    program : Program
        Of an untrained network of the same form.
    tried : dict of str to float
        By name: share of the validation part that was right after `PROBE_EPOCHS`.
    """

    candidate: Candidate
    data: Dataset
    recipe: Recipe
    program: Program
    tried: dict[str, float]


def fitting(
    candidate: Candidate,
    data: Dataset,
    config: DeviceConfig,
    name: str,
    dataset: str,
    fast_enough: Callable[[Program], bool],
) -> tuple[Recipe, Program] | None:
    """Return the widest recipe that a device holds at once and runs fast enough, or None."""

    def fits(width: int) -> tuple[Recipe, Program] | None:
        recipe = candidate.recipe(name, dataset, width, len(data.train_labels))
        try:
            program = compile_network(untrained(recipe, data), config)
        except CompileError:
            return None
        return (recipe, program) if program.passes == 1 and fast_enough(program) else None

    # What does not fit at its narrowest fits at no width.
    if fits(WIDTHS[-1]) is None:
        return None
    return next(found for width in WIDTHS if (found := fits(width)))


def choose(
    options: list[tuple[Candidate, Dataset | None]],
    config: DeviceConfig,
    *,
    name: str,
    dataset: str,
    seed: int = 0,
    threads: int = 1,
    fast_enough: Callable[[Program], bool] = lambda program: True,
    say: Callable[[str], None] = lambda text: None,
) -> Choice:
    """Try candidates and return the best.

    Parameters
    ----------
    options : list of Candidate with Dataset
        What it is tried with; None if its rule finds nothing on the pictures.
    config : DeviceConfig
    name, dataset : str
        Of the recipe.
    seed, threads : int
        As of `train`.
    fast_enough : callable
        Whether a program reaches the wanted rate.
    say : callable
        Called with a line for each candidate.

    Raises
    ------
    UsageError
        If none fits the device at the wanted rate.
    """
    tried: dict[str, float] = {}
    best: Choice | None = None
    for candidate, data in options:
        found = data and fitting(candidate, data, config, name, dataset, fast_enough)
        if data is None or not found:
            say(f"{candidate.name}: {'finds nothing on the pictures' if data is None else 'does not fit'}")
            continue
        recipe, program = found
        probe = replace(recipe, epochs=PROBE_EPOCHS, patience=None)
        network = train(probe, data, seed=seed, threads=threads)
        right = float(network.metadata["validation_accuracy"])
        tried[candidate.name] = right
        layers = [f"{recipe.convs[-1].channels} channels"] if recipe.convs else map(str, recipe.hidden)
        say(
            f"{candidate.name}, {'-'.join(layers)}: {right:.1%} of the validation part, {probe.epochs} epochs"
        )
        if best is None or right > best.tried[best.candidate.name]:
            best = Choice(candidate, data, recipe, program, tried)
        if right == 1:
            break
    if best is None:
        raise UsageError(
            "no network for this data fits the device at that rate; take another board, or lower --rate"
        )
    return best


def untrained(recipe: Recipe, data: Dataset) -> Network:
    """Return a network of a recipe's form with random weights: it compiles as the trained one does."""
    shape = data.train_images.shape[1:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BinaryNet(
            shape, recipe.hidden, len(data.classes), input_bits=1 if recipe.threshold else data.bits,
            head=recipe.head, convs=recipe.convs, activation_bits=recipe.activation_bits,
            weight_bits=recipe.weight_bits, dtype=torch.float32,
        )  # fmt: skip
    return to_network(model.eval(), recipe.name, shape)
