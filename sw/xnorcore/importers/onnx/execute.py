"""The independent executor: onnx's own reference evaluator, with the quantiser nodes written for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...model.check import brief
from .graph import QUANT_DOMAINS, QUANT_OPS
from .read import onnx_package
from .windows import CHANNELS_LAST, window_operators


class Executor:
    """Runs parts of a source model as they are stored, or in float64.

    Parameters
    ----------
    model : onnx.ModelProto
        Complete, and accepted by the importer.
    exact : mapping of str to str or array, optional
        As `Graph.exact`: applied in float64, and where a part begins inside the model.

    Attributes
    ----------
    name : str
        With version, for reports.
    """

    def __init__(self, model: Any, exact: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.exact = dict(exact or {})
        self._inputs = {value.name for value in model.graph.input}
        self.name = f"onnx.reference {onnx_package().__version__}"
        self._sessions: dict[tuple[Any, ...], Any] = {}
        self._any: dict[tuple[Any, ...], bool] = {}

    def run(
        self, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, batch: int, double: bool = False
    ) -> list[NDArray[Any]]:
        """Compute tensors from others.

        Parameters
        ----------
        feed : mapping of str to array, shape (n, ...)
            One tensor, of the source or its input.
        outputs : sequence of str
        batch : int
            Size that the graph was made for; more at once are tried first.
        double : bool
            In float64, parameters included.

        Returns
        -------
        list of array, shape (n, ...)

        Raises
        ------
        ImportFailedError
            If the executor cannot.
        """
        try:
            with np.errstate(all="ignore"):
                return self._run(feed, outputs, batch, double)
        except Exception as error:  # whatever the evaluator raises for a graph that it does not take
            reason = brief(" ".join(str(error).split()), 200)
            raise ImportFailedError(
                f"the check cannot execute the model with {self.name} ({reason})"
            ) from None

    def _run(
        self, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str], batch: int, double: bool
    ) -> list[NDArray[Any]]:
        ((name, values),) = feed.items()
        key = (name, tuple(outputs), double)
        if key not in self._sessions:
            self._sessions[key] = _session(self._part(name, outputs, double))
        session = self._sessions[key]
        if double and values.dtype.kind == "f":
            values = values.astype(np.float64)
        pad = -len(values) % batch
        full = np.concatenate([values, np.repeat(values[-1:], pad, axis=0)]) if pad else values
        if len(full) > batch and self._takes_any(key, session, full[: 2 * batch], batch):
            return [result[: len(values)] for result in session.run(None, {name: full})]
        parts = [session.run(None, {name: full[i : i + batch]}) for i in range(0, len(full), batch)]
        return [np.concatenate(column)[: len(values)] for column in zip(*parts, strict=True)]

    def not_finite(self, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str], *, batch: int) -> str:
        """Say which node on the way to `outputs` is the first to give infinity or NaN as stored; "" if none.

        Parameters
        ----------
        feed : mapping of str to array, shape (n, ...)
        outputs : sequence of str
        batch : int
            As for `run`.
        """
        ((start, _),) = feed.items()
        nodes = list(self._part(start, outputs, False).graph.node)
        names = [node.output[0] for node in nodes]
        found = self.run(feed, names, batch=batch) if nodes else []
        for node, values in zip(nodes, found, strict=True):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                label = f"{brief(node.op_type, 40)[1:-1]} {brief(node.name or node.output[0], 60)}"
                bad = values[~np.isfinite(values)].flat[0]
                return f"{label}: gives {bad} in {values.dtype.name}, as the source is stored; scale it"
        return ""

    def _part(self, start: str, outputs: Sequence[str], double: bool) -> Any:
        exact = self.exact if double or start not in self._inputs else {}
        return _part(self.model, start, outputs, double, exact)

    def _takes_any(self, key: tuple[Any, ...], session: Any, few: NDArray[Any], batch: int) -> bool:
        """Whether a part runs with more images than it was made for; reshapes may not allow that."""
        if key not in self._any:
            try:
                results = session.run(None, {key[0]: few})
                self._any[key] = all(len(result) == len(few) for result in results)
            except Exception:  # whatever numpy raises for shapes that do not fit
                self._any[key] = False
        return self._any[key]


def _part(model: Any, start: str, outputs: Sequence[str], double: bool, exact: Mapping[str, Any]) -> Any:
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


def _session(model: Any) -> Any:
    onnx_package()
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model, new_ops=_operators())


def _operators() -> list[Any]:
    """The quantiser nodes as their specification says, independent of the importer's own evaluation."""
    from onnx.reference.op_run import OpRun

    class BipolarQuant(OpRun):
        op_domain = QUANT_DOMAINS[0]

        def _run(self, x: Any, scale: Any) -> Any:
            positive = x >= 0
            return ((positive.astype(x.dtype) - (~positive).astype(x.dtype)) * scale.astype(x.dtype),)

    class Quant(OpRun):
        op_domain = QUANT_DOMAINS[0]

        def _run(
            self, x: Any, scale: Any, zero: Any, bits: Any, signed: Any = 1, narrow: Any = 0,
            rounding_mode: Any = "ROUND",
        ) -> Any:  # fmt: skip
            signed, narrow = 1 if signed is None else signed, 0 if narrow is None else narrow
            width, mode = int(np.asarray(bits).ravel()[0]), str(rounding_mode or "ROUND").upper()
            y = x / scale + zero
            if signed and width == 1:
                q = 2 * (y >= 0).astype(x.dtype) - 1
            else:
                high = 2 ** (width - 1) - 1 if signed else 2**width - (2 if narrow else 1)
                low = (-high if narrow else -high - 1) if signed else 0
                y = np.minimum(np.maximum(y, low), high)
                size = np.abs(y)
                q = {
                    "ROUND": lambda: np.round(y), "HALF_EVEN": lambda: np.round(y),
                    "CEIL": lambda: np.ceil(y), "FLOOR": lambda: np.floor(y),
                    "UP": lambda: np.copysign(np.ceil(size), y),
                    "DOWN": lambda: np.copysign(np.floor(size), y),
                    "HALF_UP": lambda: np.copysign(np.floor(size + 0.5), y),
                    "HALF_DOWN": lambda: np.copysign(np.ceil(size - 0.5), y),
                }[mode]()  # fmt: skip
            return (((q - zero) * scale).astype(x.dtype),)

    class IntQuant(Quant):
        op_domain = QUANT_DOMAINS[0]

    class MultiThreshold(OpRun):
        op_domain = QUANT_DOMAINS[0]

        def _run(
            self, x: Any, thresholds: Any, out_scale: Any = 1.0, out_bias: Any = 0.0, data_layout: Any = None,
            out_dtype: Any = None,
        ) -> Any:  # fmt: skip
            axis = data_layout.index("C") if data_layout and "C" in data_layout else 1
            scale = 1.0 if out_scale is None else out_scale
            bias = 0.0 if out_bias is None else out_bias
            channels = x.shape[axis]
            table = np.broadcast_to(thresholds, (channels, thresholds.shape[1]))
            result = np.empty_like(x)
            for channel in range(channels):
                place = (slice(None),) * axis + (channel,)
                count = sum((x[place] >= t).astype(x.dtype) for t in table[channel])
                result[place] = count * x.dtype.type(scale) + x.dtype.type(bias)
            return (result,)

    class BatchNormalization(OpRun):
        # The reference mixes statistics of the batch into that of opset 9 to 13, as in training.
        op_domain = ""

        def _run(
            self, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: Any = 1e-5,
            momentum: Any = 0.9, spatial: Any = 1, training_mode: Any = 0,
        ) -> Any:  # fmt: skip
            shape = (1, -1, *[1] * (x.ndim - 2))
            slope = gamma / np.sqrt(variance + variance.dtype.type(epsilon))
            return (((x - mean.reshape(shape)) * slope.reshape(shape) + beta.reshape(shape)).astype(x.dtype),)

    return [BipolarQuant, Quant, IntQuant, MultiThreshold, BatchNormalization, *window_operators()]
