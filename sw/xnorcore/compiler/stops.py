"""Programs that end behind a layer, so that its results can be read from activation memory.

They compute with the very weights and start values of the whole program; only program memory differs. Their
identifiers differ, too: a device that was left with one is not taken for one that holds the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from ..errors import CapacityError, UsageError
from ..isa.device import MAX_DEPTH
from ..isa.layout import DESCRIPTOR, HEADER, Record
from ..isa.program import Block, Pass, Program, Results, Stop, result_word_bytes
from ..isa.protocol import Space
from ..model.layers import Conv2d, Dense
from ..model.network import Network
from .compile import compile_network
from .nest import Lowered

__all__ = ["stop_after", "sums_network", "sums_of"]


def stop_after(program: Program, index: int) -> Program:
    """Return a program that ends behind a layer and leaves its bits in activation memory.

    The descriptors are the whole program's: the layer's last one has its `end` flag set, and the header
    tells the device to send one byte per image, which means nothing.

    Parameters
    ----------
    program : Program
    index : int
        Layer of the network; one of those in `Program.stops`.

    Returns
    -------
    Program
        `program` itself if the layer is its last.

    Raises
    ------
    UsageError
        If the layer's results are not in memory: a pooling or a sum is part of the layer beside it.
    """
    stop = _stop(program, index)
    if stop is program.stops[-1]:
        return program
    later = program.later[: stop.number]
    if later:
        runs = sum(other.number == stop.number and other.index <= index for other in program.stops)
        later = (*later[:-1], replace(later[-1], entries=later[-1].entries[:runs]))
    # Further passes end behind every layer as it is.
    ends = {} if stop.number else {stop.ends[-1][1]: {"end": 1}}
    return _ending(program, program.blocks, later, stop.base, stop.lowered, ends, index.to_bytes(2, "little"))


def sums_network(network: Network, index: int) -> Network:
    """Return the network up to a layer with weights, without that layer's thresholds.

    Raises
    ------
    UsageError
        If the layer has no weights.
    NetworkError
        If it has more sums than a network may have outputs.
    """
    layer = network.layers[index] if 0 <= index < len(network.layers) else None
    if not isinstance(layer, (Dense, Conv2d)):
        raise UsageError(f"layer {index} has no sums: it has no weights")
    if isinstance(layer, Dense):
        bare = Dense(layer.weights, None, layer.name)
    else:
        bare = Conv2d(
            layer.weights, stride=layer.stride, padding=layer.padding, pad_value=layer.pad_value,
            name=layer.name,
        )  # fmt: skip
    return Network(network.name, network.input, (*network.layers[:index], bare))


def sums_of(program: Program, index: int) -> Program:
    """Return a program that ends with the sums of a layer, not compared with thresholds and not pooled.

    The layer's accumulators are sent as those of the last layer are. They start from the whole program's
    start values, which `Program.decode` takes off: one wrong weight or threshold changes what it gives.

    Parameters
    ----------
    program : Program
    index : int
        Layer with weights.

    Returns
    -------
    Program
        Of the first rows of positions only, if not all of the sums fit activation memory.

    Raises
    ------
    UsageError
        If the layer has no weights.
    NetworkError
        If it has more sums than a network may have outputs.
    CapacityError
        If not even one row of positions fits.
    """
    config = program.config
    roomy = replace(config, act_depth=MAX_DEPTH, program_depth=4096)
    network = sums_network(program.network, index)
    whole = next(one for one in program.stops if one.index >= index)
    partial = compile_network(network, roomy, cut_as_bits=whole.lowered.slices == 0)
    stop = partial.stops[-1]
    row_words = stop.lowered.width * stop.lowered.pitch
    rows = min(stop.lowered.height, (config.act_depth - stop.base) // row_words)
    if rows < 1 or partial.used["program_depth"] > config.program_depth:
        raise CapacityError(
            f"the sums of layer {index} take {row_words} words of activation memory for a row of positions "
            f"behind word {stop.base}, the device has {config.act_depth} (act_depth)"
        )
    crop = _cropped(stop.lowered, rows, config.geometry.width) if rows < stop.lowered.height else {}
    parts = {number: {address: crop} for number, address in stop.ends}
    later = tuple(
        Pass(_program(theirs.blocks, _patched(mine.blocks, parts.get(number, {}))), mine.entries)
        for number, (theirs, mine) in enumerate(zip(program.later, partial.later, strict=False), 1)
    )
    result = replace(stop.lowered, height=rows)
    ended = _ending(
        program,
        partial.blocks,
        later,
        stop.base,
        result,
        parts.get(0, {}),
        b"sums" + index.to_bytes(2, "little"),
    )
    return replace(ended, network=partial.network, layers=partial.layers, spread=False, starts=whole.starts)


def _cropped(lowered: Lowered, rows: int, width: int) -> dict[str, int]:
    """Return the descriptor's fields for the first `rows` rows of positions."""
    fields, height = lowered.fields, lowered.height
    back, down = (fields[f"delta_{loop}"] * width + fields[f"bits_{loop}"] for loop in ("tile", "y"))
    # A tile goes back by all that the inner loops and `height - 1` rows went forward.
    inner = -(back + down * (height - 1)) // height
    words, bits = divmod(-(inner + (down + inner) * (rows - 1)), width)
    return {"y_last": rows - 1, "delta_tile": words, "bits_tile": bits}


