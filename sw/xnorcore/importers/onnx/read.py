"""From a file to the checked graph; nothing in the file is trusted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ImportFailedError, MissingDependencyError, UsageError
from ...extras import install_extra
from ...files.userfile import open_regular
from ...model.check import brief
from .channels_last import CHANNELS_LAST, LAST_OPS, channels_first
from .graph import OLDEST_OPSET, QUANT_DOMAINS, QUANT_OPS, Graph, Node
from .tensors import ExternalData, element_type, elements, to_array

MAX_FILE = 1 << 30
MAX_NODES = 20_000
MAX_RANK = 4

_QUANT_SIGNATURES: dict[str, tuple[int, int, int, set[str]]] = {
    "BipolarQuant": (2, 2, 1, set()),
    "Quant": (4, 4, 1, {"signed", "narrow", "rounding_mode"}),
    "IntQuant": (4, 4, 1, {"signed", "narrow", "rounding_mode"}),
    "MultiThreshold": (2, 2, 1, {"out_dtype", "out_scale", "out_bias", "data_layout"}),
}
"""Least and most inputs, most outputs, attributes."""


def onnx_package() -> Any:
    """Import the package ``onnx``.

    Raises
    ------
    MissingDependencyError
        With the command that installs it.
    """
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError(
            f"importing ONNX needs the package onnx; install it with: {install_extra('onnx')}"
        ) from None
    return onnx


def read_model(path: Path) -> Any:
    """Read a model and its external data.

    Returns
    -------
    onnx.ModelProto
        Complete: no tensor refers to another file any more.

    Raises
    ------
    ImportFailedError
        If the file is unreadable, too large, or not an ONNX model.
    """
    onnx = onnx_package()
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_FILE:
                raise ImportFailedError(f"{path}: {status.st_size} bytes, the limit is {MAX_FILE}")
            data = file.read(status.st_size + 1)
    except UsageError:
        raise ImportFailedError(f"{path}: not a regular file") from None
    except OSError as error:
        raise ImportFailedError(f"{path}: cannot be read ({error.strerror})") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's own errors, whatever their class
        raise ImportFailedError(f"{path}: not an ONNX model, or damaged ({brief(str(error), 80)})") from None
    if not model.ir_version or not model.HasField("graph"):
        raise ImportFailedError(f"{path}: not an ONNX model: it has no graph")
    if not model.graph.node:
        raise ImportFailedError(f"{path}: its graph has no nodes; export the model with its layers")
    external = ExternalData(path.parent)
    for tensor in model.graph.initializer:
        external.embed(tensor, f"initializer {brief(tensor.name, 60)}")
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                external.embed(attribute.t, f"attribute {brief(attribute.name, 60)} of {node.op_type}")
    return model


def to_graph(model: Any) -> Graph:
    """Turn a complete model into the checked graph; nodes are still in the file's order.

    Parameters
    ----------
    model : onnx.ModelProto

    Raises
    ------
    ImportFailedError
        Names the node, input or initializer, and what is wrong with it.
    """
    opset = _opset(model)
    proto = model.graph
    if model.functions:
        raise ImportFailedError(
            f"the model has local functions ({brief(model.functions[0].name)}); inline them with onnx.inliner"
        )
    if proto.sparse_initializer:
        raise ImportFailedError("the model has sparse initializers; store them dense")
    if len(proto.node) > MAX_NODES:
        raise ImportFailedError(f"{len(proto.node)} nodes, the limit is {MAX_NODES}")
    constants = {}
    readers = {name: node for node in reversed(proto.node) for name in node.input}
    for tensor in proto.initializer:
        where = f"initializer {brief(tensor.name, 60)}"
        if node := readers.get(tensor.name):
            where += f", of {brief(node.op_type, 40)[1:-1]} {brief(node.name, 60)}"
        if not tensor.name or tensor.name in constants:
            raise ImportFailedError(f"{where}: has no name, or one that another initializer has")
        constants[tensor.name] = to_array(tensor, where)
    # Old exporters list the initializers among the inputs.
    inputs = [value for value in proto.input if value.name not in constants]
    if len(inputs) != 1 or not inputs[0].name:
        names = ", ".join(brief(value.name, 40) for value in inputs[:5])
        raise ImportFailedError(f"the graph has {len(inputs)} inputs ({names}), but must have one: the image")
    shape, dtype = _input(inputs[0])
    outputs = tuple(value.name for value in proto.output)
    if not outputs or len(set(outputs)) < len(outputs):
        raise ImportFailedError("the graph has no outputs, or one of them twice")
    nodes = tuple(part for index, node in enumerate(proto.node) for part in _nodes(node, index, opset))
    annotation = _annotation(proto, inputs[0].name)
    return Graph(nodes, constants, inputs[0].name, shape, dtype, annotation, outputs, opset)


def _opset(model: Any) -> int:
    newest = onnx_package().defs.onnx_opset_version()
    found = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(found) != 1:
        raise ImportFailedError(f"the model names {len(found)} versions of the standard operators, not one")
    if not OLDEST_OPSET <= found[0] <= newest:
        raise ImportFailedError(
            f"opset {brief(found[0])} of the standard operators is not supported: {OLDEST_OPSET} to {newest} "
            "are; export with another opset_version"
        )
    return found[0]


def _input(value: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    where = f"input {brief(value.name, 60)}"
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        raise ImportFailedError(f"{where}: is no tensor of known shape; export with a fixed image size")
    tensor = value.type.tensor_type
    dtype = element_type(tensor.elem_type, where)
    shape = []
    for axis, size in enumerate(tensor.shape.dim):
        known = size.WhichOneof("value") == "dim_value" and size.dim_value > 0
        if not known and axis:
            raise ImportFailedError(f"{where}: size {axis} is open; export with a fixed image size")
        shape.append(size.dim_value if known else 1)
    if not 2 <= len(shape) <= MAX_RANK:
        raise ImportFailedError(
            f"{where}: shape {brief(tuple(shape))} must be (batch, values), (batch, channels, height, width) "
            "or (batch, height, width, channels)"
        )
    elements(tuple(shape), where)
    return tuple(shape), dtype


def _annotation(proto: Any, name: str) -> str:
    for entry in proto.quantization_annotation:
        if entry.tensor_name == name:
            for pair in entry.quant_parameter_tensor_names:
                if pair.key == "finn_datatype":
                    return pair.value
    return ""


def _nodes(node: Any, index: int, opset: int) -> tuple[Node, ...]:
    made = _node(node, index, opset)
    return channels_first(made) if node.domain == CHANNELS_LAST else (made,)


def _node(node: Any, index: int, opset: int) -> Node:
    outputs = tuple(node.output)
    name = node.name or next((text for text in outputs if text), "") or f"node {index}"
    label = Node(node.op_type, name, (), ())
    # The operators with channels last have the attributes of the standard ones.
    # An old exporter left out the domain of the quantisers; no standard operators have their names.
    standard = node.domain in ("", "ai.onnx") and node.op_type not in QUANT_OPS
    standard |= node.domain == CHANNELS_LAST and node.op_type in LAST_OPS
    if not node.op_type or not (
        standard or (node.domain in ("", *QUANT_DOMAINS) and node.op_type in QUANT_OPS)
    ):
        raise label.fail(f"operator of domain {brief(node.domain, 60)} is not supported")
    known = _known(label, opset, standard)
    if not known[0] <= len(node.input) <= known[1] or not 1 <= len(node.output) <= known[2]:
        raise label.fail(f"has {len(node.input)} inputs and {len(node.output)} outputs, which it cannot have")
    attributes = {}
    for attribute in node.attribute:
        if attribute.name not in known[3]:
            raise label.fail(f"has no attribute {brief(attribute.name, 40)} in opset {opset}")
        if attribute.name in attributes:
            raise label.fail(f"attribute {brief(attribute.name, 40)} appears twice")
        attributes[attribute.name] = _attribute(attribute, label)
    return Node(node.op_type, name, tuple(node.input), outputs, attributes)


def _known(node: Node, opset: int, standard: bool) -> tuple[int, int, int, set[str]]:
    """Least and most inputs, most outputs, and attributes of an operator."""
    if not standard:
        return _QUANT_SIGNATURES[node.op]
    defs = onnx_package().defs
    try:
        schema = defs.get_schema(node.op, opset, "")
    except Exception:  # onnx's own error, whose class moved between versions
        raise node.fail(f"there is no such operator in opset {opset}") from None
    return schema.min_input, schema.max_input, schema.max_output, set(schema.attributes)


def _attribute(attribute: Any, node: Node) -> Any:
    kind = attribute.type
    if kind == 1:
        if not np.isfinite(attribute.f):
            raise node.fail(f"attribute {brief(attribute.name, 40)} is {attribute.f}, but must be finite")
        return attribute.f
    if kind == 2:
        return attribute.i
    if kind == 3:
        return attribute.s.decode("utf-8", "replace")
    if kind == 4:
        return to_array(attribute.t, f"{node.label}, attribute {brief(attribute.name, 40)}")
    if kind in (6, 7):
        return list(attribute.floats if kind == 6 else attribute.ints)
    raise node.fail(f"attribute {brief(attribute.name, 40)} has a type that is not supported")
