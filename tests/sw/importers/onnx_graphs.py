"""Small ONNX models, built node by node in the forms that exporters write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.draws import RNG

QONNX = "qonnx.custom_op.general"


class Builder:
    """A graph that grows node by node; every method returns the name of a tensor."""

    def __init__(
        self, shape: Any, *, opset: int = 20, ir: int = 10, kind: int = TensorProto.FLOAT, domain: str = QONNX
    ) -> None:
        self.opset, self.ir, self.domain = opset, ir, domain
        self.input = helper.make_tensor_value_info("x", kind, list(shape))
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.annotation = ""

    def const(self, values: Any, name: str | None = None) -> str:
        array = np.asarray(values)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = name or f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        made = [f"{op}_{len(self.nodes)}_{i}" if i else f"{op}_{len(self.nodes)}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), made, name=f"n{len(self.nodes)}", domain=domain, **attributes)
        )
        return made[0]

    def quant(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.node(op, *inputs, domain=self.domain, **attributes)

    def sign(self, x: str, scale: float = 1.0) -> str:
        return self.quant("BipolarQuant", x, self.const(scale))

    def latent(self, *shape: int) -> str:
        """Latent weights, binarized by a node."""
        return self.sign(self.const(RNG.normal(size=shape)))

    def signs(self, *shape: int, scale: Any = 1.0) -> str:
        """Weights that are stored as -a and +a."""
        return self.const(RNG.choice([-1.0, 1.0], shape) * np.asarray(scale))

    def norm(self, x: str, channels: int, spread: float = 3.0, **attributes: Any) -> str:
        parameters = (
            RNG.normal(size=channels), RNG.normal(size=channels), RNG.normal(size=channels) * spread,
            RNG.random(channels) * spread + 0.5,
        )  # fmt: skip
        return self.node("BatchNormalization", x, *map(self.const, parameters), **attributes)

    def model(self, *outputs: str, listed: bool = False, imports: bool = True) -> Any:
        inputs = [self.input]
        if listed:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in self.tensors]
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", inputs, values, self.tensors)
        if self.annotation:
            entry = graph.quantization_annotation.add(tensor_name="x")
            entry.quant_parameter_tensor_names.add(key="finn_datatype", value=self.annotation)
        opsets = [helper.make_opsetid("", self.opset)]
        if imports and any(node.domain for node in self.nodes):
            opsets.append(helper.make_opsetid(self.domain, 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir)


def save(model: Any, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def dense_net(listed: bool = False) -> Any:
    """784 would be long: 1 x 6 x 6 pixels, 16 and 10 outputs; Brevitas' dynamo exporter."""
    b = Builder((1, 1, 6, 6))
    one = b.const(np.ones(1))
    x = b.node("Reshape", "x", b.const(np.array([1, -1])), allowzero=1)
    x = b.node("Sub", b.node("Mul", x, b.const(np.float32(2))), one)
    x = b.quant("BipolarQuant", x, one)
    x = b.node("Gemm", x, b.quant("BipolarQuant", b.const(RNG.normal(size=(16, 36))), one), transB=1)
    x = b.quant("BipolarQuant", b.norm(x, 16), one)
    x = b.node("Gemm", x, b.quant("BipolarQuant", b.const(RNG.normal(size=(10, 16))), one), transB=1)
    x = b.node("Div", b.node("Sub", x, b.const([0.4])), b.const([17.8]))
    return b.model(b.node("Add", b.node("Mul", x, b.const([0.7])), b.const([-1.1])), listed=listed)


def script_net() -> Any:
    """The same in the form of an old TorchScript export: opset 9, initializers listed as inputs."""
    b = Builder((1, 1, 6, 6), opset=9, ir=6, domain="onnx.brevitas")
    size = b.node("Gather", b.node("Shape", "x"), b.const(np.array(0)), axis=0)
    shape = b.node("Concat", b.node("Unsqueeze", size, axes=[0]), b.const(np.array([-1])), axis=0)
    x = b.node("Reshape", "x", shape)
    x = b.sign(b.node("Sub", b.node("Mul", x, b.const(2.0)), b.const([1.0])))
    x = b.node("MatMul", x, b.node("Transpose", b.latent(16, 36), perm=[1, 0]))
    x = b.sign(b.norm(x, 16, momentum=0.9))
    x = b.node("MatMul", x, b.node("Transpose", b.latent(10, 16), perm=[1, 0]))
    root = b.node("Pow", b.const([300.0]), b.const(0.5))
    return b.model(b.node("Div", b.node("Sub", x, b.const([0.4])), root), listed=True, imports=False)


def conv_net(pool_first: bool = False, pads: int = 0) -> Any:
    """Like Brevitas' CNV: 8-bit signed image, pooling, a dense layer at the end."""
    b = Builder((1, 3, 8, 8))
    x = b.node("Sub", b.node("Mul", "x", b.const(2.0)), b.const([1.0]))
    x = b.quant(
        "Quant", x, b.const(1 / 128), b.const(0.0), b.const(8.0), signed=1, narrow=0, rounding_mode="ROUND"
    )
    x = b.sign(b.norm(b.node("Conv", x, b.latent(6, 3, 3, 3), kernel_shape=[3, 3]), 6, 40.0))
    x = b.node("Conv", x, b.latent(8, 6, 3, 3), pads=[pads] * 4)
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    x = (
        b.sign(b.norm(b.node("MaxPool", x, **pool), 8))
        if pool_first
        else b.node("MaxPool", b.sign(b.norm(x, 8)), **pool)
    )
    x = b.node("Flatten", x)
    x = b.node("Gemm", x, b.latent(5, 8 * (2 + pads) ** 2), transB=1)
    return b.model(b.node("Mul", x, b.const([-0.25])))


def plain(z: Any, *, taps: int = 27, shape: Any = None) -> Any:
    """A dense net around a sign that `z(builder, tensor)` writes; image of `taps` signs."""
    b = Builder(shape or (1, taps))
    b.annotation = "BIPOLAR"
    x = z(b, b.node("Gemm", "x", b.signs(8, taps), transB=1))
    return b.model(b.node("Gemm", x, b.signs(4, 8), transB=1))


def reference(model: Any, x: Any) -> list[Any]:
    """Run a model of standard operators by onnx's evaluator alone."""
    from onnx.reference import ReferenceEvaluator

    return [
        np.concatenate(c)
        for c in zip(*(ReferenceEvaluator(model).run(None, {"x": row[None]}) for row in x), strict=True)
    ]


def evaluated(model: Any, x: Any) -> Any:
    """The first output of a model of standard operators, image by image, by onnx's evaluator alone."""
    from onnx.reference import ReferenceEvaluator

    session: Any = ReferenceEvaluator(model)
    return np.concatenate([session.run(None, {"x": image[None]})[0] for image in x])


__all__ = [
    "QONNX",
    "RNG",
    "Builder",
    "conv_net",
    "dense_net",
    "evaluated",
    "onnx",
    "plain",
    "reference",
    "save",
    "script_net",
]
