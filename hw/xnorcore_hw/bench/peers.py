"""``bench peers``: the fast model against other ways to compute the same networks, if they are installed.

One run, one thread; everything is warmed up, and all scores are equal or it is an error. Best of several
repetitions, in turn, so that a busy machine hits all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore.cli.console import Console
from xnorcore.errors import EngineError
from xnorcore.extras import pip_install
from xnorcore.model.layers import Conv2d, Dense, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import fast

from .cnn import random_cnv
from .figure import Figure
from .workload import LFC, random_images, random_network

__all__ = ["peers"]

Runs = Callable[[NDArray[np.uint8]], NDArray[Any]]

_ROUNDS, _ROUND_S = 7, 0.15
_CASES = (("LFC", 1, 1.0), ("LFC", 2000, 0.35), ("CNV", 1, 0.8), ("CNV", 64, 0.8))
"""Network, images at once, and the most of the best peer's time."""


def peers(console: Console) -> Iterator[Figure]:
    """Measure the fast model against numba, onnxruntime and torch; skip, and say so, what is not there."""
    networks = {"LFC": random_network(LFC), "CNV": random_cnv()}
    made: dict[str, dict[str, Runs]] = {name: {} for name in networks}
    for peer, make in (("numba", _numba), ("onnxruntime", _onnxruntime), ("torch", _torch)):
        try:
            for name, network in networks.items():
                made[name][peer] = make(network)
        except ImportError as error:
            console.say(f"peers: {peer} is skipped ({error}); {pip_install([peer])}")
    for name, count, limit in _CASES:
        runs = {peer: run for peer, run in made[name].items() if run is not None}
        if not runs:
            continue
        network = networks[name]
        images = random_images(network, count)
        expected = fast.run(network, images)
        for peer, run in runs.items():
            if not np.array_equal(run(images), expected):
                raise EngineError(
                    f"{peer} computes other scores of {name} than the fast model; run the tests"
                )
        times = _times({"fast": partial(fast.run, network), **runs}, images)
        best = min(runs, key=lambda peer: times[peer])
        each = {peer: seconds / count * 1e6 for peer, seconds in times.items()}
        lines = [f"{peer}: {took:,.1f} us per image" for peer, took in each.items()]
        yield Figure(
            "peers", f"{name}, {count:,} at once: time against {best}", times["fast"] / times[best], limit,
            False, "times", {"us_per_image": each}, tuple(lines),
        )  # fmt: skip


def _times(runs: dict[str, Runs], images: NDArray[np.uint8]) -> dict[str, float]:
    """Seconds of one call: the least of some rounds, which take turns."""
    repeats, least = {}, {}
    for name, run in runs.items():
        run(images)
        started = time.perf_counter()
        run(images)
        repeats[name] = max(1, int(_ROUND_S / (time.perf_counter() - started)))
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            started = time.perf_counter()
            for _ in range(repeats[name]):
                run(images)
            seconds = (time.perf_counter() - started) / repeats[name]
            least[name] = min(seconds, least.get(name, seconds))
    return least


def _values(network: Network, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Inputs as floats, channels first."""
    values = images.astype(np.float32)
    if network.input.bits == 1:
        values = 2 * values - 1
    shape = network.input.shape
    if len(shape) == 3:
        values = np.ascontiguousarray(values.reshape(-1, *shape).transpose(0, 3, 1, 2))
    return values


def _weights(network: Network) -> Iterator[tuple[Any, Any, Any]]:
    """Layers with float weights, channels first, and thresholds; a dense layer behind maps is flat."""
    shapes = network.shapes
    for index, layer in enumerate(network.layers):
        if isinstance(layer, MaxPool2d):
            yield layer, None, None
            continue
        assert isinstance(layer, (Dense, Conv2d))
        weights = layer.weights.astype(np.float32)
        if isinstance(layer, Conv2d):
            weights = weights.transpose(0, 3, 1, 2)
        elif len(shapes[index]) == 3:
            weights = weights.reshape(-1, *shapes[index]).transpose(0, 3, 1, 2).reshape(layer.outputs, -1)
        limits = None if layer.thresholds is None else layer.thresholds.astype(np.float32)
        yield layer, np.ascontiguousarray(weights), limits


def _torch(network: Network) -> Runs:
    import torch  # pyright: ignore[reportMissingImports]

    functional = torch.nn.functional
    steps: list[Any] = [
        (layer, None if w is None else torch.from_numpy(w), None if t is None else torch.from_numpy(t))
        for layer, w, t in _weights(network)
    ]

    def run(images: NDArray[np.uint8]) -> NDArray[Any]:
        torch.set_num_threads(1)
        with torch.inference_mode():
            x = torch.from_numpy(_values(network, images))
            for layer, weights, limits in steps:
                if isinstance(layer, MaxPool2d):
                    x = functional.max_pool2d(x, layer.window, layer.stride)
                elif isinstance(layer, Conv2d):
                    x = functional.conv2d(x, weights, stride=layer.stride)
                    limits = None if limits is None else limits[:, None, None]
                else:
                    x = x.flatten(1) @ np.transpose(weights)
                if limits is not None:
                    x = 2 * (x >= limits).to(torch.float32) - 1
            return x.flatten(1).numpy().astype(np.int64)

    return run


def _onnxruntime(network: Network) -> Runs:
    import onnxruntime  # pyright: ignore[reportMissingImports]
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"

    def constant(name: str, array: NDArray[np.float32]) -> str:
        constants.append(numpy_helper.from_array(array, name))
        return name

    for index, (layer, weights, limits) in enumerate(_weights(network)):
        out = f"sum{index}"
        if isinstance(layer, MaxPool2d):
            nodes.append(
                helper.make_node(
                    "MaxPool", [value], [out], kernel_shape=list(layer.window), strides=list(layer.stride)
                )
            )
        elif isinstance(layer, Conv2d):
            inputs = [value, constant(f"w{index}", weights)]
            nodes.append(helper.make_node("Conv", inputs, [out], strides=list(layer.stride)))
        else:
            nodes.append(helper.make_node("Flatten", [value], [f"flat{index}"]))
            inputs = [f"flat{index}", constant(f"w{index}", np.ascontiguousarray(np.transpose(weights)))]
            nodes.append(helper.make_node("MatMul", inputs, [out]))
        value = out
        if limits is not None:
            # The sums are whole numbers: half below the threshold there is no zero.
            shape = (1, -1, 1, 1) if isinstance(layer, Conv2d) else (1, -1)
            inputs = [out, constant(f"t{index}", limits.reshape(shape) - np.float32(0.5))]
            nodes.append(helper.make_node("Sub", inputs, [f"above{index}"]))
            value = f"bit{index}"
            nodes.append(helper.make_node("Sign", [f"above{index}"], [value]))
    shape = network.input.shape
    shape = (shape[2], *shape[:2]) if len(shape) == 3 else shape
    graph = helper.make_graph(
        nodes, "peer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)], constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(images: NDArray[np.uint8]) -> NDArray[Any]:
        (found,) = session.run(None, {"x": _values(network, images)})
        return np.asarray(found).reshape(len(images), -1).astype(np.int64)

    return run


def _numba(network: Network) -> Runs:
    from .peer_numba import packed

    return packed(network)