def _stop(program: Program, index: int) -> Stop:
    for stop in program.stops:
        if stop.index == index:
            return stop
    known = ", ".join(str(stop.index) for stop in program.stops)
    raise UsageError(f"layer {index} leaves nothing in the device's memory; layers that do: {known}")


def _ending(
    program: Program,
    blocks: tuple[Block, ...],
    later: tuple[Pass, ...],
    base: int,
    result: Lowered,
    changes: Mapping[int, Mapping[str, int]],
    kind: bytes,
) -> Program:
    """Return `program` with the program memory of `blocks`, changed, and with results at `base`."""
    word_bytes = result_word_bytes(program.config, len(result.offset), score=result.slices > 0)
    words = result.height * result.width * result.pitch
    identifier = hashlib.sha256(program.identifier + kind).digest()[:8]
    header = {
        "out_words": 1,
        "out_bytes": 1,
        "out_base1": base,
        "id_low": int.from_bytes(identifier[:4], "little"),
        "id_high": int.from_bytes(identifier[4:], "little"),
    }
    if not result.slices:
        del header["out_base1"]
    return replace(
        program,
        blocks=_program(program.blocks, _patched(blocks, changes, header)),
        identifier=identifier,
        result_bytes=words * word_bytes,
        later=later,
        results=Results(base, words, word_bytes),
        stopped=True,
        _result=result,
    )


def _program(whole: tuple[Block, ...], other: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return the blocks of `whole`, but program memory of `other`."""
    kept = (block for block in whole if block.space != Space.PROGRAM)
    return (*kept, *(block for block in other if block.space == Space.PROGRAM))


def _patched(
    blocks: tuple[Block, ...],
    descriptors: Mapping[int, Mapping[str, int]],
    header: Mapping[str, int] | None = None,
) -> tuple[Block, ...]:
    """Return blocks with some fields of program memory set: of descriptors by address, and of the header."""
    return tuple(
        _set(block, [(HEADER, 0, header or {}), *((DESCRIPTOR, at, f) for at, f in descriptors.items())])
        if block.space == Space.PROGRAM
        else block
        for block in blocks
    )


def _set(block: Block, changes: Iterable[tuple[Record, int, Mapping[str, int]]]) -> Block:
    words = np.frombuffer(block.data, "<u4").copy()
    for record, address, fields in changes:
        for name, value in fields.items():
            field = record.fields[name]
            mask = (1 << field.width) - 1
            at = address - block.address + field.word
            words[at] = int(words[at]) & ~(mask << field.low) | (value & mask) << field.low
    return replace(block, data=words.tobytes())
