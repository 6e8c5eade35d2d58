"""The part of a model that the independent executor runs: from one tensor to others, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .graph import QUANT_DOMAINS, QUANT_OPS
from .read import onnx_package
from .windows import CHANNELS_LAST

__all__ = ["part_of"]


def part_of(model: Any, start: str, outputs: Sequence[str], double: bool, exact: Mapping[str, Any]) -> Any:
    """A copy of a model that computes `outputs` from the tensor `start`."""
    onnx = onnx_package()
    part = onnx.ModelProto()
    part.ir_version = model.ir_version
    part.opset_import.extend(entry for entry in model.opset_import if entry.domain not in QUANT_DOMAINS)
    part.opset_import.append(onnx.helper.make_opsetid(QUANT_DOMAINS[0], 1))
    if all(entry.domain != CHANNELS_LAST for entry in part.opset_import):
        part.opset_import.append(onnx.helper.make_opsetid(CHANNELS_LAST, 1))
    nodes, same = _names(model.graph.node, exact, {start, *outputs})
    producers = {name: node for node in nodes for name in node.output if name}
    needed, stack, keep = set(), list(outputs), []
    while stack:
        name = stack.pop()
        if name in needed or not name or name == start:
            continue
        needed.add(name)
        if name in producers:
            keep.append(id(producers[name]))
            stack.extend(str(same.get(other, other)) for other in producers[name].input)
    graph = part.graph
    graph.name = "part"
    wanted = set(keep)
    graph.node.extend(node for node in _sorted([node for node in nodes if id(node) in wanted], start, same))
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in same:
                node.input[index] = same[name]
    graph.initializer.extend(
        tensor for tensor in model.graph.initializer if tensor.name in needed and tensor.name not in exact
    )
    graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name)
        for name, value in exact.items()
        if name in needed and not isinstance(value, str)
    )
    kind = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
    graph.input.append(onnx.helper.make_tensor_value_info(start, kind, None))
    graph.output.extend(onnx.helper.make_tensor_value_info(name, kind, None) for name in outputs)
    for node in graph.node:
        if node.op_type in QUANT_OPS:
            node.domain = QUANT_DOMAINS[0]
        if double:
            _widen(node)
    if double:
        for tensor in graph.initializer:
            _widen_tensor(tensor)
    return part


def _names(
    nodes: Sequence[Any], exact: Mapping[str, Any], keep: set[str]
) -> tuple[list[Any], dict[str, str]]:
    """Nodes other than Identity and those that compute exact weights; what other names stand for."""
    left = []
    source = {name: value for name, value in exact.items() if isinstance(value, str) and name not in keep}
    for node in nodes:
        if any(not isinstance(exact.get(name, ""), str) for name in node.output):
            continue
        if node.op_type == "Identity" and not node.domain and node.output[0] not in keep:
            source.setdefault(node.output[0], node.input[0])
        else:
            left.append(node)
    same: dict[str, str] = {}
    for name in source:
        path = []
        while name in source and name not in same:
            path.append(name)
            name = source[name]
        same.update(dict.fromkeys(path, same.get(name, name)))
    return left, same


def _sorted(nodes: list[Any], start: str, same: Mapping[str, str]) -> list[Any]:
    """Nodes in an order of execution, each visited once; what reads nothing that is left comes first."""
    made = {name for node in nodes for name in node.output if name and name != start}
    waiting: dict[int, int] = {}
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        reads = made.intersection(same.get(name, name) for name in node.input)
        waiting[id(node)] = len(reads)
        for name in reads:
            readers.setdefault(name, []).append(node)
    ready = deque(node for node in nodes if not waiting[id(node)])
    result = []
    while ready:
        result.append(node := ready.popleft())
        for name in node.output:
            for reader in readers.pop(name, ()):
                waiting[id(reader)] -= 1
                if not waiting[id(reader)]:
                    ready.append(reader)
    return result


def _widen(node: Any) -> None:
    onnx = onnx_package()
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
            attribute.i = onnx.TensorProto.DOUBLE


def _widen_tensor(tensor: Any) -> None:
    onnx = onnx_package()
    if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
        values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
