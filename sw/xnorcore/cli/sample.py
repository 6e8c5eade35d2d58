"""The command ``sample``: images for a network, in the file that every other command reads."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import datasets, zoo
from ..errors import MissingDependencyError, UsageError
from ..model import pixels
from ..model.network import Network
from ..verify.random_networks import random_images
from .console import Console
from .data import add_folder
from .evaluate import trained_on
from .files import check_output, write_array
from .inputs import add_inputs, held_out, network_inputs
from .options import Parser, add_network, integer

COUNT = 100
"""Images, if not told otherwise, or as many as there are."""


@dataclass(frozen=True)
class Sample:
    """Images for a network.

    Attributes
    ----------
    images : array of uint8, shape (n, *network.image_shape)
        What the network takes: values of its inputs, or pixels if it has a head.
    labels : array of int64, shape (n,), or None
        None for random images.
    source : str
        ``packaged``, ``data`` or ``random``.
    data : str or None
        Name or path of the data set.
    said : str
        What they are, in words.
    note : str
        Why they are random.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    source: str
    data: str | None
    said: str
    note: str = ""


def add_sample(parser: Parser) -> None:
    """Add the arguments of ``sample``."""
    parser.set_defaults(call=_sample)
    add_network(parser)
    parser.add_argument("-o", "--output", metavar="IN.npy", required=True, help="where the images go")
    parser.add_argument(
        "--count", type=integer(1), metavar="N", help=f"images; default {COUNT}, or as many as there are"
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="where their labels go, as .npy; not for random ones"
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help=f"{', '.join(sorted(datasets.DATASETS))}, or the path of your own data set; default what is "
        "packaged with the network, else what it was trained with",
    )
    add_folder(parser)
    add_inputs(parser)
    parser.add_argument("--seed", type=integer(0), default=0, metavar="S", help="of random images; default 0")


def _sample(arguments: argparse.Namespace, console: Console) -> int:
    check_output(arguments.output, arguments.network)
    check_output(arguments.labels, arguments.network)
    if arguments.labels is not None and arguments.labels == arguments.output:
        raise UsageError(f"cannot write images and labels to the one file {arguments.output}")
    network = zoo.load(arguments.network)
    found = _find(arguments, network)
    count = len(found.images)
    if arguments.count and count < arguments.count:
        raise UsageError(f"--count is {arguments.count}, but there are {count} {found.said}")
    if arguments.labels is not None and found.labels is None:
        raise UsageError(f"no labels for {found.said}; leave --labels out")
    if found.note:
        console.say(f"xnorcore: {found.note}")
    write_array(arguments.output, found.images)
    if found.labels is not None:
        write_array(arguments.labels, found.labels)
    bits = network.input.bits if network.head is None else network.head.maximum.bit_length()
    value: dict[str, Any] = {
        "command": "sample",
        "network": network.name,
        "images": count,
        "shape": list(found.images.shape[1:]),
        "bits": bits,
        "source": found.source,
        "data": found.data,
        "seed": arguments.seed if found.source == "random" else None,
        "output": arguments.output,
        "labels": arguments.labels,
    }
    shape = " x ".join(map(str, found.images.shape[1:]))
    labels = f"; labels in {arguments.labels}" if arguments.labels else ""
    if labels and pixels.mistakable(network):
        labels += "; as a data set they need eval --inputs values, since they are no pixels any more"
    console.result(
        value, [f"{count:,} {found.said}: {shape} values of {bits} bit in {arguments.output}{labels}"]
    )
    return 0


def _find(arguments: argparse.Namespace, network: Network) -> Sample:
    """Return at most as many images as are asked for: packaged ones, those of a data set, or random ones.

    Random ones only if there are no others: who asks for more than is packaged is told so.
    """
    count, name = arguments.count or COUNT, arguments.network
    given = arguments.data is not None or arguments.folder is not None
    images, labels = _packaged(name)
    if not given and len(images) and (len(images) >= count or not arguments.count):
        said = f"packaged images of {name!r}, which training never saw"
        return Sample(images[:count], labels[:count], "packaged", None, said)
    data = arguments.data or trained_on(network)
    if data is None:
        if given:
            raise UsageError(f"network {network.name!r} names no data set to look for; give --data as well")
        return _random(arguments, network, count, "its file names no data set; --data does")
    try:
        part = held_out(network, data, arguments.folder)
    except MissingDependencyError as error:
        if given:
            raise
        if len(images):
            raise UsageError(
                f"--count is {count}, but {name!r} comes with {len(images)} images; more need its data set: "
                f"{error}"
            ) from None
        return _random(arguments, network, count, str(error))
    values, rule = network_inputs(network, part, count, arguments.inputs)
    if rule.head is not None:  # such a network takes the images themselves
        values = part.images[:count]
    found = values.reshape(-1, *(network.input.shape if rule.reads == "values" else network.image_shape))
    said = f"held-out images of {datasets.canonical(data) or data}, {rule.text}"
    return Sample(found, part.labels[: len(found)].astype(np.int64), "data", data, said)


def _random(arguments: argparse.Namespace, network: Network, count: int, why: str) -> Sample:
    rng = np.random.default_rng(arguments.seed)
    if network.head is None:
        images = random_images(rng, network, count)
    elif network.head.maximum:
        images = rng.integers(0, network.head.maximum + 1, (count, *network.image_shape), np.uint8)
    else:
        raise UsageError(
            f"network {network.name!r} reads real numbers, and has no rule for pixels; make images yourself, "
            "as floats in IN.npy"
        )
    note = f"no images are packaged with {arguments.network!r}, so these are random ({why})"
    return Sample(images, None, "random", None, f"random images, seed {arguments.seed}", note)


def _packaged(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the packaged images of a network and their labels, no images if it comes without."""
    try:
        return zoo.test_images(name)
    except UsageError:
        return np.empty((0,), np.uint8), np.empty((0,), np.int64)
