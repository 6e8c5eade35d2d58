"""What a network reads, out of what a user names: arrays, pictures, folders, data sets; one rule for all."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import datasets, pictures
from ..datasets import TestPart
from ..datasets.photos import labelled
from ..errors import InputError, UsageError
from ..model import pixels
from ..model.network import Network, prepare
from ..model.pixels import Rule
from ..pictures import PictureRule
from ..pictures.decoding import MAX_FILE, decode
from .console import Console
from .files import read_array
from .options import Parser

MAX_VALUES = 1 << 30
"""Most input values of all pictures together."""


@dataclass(frozen=True)
class Inputs:
    """Images for a network.

    Attributes
    ----------
    values : array of uint8, shape (n, network.input.size)
    pixels : array of uint8, shape (n, height, width, channels), or None
        What the network's rule for pixels was applied to, of pictures.
    names : list of str
        Of pictures; else empty.
    said : str
        What they are and what was done with them, in words.
    """

    values: NDArray[np.uint8]
    pixels: NDArray[np.uint8] | None = None
    names: tuple[str, ...] = ()
    said: str = ""


def add_inputs(parser: Parser) -> None:
    """Add --inputs."""
    parser.add_argument(
        "--inputs",
        choices=pixels.READINGS,
        help="what the images hold: pixels, which the network's rule makes inputs of, or the inputs' values; "
        "default by the bits that the largest one needs",
    )


def add_fit(parser: Parser) -> None:
    """Add --fit and --invert."""
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--fit",
        choices=pictures.FITS,
        help="strokes on paper, the middle, all of it with an edge, or stretched; default the network's rule",
    )
    group.add_argument(
        "--invert", action="store_const", const=True, help="exchange light and dark; default the rule's"
    )


def add_reading(parser: Parser) -> None:
    """Add --inputs, --fit and --invert."""
    add_inputs(parser)
    add_fit(parser)


def user_images(arguments: argparse.Namespace, console: Console, network: Network) -> NDArray[np.uint8]:
    """Return the images that a command was given, shape (n, values), and say what was done to them.

    Raises what `read_inputs` does.
    """
    given = arguments.fit is not None or arguments.invert is not None
    fit = pictures.rule(network, arguments.fit, arguments.invert) if given else None
    inputs = read_inputs(arguments.images, network, reads=arguments.inputs, fit=fit)
    if inputs.said:
        count = f"{len(inputs.names):,} pictures: " if inputs.names else ""
        console.say(f"xnorcore: {count}{inputs.said}")
    return inputs.values


def read_inputs(
    path: str, network: Network, *, reads: str | None = None, fit: PictureRule | None = None
) -> Inputs:
    """Read images for a network.

    Parameters
    ----------
    path : str
        An ``.npy`` file (inputs if all of them are legal ones, else pixels; with a head, its images), a
        picture, a folder of pictures,
        ``-`` (a picture on stdin), or what `datasets.load_test` takes.
    network : Network
    reads : str, optional
        What an array holds, one of `pixels.READINGS`; default by its values.
    fit : PictureRule, optional
        For pictures; default the network's.

    Raises
    ------
    UsageError, FileFormatError, InputError, MissingDependencyError
        As the readers.
    """
    if path == "-" or Path(path).suffix.lower() in pictures.SUFFIXES or pictures.is_folder(path):
        return picture_inputs(network, [path], fit)
    if Path(path).is_dir() or Path(path).suffix in (".npz", ".bin", ".csv") or _named(path):
        part = datasets.load_test(path)
        values, rule = network_inputs(network, part, len(part.labels), reads)
        return Inputs(values, said=f"images of {path}, {rule.text}")
    return array_inputs(path, network, reads)


def _named(path: str) -> bool:
    return datasets.canonical(path) is not None and not Path(path).exists()


def array_inputs(path: str, network: Network, reads: str | None = None) -> Inputs:
    """Read images from an ``.npy`` file: the network's inputs, or pixels, if they reach further."""
    real = network.head if reads != "values" else None
    array = read_array(path, "biu" if real is None else "biuf")
    try:
        if real is not None:
            return _some(path, Inputs(real.run(array), said="images through real layers on the host"))
        largest = int(array.max(initial=0))
        whole = array.shape == network.input.shape or array.shape[1:] in (
            network.input.shape, (network.input.size,),
        )  # fmt: skip
        inside = int(array.min(initial=0)) >= 0 and network.input.maximum < largest <= 255
        # A 2 among bits is a mistake, and not a dark picture.
        inside = inside and (pixels.KEY in network.metadata or largest > 127)
        if reads == "pixels" or (reads is None and whole and inside):
            if not whole or array.min(initial=0) < 0 or largest > 255:
                raise InputError(
                    f"pixels must be 0 to 255, shape (n, {', '.join(map(str, network.input.shape))})"
                )
            rule = pixels.rule(network, max(largest, 1), reads)
            values = rule.values(array.astype(np.uint8).reshape(-1, network.input.size))
            images, said = prepare(network, values), rule.text
        else:
            images, said = prepare(network, array), ""
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return _some(path, Inputs(images, said=f"pixels: {said}" if said else ""))


