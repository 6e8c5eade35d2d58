"""The integer network: what is left of a trained binarized network once all float arithmetic is folded.

Specification: docs/numerics.md. Every object here is immutable. Layers only keep their arrays;
`Network` checks everything when it is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, UsageError
from .check import validate
from .ends import Ends
from .graph import Node, Value, reading
from .joining import Add, Concat
from .layers import Conv2d, Dense, GlobalSum, InputScale, InputSpec, Layer, MaxPool2d, has_weights
from .values import Shape, floats, same

if TYPE_CHECKING:
    from ..host.head import Head
    from ..host.tail import Tail

__all__ = [
    "Add", "Concat", "Conv2d", "Dense", "GlobalSum", "InputScale", "InputSpec", "Layer", "MaxPool2d",
    "Network", "Node", "Shape", "Value", "prepare",
]  # fmt: skip


@dataclass(frozen=True, eq=False, init=False)
class Network(Ends):
    """A graph of integer layers, checked by `xnorcore.model.check.validate` when it is made.

    A chain is written as its layers. Where the graph branches or joins, a `Node` says what a layer reads::

        [conv, Node(left, "conv"), Node(right, "conv"), Node(Concat(), ("left", "right")), dense]

    Parameters
    ----------
    name : str
        1 to 100 printable characters.
    input : InputSpec
    layers : sequence of Layer or Node
        In an order in which each reads what is there already; a plain layer reads what the one before it
        gives. The last one gives the result. Each layer with weights must have thresholds, but the last, and
        one in front of an `InputScale`.
    classes : int, optional
        Classes that `classify` chooses from, the first of the outputs; default: all outputs.
    scale, offset : array of float64, shape (outputs,), optional
        Affine of the scores, ``score * scale + offset``, applied on the host; default 1 and 0.
    metadata : dict, optional
        Anything that JSON holds: recipe, data split, accuracy.
    head, tail : Head and Tail, optional
        Real-valued layers that the host computes: from images to the input values (`encode`), and from the
        results to the scores (`scores`). The engines and the device know nothing of them.
    reads : sequence of sequence of int, optional
        For each layer, the numbers of the values that it reads, in place of nodes: 0 is the image, n what
        layer n - 1 gives.

    Attributes
    ----------
    layers : tuple of Layer
    reads : tuple of tuple of int
    values : tuple of Value
        The image, and what each layer gives.

    Raises
    ------
    NetworkError
        Names the layer, the value and the limit.
    """

    name: str
    input: InputSpec
    layers: tuple[Layer, ...]
    classes: int | None
    scale: NDArray[np.float64] | None
    offset: NDArray[np.float64] | None
    metadata: dict[str, Any]
    head: Head | None
    tail: Tail | None
    reads: tuple[tuple[int, ...], ...]
    values: tuple[Value, ...] = field(init=False, repr=False)

    def __init__(
        self,
        name: str,
        input: InputSpec,
        layers: Sequence[Layer | Node],
        classes: int | None = None,
        scale: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        metadata: dict[str, Any] | None = None,
        reads: Sequence[Sequence[int]] | None = None,
        head: Head | None = None,
        tail: Tail | None = None,
    ) -> None:
        items: Any = tuple(layers) if isinstance(layers, Sequence) else layers
        values: dict[str, Any] = {
            "name": name,
            "input": input,
            "layers": items if reads is None else reading(items, reads),
            "classes": int(classes) if isinstance(classes, np.integer) else classes,
            "scale": floats("scale", scale),
            "offset": floats("offset", offset),
            "metadata": {} if metadata is None else metadata,
            "head": head,
            "tail": tail,
        }
        graph = validate(**values)
        values |= {key: getattr(graph, key) for key in ("layers", "reads", "values")}
        for key, value in values.items():
            object.__setattr__(self, key, value)
        # A private copy in the form that a file gives back: tuples become lists.
        object.__setattr__(self, "metadata", json.loads(json.dumps(self.metadata)))
        if classes is None:
            object.__setattr__(self, "classes", self.class_count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        keys = ("name", "input", "layers", "reads", "classes", "metadata", "head", "tail")
        return (
            all(getattr(self, key) == getattr(other, key) for key in keys)
            and same(self.scale, other.scale)
            and same(self.offset, other.offset)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.input, self.layers, self.reads))

    @cached_property
    def readers(self) -> tuple[tuple[int, ...], ...]:
        """For each value, the layers that read it, in order."""
        found: list[list[int]] = [[] for _ in self.values]
        for index, numbers in enumerate(self.reads):
            for number in dict.fromkeys(numbers):
                found[number].append(index)
        return tuple(map(tuple, found))

    def inputs(self, index: int) -> tuple[Value, ...]:
        """Return the values that layer `index` reads."""
        return tuple(self.values[number] for number in self.reads[index])

    def with_layer(self, index: int, layer: Layer) -> Network:
        """Return this network with another layer in the place of layer `index`."""
        return replace(self, layers=(*self.layers[:index], layer, *self.layers[index + 1 :]))

    def up_to(self, index: int, layer: Layer) -> Network:
        """Return the network that ends with `layer` in the place of layer `index`.

        What that layer does not need is left out, and so are classes, affine, tail and metadata.
        """
        needed = {index}
        for number in range(index, -1, -1):
            if number in needed:
                needed |= {read - 1 for read in self.reads[number] if read}
        kept = sorted(needed)
        numbers = {0: 0} | {old + 1: new + 1 for new, old in enumerate(kept)}
        layers = [layer if old == index else self.layers[old] for old in kept]
        reads = [[numbers[read] for read in self.reads[old]] for old in kept]
        return Network(self.name, self.input, layers, reads=reads, head=self.head)

    def pooled_by(self, index: int) -> MaxPool2d | None:
        """Return the max pooling that alone reads what layer `index` gives, if there is one."""
        readers = self.readers[index + 1]
        reader = self.layers[readers[0]] if len(readers) == 1 else None
        return reader if isinstance(reader, MaxPool2d) else None

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of the image, then of every layer's result."""
        return tuple(value.shape for value in self.values)

    @cached_property
    def layer_macs(self) -> tuple[int, ...]:
        """Useful binary multiply-accumulates of each layer for one image, with all planes of both."""
        counts = []
        for index, layer in enumerate(self.layers):
            read = self.inputs(index)[0]
            planes = read.bits if read.coding == "unsigned" else 1
            planes *= layer.weight_width if has_weights(layer) else 1
            counts.append(layer.macs(read.shape, self.pooled_by(index)) * planes)
        return tuple(counts)

    @property
    def macs(self) -> int:
        """Useful binary multiply-accumulates per image."""
        return sum(self.layer_macs)

    @property
    def weight_bits(self) -> int:
        """Stored weight bits of all layers."""
        return sum(layer.weight_bits for layer in self.layers)

    def encode(self, images: ArrayLike) -> NDArray[np.uint8]:
        """Return what the integer network reads, shape (n, values): what its head makes of images.

        Without a head the images are these values already, as `prepare` takes them.

        Raises
        ------
        InputError
            If the images do not fit.
        """
        return prepare(self, images) if self.head is None else self.head.run(images)


