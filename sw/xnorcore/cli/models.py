"""``info``: what a network needs of a device."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from .. import zoo
from ..boards import configured, find_device
from ..compiler.compile import Program, compile_network
from ..compiler.group import largest
from ..errors import CompileError
from ..isa.device import MAX_DEPTH, MAX_PROGRAM_DEPTH, DeviceConfig, Geometry
from ..isa.ranges import power_of_two_at_least
from ..model.layers import Conv2d, MaxPool2d, has_weights
from ..model.network import Network
from .console import Console, table
from .devices import ask, board_lines, configurations, efficiency, lacking_lines
from .options import Parser, add_geometry, add_network, given_options
from .sizes import host_facts, host_lines, sizes

_MEMORIES = {
    "weight_depth": "weights, words per column",
    "threshold_depth": "thresholds, values per column",
    "act_depth": "activations, words per row",
    "program_depth": "program, 32-bit words",
}


def add_info(parser: Parser) -> None:
    """Add the arguments of ``info``."""
    parser.set_defaults(call=_info)
    add_network(parser)
    add_geometry(parser)


def describe(network: Network) -> dict[str, Any]:
    """Return what every command says of a network, in the form of ``--json``."""
    accuracy = network.metadata.get("accuracy")
    return {
        "network": network.name,
        "sizes": sizes(network),
        "input": {"shape": list(network.input.shape), "bits": network.input.bits},
        "outputs": network.outputs,
        "output_kind": network.output_kind,
        "classes": network.class_count,
        "weight_bits": network.weight_bits,
        "macs_per_image": network.macs,
        "host": host_facts(network),
        "accuracy": accuracy if isinstance(accuracy, float) and 0 <= accuracy <= 1 else None,
    }


def _info(arguments: argparse.Namespace, console: Console) -> int:
    device = None if arguments.board is None else find_device(arguments.board)
    config = configured(device, given_options(arguments))
    network = zoo.load(arguments.network)
    shown = set() if arguments.board else {"rows", "columns", "width"}
    chosen = sorted(set(given_options(arguments)) - shown)
    refusal: str | None = None
    try:
        program: Program | None = largest(compile_network(network, config))
    except CompileError as error:
        refusal, program = str(error), without_limits(network, config)
    held = device.refuses(config) if device else None
    value = {
        "command": "info",
        **describe(network),
        "metadata": network.metadata,
        "layers": layer_facts(network, program),
        **device_facts(config, program),
        "fits": refusal is None and held is None,
        "refusal": refusal,
        "missing": _missing(network, config) if refusal else [],
        "board_refusal": held,
        "device": {"board": arguments.board, "simulated": not arguments.board, "chosen": chosen},
        "boards": ask(network, configurations()) or None,
    }
    console.result(value, _info_lines(network, value))
    return 0 if value["fits"] else 1


def _missing(network: Network, config: DeviceConfig) -> list[dict[str, Any]]:
    from ..compiler.obstacles import obstacles

    return [asdict(lack) for lack in obstacles(network, config)]


def without_limits(network: Network, config: DeviceConfig) -> Program | None:
    """Compile for the same array with the largest memories, to say what is needed; None if that fails too."""
    depths = dict.fromkeys(("weight_depth", "threshold_depth", "act_depth"), MAX_DEPTH)
    for acc_width in (config.acc_width, 32):
        with contextlib.suppress(CompileError):
            return compile_network(
                network, replace(config, acc_width=acc_width, program_depth=MAX_PROGRAM_DEPTH, **depths)
            )
    return None


def layer_facts(network: Network, program: Program | None) -> list[dict[str, Any]]:
    """Return what is to be said of each layer, in the form of ``--json``."""
    shapes, macs = network.shapes, network.layer_macs
    layers: list[dict[str, Any]] = []
    for index, layer in enumerate(network.layers):
        # Sums, and most pooling, are part of another layer's plan.
        plans = [plan for plan in (program.layers if program else ()) if plan.layer == index]
        layers.append(
            {
                "name": layer.name or f"layer{index}",
                "kind": type(layer).__name__.lower(),
                **WINDOWS.get(type(layer), lambda _: {})(layer),
                "input": list(shapes[network.reads[index][0]]),
                "reads": [network.values[number].name for number in network.reads[index]],
                "output": list(shapes[index + 1]),
                "weight_bits": layer.weight_bits,
                "bits_per_weight": layer.weight_width if has_weights(layer) else None,
                "bits_per_value": network.values[index + 1].bits,
                "gives": network.values[index + 1].result,
                "macs": macs[index],
                "beats": sum(plan.beats for plan in plans) if plans else None,
                "accumulator_bits": max(plan.acc_bits for plan in plans) if plans else None,
            }
        )
    return layers


def _conv_window(layer: Any) -> dict[str, Any]:
    padding = {"padding": list(layer.padding), "pad_value": layer.pad_value}
    return {"window": list(layer.kernel), "stride": list(layer.stride), **padding}


def _pool_window(layer: Any) -> dict[str, Any]:
    padding = {"padding": list(layer.padding)} if any(layer.padding) else {}
    return {"window": list(layer.window), "stride": list(layer.stride), **padding}


WINDOWS: dict[type, Callable[[Any], dict[str, Any]]] = {Conv2d: _conv_window, MaxPool2d: _pool_window}
"""By kind of layer: what it does to the windows of a map; others have none."""


def kind_of(layer: dict[str, Any]) -> str:
    """Return a layer's kind in short, as ``conv2d 3x3``; ``/2`` is a stride, ``+1`` padding."""
    text = layer["kind"]
    if "window" in layer:
        text += " " + "x".join(map(str, layer["window"]))
        usual = layer["window"] if layer["kind"] == "maxpool2d" else [1, 1]
        if layer["stride"] != usual:
            text += "/" + "x".join(map(str, sorted(set(layer["stride"]))))
        if any(layer.get("padding", ())):
            text += "+" + "x".join(map(str, sorted(set(layer["padding"]))))
    return text


