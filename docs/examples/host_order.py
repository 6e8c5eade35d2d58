"""How often onnxruntime gives the bits of the host's stated order of operations, and how much faster it is.

pip install ".[onnx]" onnxruntime && python docs/examples/host_order.py
"""

import time

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

from xnorcore.host.compute import compute
from xnorcore.host.layers import RealConv2d, RealDense

RNG = np.random.default_rng(1)


def session(node, shape, weights):
    given = [numpy_helper.from_array(np.ascontiguousarray(weights), "w")]
    ends = [helper.make_tensor_value_info(*one) for one in (("x", 1, ["n", *shape]), ("y", 1, None))]
    graph = helper.make_graph([node], "layer", ends[:1], ends[1:], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def fastest(run):
    times, result = [], None
    for _ in range(3):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def compared(name, layer, images, other, given, back):
    ours, found = fastest(lambda: compute([layer], images))
    theirs, result = fastest(lambda: other.run(None, {"x": given})[0])
    equal = found == back(result)
    alike = equal.reshape(len(equal), -1).all(axis=1)
    print(
        f"{name:<28} {ours * 1e3:7.2f} ms, onnxruntime {theirs * 1e3:6.2f} ms, {ours / theirs:4.1f} times; "
        f"equal: {equal.mean():.0%} of the sums, {int(alike.sum())} of {len(alike)} images"
    )


def conv(name, side, channels, outputs, kernel, stride=1, images=8):
    weights = RNG.normal(size=(outputs, kernel, kernel, channels)).astype(np.float32)
    x = RNG.normal(size=(images, side, side, channels)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2)
    other = session(node, (channels, side, side), weights.transpose(0, 3, 1, 2))
    given = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    layer = RealConv2d(weights, stride=(stride, stride))
    compared(name, layer, x, other, given, lambda y: y.transpose(0, 2, 3, 1))


def dense(name, inputs, outputs, images=8):
    weights = RNG.normal(size=(outputs, inputs)).astype(np.float32)
    x = RNG.normal(size=(images, inputs)).astype(np.float32)
    other = session(helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (inputs,), weights)
    compared(name, RealDense(weights), x, other, x, lambda y: y)


conv("AlexNet's conv1, 1 image", 227, 3, 96, 11, 4, images=1)
conv("CNV's first 3 x 3", 32, 3, 64, 3)
conv("5 x 5 of one channel", 28, 1, 20, 5)
conv("1 x 1 of 3 channels", 16, 3, 16, 1)
conv("1 x 1 of 2 channels", 16, 2, 16, 1)
conv("1 x 1 of one channel", 16, 1, 16, 1)
dense("AlexNet's fc8, 1 image", 4096, 1000, images=1)
dense("AlexNet's fc8", 4096, 1000)
dense("64 to 10", 64, 10)
dense("2 to 3", 2, 3)