def _some(path: str, inputs: Inputs) -> Inputs:
    if not len(inputs.values):
        raise InputError(f"{path}: holds no images")
    return inputs


def picture_inputs(network: Network, paths: list[str], fit: PictureRule | None = None) -> Inputs:
    """Read pictures: files, folders, and ``-`` for one on stdin; raises what their readers do."""
    wanted = fit or pictures.rule(network)
    named: list[tuple[str, Path | None]] = []
    for path in paths:
        if path == "-":
            named.append(("-", None))
        else:
            named += [(str(found.path), found.path) for found in pictures.find(path)]
    if len(named) * prod(network.image_shape) > MAX_VALUES:
        raise UsageError(
            f"{len(named)} pictures of {prod(network.image_shape)} values; the limit is {MAX_VALUES} in all"
        )
    seen = [see(name, path, wanted) for name, path in named]
    return from_pixels(network, np.stack(seen), [name for name, _ in named], wanted)


def from_pixels(network: Network, seen: NDArray[np.uint8], names: list[str], fit: PictureRule) -> Inputs:
    """Apply the network's rule for pixels to what `see` returned."""
    ruled = network.head is not None or pixels.KEY in network.metadata
    reads = "pixels" if ruled or network.input.bits == 1 else "values"
    rule = pixels.rule(network, fit.maximum, reads)
    return Inputs(prepare(network, rule.values(seen)), seen, tuple(names), f"{fit.text}; {rule.text}")


def see(name: str, path: Path | None, fit: PictureRule) -> NDArray[np.uint8]:
    """Return what a network sees of a file, or of stdin."""
    if path is None:
        data = sys.stdin.buffer.read(MAX_FILE + 1)
        picture = decode("standard input", data)
    else:
        picture = pictures.read(path)
    try:
        return fit.pixels(picture)
    except InputError as error:
        raise InputError(f"{name!r}: {error}") from None


def held_out(
    network: Network, name: str, folder: Path | None, fit: str | None = None, invert: bool | None = None
) -> TestPart:
    """Return the held-out part of a data set; of pictures in folders, as the network sees them."""
    if folder is None and datasets.canonical(name) is None and pictures.classes_of(name):
        return labelled(Path(name), pictures.rule(network, fit, invert), network)
    return datasets.load_test(name, folder)


def network_inputs(
    network: Network, part: TestPart, count: int, reads: str | None = None
) -> tuple[NDArray[np.uint8], Rule]:
    """Return what the first images of a data set are to a network, and the rule that made them so.

    Parameters
    ----------
    network : Network
    part : TestPart
    count : int
    reads : str, optional
        What the images hold, one of `pixels.READINGS`.

    Returns
    -------
    array of uint8, shape (at most count, network.input.size)
    Rule

    Raises
    ------
    FileFormatError, InputError
        If the images or labels are not the network's, or no rule says what pixels become.
    """
    _fits(network, part)
    rule = pixels.rule(network, part.maximum, reads)
    return prepare(network, rule.values(part.images[:count])), rule


def _fits(network: Network, part: TestPart) -> None:
    """Refuse images or labels that are not the network's."""
    shape, wanted = part.images.shape[1:], network.image_shape
    vector = len(wanted) == 1 or wanted[:2] == (1, 1)
    if shape != wanted and not (vector and int(np.prod(shape)) == prod(wanted)):
        raise InputError(
            f"images are {' x '.join(map(str, shape))}, but network {network.name!r} takes "
            f"{' x '.join(map(str, wanted))} values; choose other --data"
        )
    if len(wanted) == 1 and min(shape[2], shape[0] * shape[1]) > 1 and "imported" in network.metadata:
        raise InputError(
            f"images are {' x '.join(map(str, shape))}, but network {network.name!r} takes a vector, and its "
            "source does not say in which order it holds the channels; choose --data of (images, values)"
        )
    if part.labels.max() >= network.class_count:
        raise InputError(
            f"a label is {part.labels.max()}, but network {network.name!r} has classes 0 to "
            f"{network.class_count - 1}; choose other --data"
        )
