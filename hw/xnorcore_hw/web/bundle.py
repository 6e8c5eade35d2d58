"""A network as the page takes it: compiled for one device, with what its inputs and outputs mean."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore import zoo
from xnorcore.cli.sizes import sizes
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CapacityError, InputError, UsageError
from xnorcore.isa.blocks import Block
from xnorcore.isa.device import DeviceConfig, options
from xnorcore.isa.program import Program
from xnorcore.isa.results import Stop, Values
from xnorcore.model import pixels
from xnorcore.model.bits import pack_images
from xnorcore.model.classes import names
from xnorcore.model.layers import has_weights
from xnorcore.model.network import Network
from xnorcore.runtime.rates import wire_bytes

from .watched import lags

__all__ = ["FORMAT", "bundle", "result_values", "sealed"]

FORMAT = "xnorcore page network 2"
"""First entry of the file; the page refuses others."""
_SAMPLE_BYTES = 64_000


def bundle(name: str, config: DeviceConfig) -> dict[str, Any]:
    """Return what the page needs of a network, for JSON.

    Parameters
    ----------
    name : str
        Of a packaged network, or the path of an ``.xnor`` file.
    config : DeviceConfig

    Raises
    ------
    UsageError, FileFormatError
        There is no such network, or it has codes between its layers, which the page does not show.
    CompileError, CapacityError
        The device cannot run it.
    """
    network = zoo.load(name)
    program = compile_network(network, config, at_once=1)
    if program.passes > 1:
        raise CapacityError(
            f"network {network.name!r} needs {program.passes} passes on this device, and the page runs "
            "networks whose weights fit at once; choose a device with more weight_depth (--set)"
        )
    if program.results_read:
        raise CapacityError(
            f"network {network.name!r} leaves room for one image at a time on this device, and the page runs "
            f"those with room for two; choose a device with more act_depth than {config.act_depth} (--set)"
        )
    _shown(network, program)
    samples, labels = _samples(name, network)
    return {
        "format": FORMAT,
        "name": network.name,
        "sizes": sizes(network),
        "device": options(config),
        "identifier": program.identifier.hex(),
        "cycles": program.cycles,
        "macs": program.macs,
        "batch": program.batch,
        "spread": int(program.spread),
        "blocks": [_block(block) for block in program.blocks],
        "image": {
            "shape": _shape(network),
            "bits": network.input.bits,
            "bytes": program.image_bytes,
            "wire_bytes": wire_bytes(program),
            "fit": _fit(network),
        },
        **_pixels(network, samples),
        "output": {
            "kind": network.output_kind,
            "classes": names(network.metadata, network.class_count),
            "scale": _floats(network.scale),
            "offset": _floats(network.offset),
            "bytes": program.result_bytes,
            "values": result_values(program.values, config),
        },
        "layers": _layers(program),
        "lags": lags(config),
        "samples": {
            "images": _text(pack_images(network, samples).tobytes()) if len(samples) else "",
            "labels": labels.tolist(),
        },
    }


def _shown(network: Network, program: Program) -> None:
    """Refuse what the page does not show, or does not compute."""
    coded = [value for value in network.values[1:] if value.result == "codes"]
    if coded:
        raise UsageError(
            f"network {network.name!r} has values of {coded[0].bits} bits, {coded[0].name!r}, and the page "
            "shows layers that give bits; `xnorcore sim` runs it"
        )
    if network.head is not None or network.tail is not None:
        raise UsageError(
            f"network {network.name!r} has real layers, which the host computes and the page does not; "
            "`xnorcore classify` and `xnorcore run` do"
        )
    if program.values.times:
        raise UsageError(
            f"network {network.name!r} ends with XNOR-Net's K, by which the host multiplies, not the page; "
            "`xnorcore sim` runs it"
        )
    weighted = [layer for layer in network.layers if has_weights(layer) and layer.weight_width > 1]
    if weighted:
        raise UsageError(
            f"network {network.name!r} has weights of {weighted[0].weight_width} bits, {weighted[0].name!r}, "
            "and the page shows weights of one; `xnorcore sim` runs it"
        )


def sealed(network: Mapping[str, Any]) -> bytes:
    """Return a network as a file: JSON, with the CRC-32 of what is in front of it as its last entry.

    Parameters
    ----------
    network : mapping
        As `bundle` gives it.
    """
    text = json.dumps(network, separators=(",", ":"), allow_nan=False).encode()[:-1]
    return text + f',"crc32":"{zlib.crc32(text):08x}"}}'.encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _block(block: Block) -> list[Any]:
    # Most of what is written into activation memory is zeros: then it is their number.
    content: Any = _text(block.data) if any(block.data) else len(block.data)
    return [int(block.space), block.bank, block.address, content]


def _floats(values: NDArray[np.float64] | None) -> list[float] | None:
    return None if values is None else values.tolist()


def _shape(network: Network) -> list[int]:
    """Height, width and channels; values without a place are a picture as square as can be."""
    shape = network.input.shape
    if len(shape) == 3:
        return list(shape)
    size = network.input.size
    height = next(n for n in range(int(size**0.5), 0, -1) if size % n == 0)
    return [height, size // height, 1]


def _fit(network: Network) -> str:
    """Return which data set's way to put a digit into its picture is meant; ``none``: as it is."""
    recipe = network.metadata.get("recipe")
    dataset = recipe.get("dataset") if isinstance(recipe, Mapping) else None
    return dataset if dataset in ("digits", "mnist") else "none"


