"""Everything that keeps a network from running on a device, at once: what it needs, found by compiling."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import CompileError, GeometryError
from ..isa.codes import MAX_CODE_BITS, MAX_COMPARED_BITS
from ..isa.device import MAX_ACC_WIDTH, MAX_DEPTH, MAX_PROGRAM_DEPTH, DeviceConfig
from ..isa.program import Program
from ..model.network import Network
from .compile import compile_network

__all__ = ["Obstacle", "obstacles"]

_MOST = {
    "convolution": 1,
    "line_bytes": MAX_DEPTH,
    "whole_windows": 1,
    "weight_depth": MAX_DEPTH,
    "threshold_depth": MAX_DEPTH,
    "acc_width": MAX_ACC_WIDTH,
    "act_depth": MAX_DEPTH,
    "program_depth": MAX_PROGRAM_DEPTH,
    "code_bits": MAX_COMPARED_BITS,
}
"""The fields of a device that may be too small for a network, and the largest values that are legal.

Buffers come before activation memory: in passes, a network needs less of that.
"""

_UNIT = {"threshold_share": 1, "result_lanes": 1}
_GIVEN_UP: tuple[tuple[dict[str, int], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"threshold_share": 1}, ()),
    (_UNIT, ()),
    (_UNIT, ("value_depth",)),
    (_UNIT, ("scale_depth",)),
)
"""What a device must be besides, in the order in which it is tried: values of few bits, and of up to 8.

And the memories beside the results unit that it has then: values in place, numbers K.
"""

_WITHOUT = {
    "convolution": {"line_bytes": 0, "whole_windows": 0, "column_align": 1},
    "line_bytes": {"whole_windows": 0, "column_align": 1},
}
"""What a device cannot have whose field of that name is 0."""

_RINGS = ("weight_depth", "threshold_depth")
"""Those that are rings on a device with a store: of these, too, powers of two alone are legal."""

_POWERS = ("value_depth", "scale_depth")
"""Those that are powers of two."""

_KNOWN = ("act_depth", "program_depth")
"""Those of which a program says exactly what it uses: with a word less there is another one, or none."""


@dataclass(frozen=True)
class Obstacle:
    """One thing that a device lacks.

    Attributes
    ----------
    field : str
        Of `DeviceConfig`; "" if no device of this array runs the network.
    there, needed : int
        What the device has; the least that suffices where everything else does, and of `threshold_share` and
        `store_words` the most.
    reason : str
        What the compiler says of a device that lacks nothing else.
    """

    field: str
    there: int
    needed: int
    reason: str


def obstacles(network: Network, config: DeviceConfig) -> list[Obstacle]:
    """Return all that a device lacks for a network; none if it runs, be it in passes.

    With every obstacle's field set to what is needed, the network compiles.
    """
    tried: DeviceConfig | None = None
    for other, beside in _GIVEN_UP:
        given_up = {**other, "result_lanes": config.result_lanes or 1} if "result_lanes" in other else other
        most = _most(config, given_up, beside)
        device = replace(config, **given_up, **most)
        if device == tried:
            continue
        tried, found = device, _compiled(network, device)
        if isinstance(found, Program):
            break
        said = str(found)
    else:
        return [Obstacle("", 0, 0, said)]
    lacking = [
        Obstacle(field, there, needed, said)
        for field, needed in given_up.items()
        if (there := getattr(config, field)) != needed
    ]
    for field in most:
        there = getattr(config, field)
        said = _compiled(network, device, **{field: there}, **({} if there else _WITHOUT.get(field, {})))
        if isinstance(said, Program):
            device, found = said.config, said
            continue
        find = _used if field in _KNOWN else _least
        needed = find(network, device, field, there)
        lacking.append(Obstacle(field, there, needed, str(said)))
        device = replace(device, **{field: needed})
    return lacking


def _most(config: DeviceConfig, given_up: Mapping[str, int], beside: Sequence[str]) -> dict[str, int]:
    """Return what a device may have at most, as `_MOST`, if it is changed in what is `given_up`."""
    width, most = config.geometry.width, {**_MOST, **dict.fromkeys(beside, MAX_DEPTH)}
    if not (width & (width - 1) or config.act_ports == 1 or config.whole_windows):
        most["whole_windows"] = 0  # nothing needs it, and it takes memory
    if given_up.get("threshold_share", config.threshold_share) > 1:
        most["code_bits"] = 1
    elif given_up.get("result_lanes", config.result_lanes):
        most["code_bits"] = MAX_CODE_BITS
    return most


def _compiled(
    network: Network, config: DeviceConfig, **changes: int
) -> Program | CompileError | GeometryError:
    try:
        return compile_network(network, replace(config, **changes))
    except (CompileError, GeometryError) as error:
        return error


def _used(network: Network, device: DeviceConfig, field: str, low: int) -> int:
    """Return what `_least` does, by what programs say that they use."""
    needed = high = getattr(device, field)
    while isinstance(found := _compiled(network, device, **{field: high}), Program):
        needed = found.used[field]
        high = needed - 1
    return needed


def _least(network: Network, device: DeviceConfig, field: str, low: int) -> int:
    """Return the least value of a field with which a network compiles, which it does not with `low`."""
    powers = field in _POWERS or (device.store_words and field in _RINGS)
    most = getattr(device, field)
    values = (
        [1 << k for k in range(low.bit_length(), most.bit_length())] if powers else range(low + 1, most + 1)
    )
    return values[
        bisect_left(
            values, True, key=lambda value: isinstance(_compiled(network, device, **{field: value}), Program)
        )
    ]
