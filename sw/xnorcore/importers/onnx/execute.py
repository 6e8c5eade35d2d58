"""The independent executor: onnx's own reference evaluator, with the quantiser nodes written for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...model.check import brief
from .excerpt import part_of
from .graph import QUANT_DOMAINS
from .read import onnx_package
from .windows import window_operators


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
        return part_of(self.model, start, outputs, double, exact)

    def _takes_any(self, key: tuple[Any, ...], session: Any, few: NDArray[Any], batch: int) -> bool:
        """Whether a part runs with more images than it was made for; reshapes may not allow that."""
        if key not in self._any:
            try:
                results = session.run(None, {key[0]: few})
                self._any[key] = all(len(result) == len(few) for result in results)
            except Exception:  # whatever numpy raises for shapes that do not fit
                self._any[key] = False
        return self._any[key]


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
                    "ROUND_TO_ZERO": lambda: np.copysign(np.floor(size), y),
                    "DPU": lambda: np.where(y < 0, np.floor(y + 0.5), np.round(y)),
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