def _samples(name: str, network: Network) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Held-out images that come with a network, as many as a page should carry."""
    try:
        images, labels = zoo.test_images(name)
    except UsageError:
        return np.zeros((0, network.input.size), np.uint8), np.zeros(0, np.int64)
    count = max(1, _SAMPLE_BYTES // network.input.size) if network.input.bits > 1 else len(images)
    return images[:count], labels[:count]


def _pixels(network: Network, samples: NDArray[np.uint8]) -> dict[str, Any]:
    """The value of every 8-bit pixel of a drawing, or the reason why there is none."""
    if pixels.KEY not in network.metadata:
        most = int(samples.max()) if len(samples) else network.input.maximum
        return {"pixels": [round(pixel * most / 255) for pixel in range(256)], "no_pixels": ""}
    try:
        rule = pixels.rule(network, reads="pixels")
    except InputError as error:
        return {"pixels": None, "no_pixels": str(error)}
    if len(rule.tables) > 1:
        return {"pixels": None, "no_pixels": "its pixels become inputs by a rule of their own at every place"}
    return {"pixels": rule.tables[0].tolist(), "no_pixels": ""}


def result_values(values: Values, config: DeviceConfig) -> dict[str, Any]:
    """Return what the page needs to read results."""
    return {
        "height": values.height,
        "width": values.width,
        "pitch": values.pitch,
        "outputs": values.outputs,
        "slices": values.slices,
        "factor": values.factor,
        "offset": np.broadcast_to(values.offset, values.outputs).tolist() if values.slices else [],
        "lanes": None if values.lanes is None else values.lanes.tolist(),
        "word_bytes": values.word_bytes(config),
    }


def _layers(program: Program) -> list[dict[str, Any]]:
    """What the device runs, in its order: which weight words tell it, and where its bits are then."""
    last: dict[int, Stop] = {stop.number: stop for stop in program.stops}
    layers = []
    for number, plan in enumerate(program.layers):
        stop = last.get(number)
        layers.append(
            {
                "name": plan.name,
                "beats": plan.beats,
                "weight_words": plan.weight_words,
                "macs": plan.macs,
                "bits": None if stop is None or stop.values.slices else _map(program, stop),
            }
        )
    return layers


def _map(program: Program, stop: Stop) -> dict[str, Any]:
    return {
        # Of the two result regions, the record knows the one that was written.
        "bases": [program.header["out_base0"], program.header["out_base1"]]
        if stop.region in program.regions.paired
        else [program.regions.bases[stop.region]],
        **result_values(stop.values, program.config),
    }