def device_facts(config: DeviceConfig, program: Program | None) -> dict[str, Any]:
    """Return what a program needs of a device, and what there is, in the form of ``--json``."""
    g = config.geometry
    memory = {
        name: {"used": program.used[name] if program else None, "available": getattr(config, name)}
        for name in _MEMORIES
    }
    if config.store_words:
        memory["store_words"] = {
            "used": program.used["store_words"] if program else None, "available": config.store_words,
        }  # fmt: skip
    bits = max(layer.acc_bits for layer in program.layers) if program else None
    memory["acc_width"] = {"used": bits, "available": config.acc_width}
    expected = drains = one_image = used = None
    if program:
        # Alone, an image may have all rows to itself.
        alone = compile_network(program.network, program.config, at_once=1)
        one_image = {"expected_cycles": alone.latency, "spread": alone.spread}
        drains = sum(layer.drains for layer in program.layers)
        expected = program.cycles
        # Where weights cross the link with each call, the link is what takes the time.
        if program.passes == 1:
            used = efficiency(program, program.cycles)
    return {
        "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
        "peak_macs_per_cycle": g.peak,
        "memory": memory,
        "image_bytes": program.image_bytes if program else None,
        "result_bytes": program.result_bytes if program else None,
        "passes": program.passes if program else None,
        "streams": program.streams if program else None,
        "added_in_place": _added(program) if program else None,
        "link_bytes_per_call": program.bytes_per_call if program else None,
        "beats_per_batch": program.beats if program else None,
        "drains_per_batch": drains,
        "expected_cycles_per_batch": expected,
        "images_per_batch": program.batch if program else g.rows,
        "expected_efficiency": used,
        "one_image": one_image,
    }


def _added(program: Program) -> int:
    """Return how many layers add to values that stay beside the results unit."""
    return sum(one.adding is not None for section in program.sections for one in section.descriptors)


