"""Damaged and edited files: one clear error, or a network that the import's own check finds equal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.importers.onnx_graphs import Builder, dense_net, save, script_net
from xnorcore.errors import XnorcoreError
from xnorcore.importers import onnx as importer

EACH = 90
"""Mutations of each kind and model: 4 kinds x 3 models x 90 = 1,080."""


def small() -> Any:
    """A model of standard operators with many attributes."""
    b = Builder((1, 1, 5, 5))
    x = b.node("Where", b.node("Less", "x", b.const(0.5)), b.const(-1.0), b.const(1.0))
    x = b.node("Pad", x, b.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])), b.const(-1.0))
    x = b.node("Conv", x, b.signs(3, 1, 3, 3), b.const([0.5, -1.5, 0.25]), strides=[1, 1])
    x = b.norm(b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 3)
    x = b.node("Flatten", b.node("Where", b.node("Greater", x, b.const(0.1)), b.const(1.0), b.const(0.0)))
    return b.model(b.node("ArgMax", b.node("Gemm", x, b.signs(4, 12), transB=1), axis=1))


MODELS: dict[str, Callable[[], Any]] = {"dense": dense_net, "old": script_net, "conv": small}


def attempt(path: Path, data: bytes) -> bool:
    """Import; whether it succeeded. Any other exception than ours, and any slow import, fails the test."""
    path.write_bytes(data)
    started = time.process_time()
    try:
        result = importer.load(path)
    except XnorcoreError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return False
    finally:
        assert time.process_time() - started < 10
    assert result.report.check.mismatches == 0
    return True


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = sorted(rng.integers(0, len(data), 2).tolist())
    return data[:start] if rng.random() < 0.5 else data[:start] + data[stop:]


def bits(data: bytes, rng: np.random.Generator) -> bytes:
    """Single bits of the structure: the first part of the file, where the nodes are."""
    changed = bytearray(data)
    place = int(rng.integers(min(len(changed), 1500)))
    changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


NUMBERS = (-(1 << 63), -2, -1, 0, 1, 2, 3, 5, 1 << 20, (1 << 31) - 1, (1 << 62) + 1)


def edited(data: bytes, rng: np.random.Generator) -> bytes:
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(data)
    for _ in range(int(rng.integers(1, 3))):
        _edit(model, rng)
    return model.SerializeToString()


def _edit(model: Any, rng: np.random.Generator) -> None:
    graph = model.graph
    nodes, tensors = graph.node, graph.initializer
    node = nodes[int(rng.integers(len(nodes)))]
    tensor = tensors[int(rng.integers(len(tensors)))]
    names = [name for n in nodes for name in (*n.input, *n.output)]
    number = int(rng.choice(np.array(NUMBERS, object)))
    kind = int(rng.integers(14))
    if kind == 0 and len(nodes) > 1:
        nodes.remove(node)
    elif kind == 1:
        nodes.add().CopyFrom(node)
    elif kind == 2 and node.input:
        node.input[int(rng.integers(len(node.input)))] = str(rng.choice(names))
    elif kind == 3 and node.output:
        node.output[0] = str(rng.choice(names))
    elif kind == 4:
        node.op_type = str(rng.choice([n.op_type for n in nodes] + ["Relu", "Softmax", "Loop", "Sign", ""]))
    elif kind == 5 and node.attribute:
        attribute = node.attribute[int(rng.integers(len(node.attribute)))]
        if attribute.ints:
            attribute.ints[int(rng.integers(len(attribute.ints)))] = number
        attribute.i = number
        attribute.f = float(rng.choice([np.nan, np.inf, -1.0, 0.0, 1e30]))
    elif kind == 6 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = number
    elif kind == 7:
        tensor.data_type = int(rng.integers(0, 24))
    elif kind == 8 and len(tensor.raw_data) >= 4 and tensor.data_type == 1:
        values = np.frombuffer(tensor.raw_data, np.float32).copy()
        values[int(rng.integers(len(values)))] = rng.choice([np.nan, np.inf, 0.0, -3.5, 1e38, 1e-40])
        tensor.raw_data = values.tobytes()
    elif kind == 9:
        model.opset_import[0].version = number
    elif kind == 10:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[int(rng.integers(len(dims)))].dim_value = number
    elif kind == 11 and len(node.input) > 1:
        first, second = node.input[0], node.input[1]
        node.input[0], node.input[1] = second, first
    elif kind == 12:
        del node.input[-1:]
    else:
        tensor.data_location = 1
        tensor.external_data.add(key="location", value=str(rng.choice(["../x", "net.onnx", "", "/dev/zero"])))


@pytest.mark.parametrize("model", some(MODELS, 1))
@pytest.mark.parametrize("mutate", some([cut, flipped, bits, edited], 1))
def test_mutations(tmp_path: Path, model: str, mutate: Callable[..., bytes]) -> None:
    path = save(MODELS[model](), tmp_path)
    data = path.read_bytes()
    assert attempt(path, data)
    rng = np.random.default_rng([list(MODELS).index(model), len(mutate.__name__)])
    passed = sum(attempt(path, mutate(data, rng)) for _ in range(EACH))
    assert passed < EACH