def prepare(network: Network, images: ArrayLike) -> NDArray[np.uint8]:
    """Check images and flatten them: the one rule for what every engine accepts.

    Parameters
    ----------
    network : Network
    images : array of bool or of any integer dtype
        Shape ``(n, *network.input.shape)``, ``(n, network.input.size)`` or, for one image,
        ``network.input.shape``. Values 0 to ``2**bits - 1``; for 1-bit networks 1 stands for +1 and 0 for -1.

    Returns
    -------
    array of uint8, shape (n, network.input.size)
        May share memory with `images`.

    Raises
    ------
    InputError
        Names what was found and what is expected.
    """
    if not isinstance(network, Network):
        raise UsageError(
            f"a Network is needed, not {type(network).__name__}; xnorcore.zoo.load(name) gives one"
        )
    spec = network.input
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise InputError(f"images are not an array of numbers ({error})") from None
    if array.dtype.kind not in "biu":
        raise InputError(
            f"images have dtype {array.dtype}, but network {network.name!r} takes bool or integers "
            f"0 to {spec.maximum}"
        )
    if array.shape == spec.shape:
        array = array[np.newaxis]
    if array.ndim < 1 or array.shape[1:] not in (spec.shape, (spec.size,)):
        raise InputError(
            f"images have shape {array.shape}, but network {network.name!r} takes "
            f"(n, {', '.join(map(str, spec.shape))}) or (n, {spec.size})"
        )
    if array.size and (array.max() > spec.maximum or array.min() < 0):
        bad = array.min() if array.min() < 0 else array.max()
        hint = "; write 1 for +1 and 0 for -1" if spec.bits == 1 else ""
        raise InputError(
            f"images hold the value {bad}, but network {network.name!r} takes {spec.bits}-bit values, "
            f"0 to {spec.maximum}{hint}"
        )
    return np.ascontiguousarray(array.reshape(len(array), spec.size), dtype=np.uint8)