def _info_lines(network: Network, value: dict[str, Any]) -> list[str]:
    def shown(count: int | None) -> str:
        return "" if count is None else f"{count:,}"

    g, spec = value["geometry"], network.input
    shape = " x ".join(map(str, spec.shape))
    lines = [
        f"network {network.name!r}: {shape} values of {spec.bits} bit, {network.class_count} classes",
        *host_lines(value["host"]),
        "",
    ]
    rows = [
        (
            layer["name"],
            kind_of(layer),
            " x ".join(map(str, layer["input"])) if len(layer["reads"]) == 1 else ", ".join(layer["reads"]),
            " x ".join(map(str, layer["output"])),
            _bits(layer),
            *(shown(layer[key]) for key in ("weight_bits", "macs", "beats", "accumulator_bits")),
        )
        for layer in value["layers"]
    ]
    head = ("layer", "kind", "inputs", "outputs", "bits", "weight bits", "MACs", "beats", "sum bits")
    lines += table(rows, head, "  ", drop=("sum bits", "beats", "inputs", "bits"))
    lines += [
        "",
        f"{_device(value)}: {value['peak_macs_per_cycle']:,} MACs/cycle",
    ]
    names = {**_MEMORIES, "acc_width": "accumulator, bits", "store_words": "store, 32-bit words"}
    memory = []
    for name, entry in value["memory"].items():
        short = entry["used"] is not None and entry["used"] > entry["available"]
        hint = f"too small: --set {name}={entry['used']} or more" if short else ""
        if short and value["fits"]:
            how = "from the store" if value["streams"] else "in passes"
            # A store's size is a power of two.
            enough = power_of_two_at_least(entry["used"]) if name == "store_words" else entry["used"]
            hint = f"{how}; at once with --set {name}={enough}"
        memory.append((names[name], shown(entry["used"]), shown(entry["available"]), hint))
    lines += table(memory, ("memory", "needed", "there is", ""), "  ")
    if value["expected_cycles_per_batch"]:
        lines += [
            "",
            f"bytes per image {value['image_bytes']:,}, per result {value['result_bytes']:,}",
            f"expected cycles per batch of {value['images_per_batch']}: "
            f"{value['expected_cycles_per_batch']:,} ({value['beats_per_batch']:,} beats that multiply)",
        ]
        if value["expected_efficiency"]:
            lines.append(f"expected efficiency: {value['expected_efficiency']:.3f} of that device's MACs")
        if value["added_in_place"]:
            lines.append(f"{value['added_in_place']} layers add to values in place")
        if value["one_image"]["spread"]:
            lines.append(
                f"one image, the rows on strips of it: {value['one_image']['expected_cycles']:,} cycles"
            )
    verdict = f"fits {_device(value)}"
    if value["refusal"]:
        verdict = f"does not fit {_device(value)}: {value['refusal']}"
    elif value["passes"] > 1:
        verdict = (
            f"runs on {_device(value)} in {value['passes']} passes: "
            f"{value['link_bytes_per_call']:,} bytes of weights cross the link with each call"
        )
    elif value["streams"]:
        verdict = f"runs on {_device(value)} with weights that stream from its store"
    lines += ["", verdict]
    if len(value["missing"]) > 1:
        lines += ["in all:", *lacking_lines(value["missing"])]
    if value["board_refusal"]:
        lines.append(f"but the board does not hold such a device: {value['board_refusal']}")
    if value["device"]["simulated"] and value["boards"]:
        lines += board_lines(value["boards"], Geometry(g["rows"], g["columns"], g["width"]))
    return lines


def _bits(layer: dict[str, Any]) -> str:
    """Return the bits of a layer's weights, if it has some, and of what it gives, as ``W2A3``."""
    weights = "" if layer["bits_per_weight"] is None else f"W{layer['bits_per_weight']}"
    return weights if layer["gives"] == "sums" else f"{weights}A{layer['bits_per_value']}"


def _device(value: dict[str, Any]) -> str:
    """Return whose device it is that a description is of."""
    g, device = value["geometry"], value["device"]
    array = f"{g['rows']} x {g['columns']} x {g['width']}"
    if device["board"]:
        changed = f" ({', '.join(device['chosen'])} as given)" if device["chosen"] else ""
        return f"the device of board {device['board']}, {array}{changed}"
    given = f"{', '.join(device['chosen'])} as given, else " if device["chosen"] else ""
    return f"the simulated device {array} ({given}its default memories)"
