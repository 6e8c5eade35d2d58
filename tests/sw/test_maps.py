"""Layers over maps: their shapes, their useful work, and what is refused by name."""

from typing import Any

import numpy as np
import pytest

from xnorcore.errors import NetworkError
from xnorcore.link.session import Session
from xnorcore.model.network import Conv2d, Dense, GlobalSum, InputSpec, Layer, MaxPool2d, Network
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import open_machine


def ones(outputs: int, inputs: int) -> np.ndarray:
    return np.ones((outputs, inputs), np.int8)


def conv(outputs: int = 4, inputs: int = 2, kernel: tuple[int, int] = (3, 3), **changes: Any) -> Conv2d:
    arguments: dict[str, Any] = {"thresholds": [0] * outputs}
    return Conv2d(np.ones((outputs, *kernel, inputs), np.int8), **(arguments | changes))


def maps(*layers: Layer, shape: tuple[int, ...] = (6, 8, 2), bits: int = 1) -> Network:
    return Network("maps", InputSpec(shape, bits), layers)


def test_shapes_of_maps() -> None:
    net = maps(
        conv(5, 2, (3, 2), stride=(1, 2), padding=(1, 0, 1, 1)), MaxPool2d((2, 3), (2, 2)),
        conv(7, 5, (2, 1)), GlobalSum(), Dense(ones(3, 7)),
    )  # fmt: skip
    assert net.shapes == ((6, 8, 2), (5, 5, 5), (2, 2, 5), (1, 2, 7), (7,), (3,))
    assert net.weight_bits == 5 * 6 * 2 + 7 * 2 * 5 + 21
    assert (net.outputs, net.output_kind) == (3, "scores")
    net = maps(conv(), MaxPool2d())
    assert (net.shapes[-1], net.outputs, net.class_count, net.output_kind) == ((2, 3, 4), 24, 24, "bits")
    net = maps(conv(thresholds=None))
    assert (net.shapes[-1], net.outputs, net.output_kind) == ((4, 6, 4), 96, "scores")


def test_useful_work() -> None:
    # 6 rows of 3 taps less one above; the columns' 8 x 3 taps less one on each side.
    rows, columns = 5 * 3 - 1, 8 * 3 - 2
    padding = (1, 0, 1, 1)
    for pad_value, expected in ((0, rows * columns), (1, 15 * 24), (-1, 15 * 24)):
        net = maps(conv(padding=padding, pad_value=pad_value), Dense(ones(2, 5 * 8 * 4)))
        assert net.layer_macs == (expected * 2 * 4, 320)
    assert maps(conv(padding=padding), bits=8).layer_macs == (rows * columns * 2 * 4 * 8,)
    # 4 x 6 outputs; windows of 3 every 3 read 3 x 6 of them, windows of 2 every 3 read 2 x 4.
    assert maps(conv(), MaxPool2d((3, 3))).layer_macs == (3 * 6 * 18 * 4, 0)
    assert maps(conv(), MaxPool2d((2, 2), (3, 3))).layer_macs == (2 * 4 * 18 * 4, 0)
    # Windows that overlap read no output twice.
    assert maps(conv(), MaxPool2d((3, 3), (2, 2))).layer_macs == (3 * 5 * 18 * 4, 0)
    # Padded windows of 3 every 2 read all of 4 x 6, windows of 2 every 4 the first and last two of 6 columns.
    padded = MaxPool2d((3, 2), (2, 4), padding=(1, 0, 1, 1))
    assert maps(conv(), padded).layer_macs == (4 * 3 * 18 * 4, 0)
    assert maps(conv(), GlobalSum(), Dense(ones(3, 4))).layer_macs == (24 * 18 * 4, 0, 12)


def test_valid_taps() -> None:
    rows, columns = conv(kernel=(3, 2), padding=(2, 0, 0, 1), stride=(2, 3)).valid((4, 3, 2))
    assert rows.tolist() == [[False, False, True], [True, True, True]]
    assert columns.tolist() == [[True, True]]


def test_layers_are_values() -> None:
    layer = conv(stride=[1, 2], padding=np.array([1, 0, 1, 1]), pad_value=np.int8(1))
    assert (layer.stride, layer.padding, layer.pad_value) == ((1, 2), (1, 0, 1, 1), 1)
    assert type(layer.padding[0]) is type(layer.pad_value) is int
    same = conv(stride=(1, 2), padding=(1, 0, 1, 1), pad_value=1)
    assert layer == same
    assert hash(layer) == hash(same)
    others: list[Layer] = [
        conv(stride=(1, 2), padding=(1, 0, 1, 1)), conv(stride=(2, 2), padding=(1, 0, 1, 1), pad_value=1),
        conv(stride=(1, 2), padding=(1, 1, 1, 1), pad_value=1), Dense(ones(4, 18), [0] * 4),
        conv(stride=(1, 2), padding=(1, 0, 1, 1), pad_value=1, thresholds=None), MaxPool2d(),
    ]  # fmt: skip
    assert all(layer != other for other in others)
    assert MaxPool2d((3, 2)).stride == (3, 2)
    assert MaxPool2d((2, 2), (3, 2)) != MaxPool2d()
    assert MaxPool2d() == MaxPool2d((2, 2), (2, 2))
    with pytest.raises(NetworkError, match=r"conv layer 'c', weights: value 0\.5 is not an integer"):
        Conv2d([[[[0.5]]]], name="c")


WHERE = "must be 2 integers .vertical, horizontal., each"
ILLEGAL_MAPS: list[tuple[list[Layer], dict[str, Any], str]] = [
    ([conv()], {"shape": (96,)}, r"Conv2d takes .height, width, channels., but the input gives \(96,\)"),
    ([conv(), Dense(ones(4, 96), [0] * 4), conv()], {}, r"layer 2: Conv2d .*, but layer 1 gives \(4,\)"),
    ([conv(inputs=3)], {}, "layer 0: takes 3 channels, but the input gives 2"),
    ([conv(name="a"), conv(name="b")], {}, "layer 1 'b': takes 2 channels, but layer 0 'a' gives 4"),
    ([conv(kernel=(8, 1))], {}, "layer 0: kernel is 8x1, but must be 1x1 to 7x7"),
    ([conv(kernel=(0, 1))], {}, "layer 0: 0 taps, but there must be 1 to 65536"),
    ([conv(stride=(1, 5))], {}, rf"layer 0: stride is \(1, 5\), but {WHERE} 1 to 4"),
    ([conv(stride=2)], {}, f"layer 0: stride is 2, but {WHERE}"),
    ([conv(stride=(1, 1.0))], {}, rf"layer 0: stride is \(1, float\), but {WHERE}"),
    ([conv(stride=(True, 1))], {}, "layer 0: stride is"),
    ([conv(padding=(0, 3, 0, 0))], {}, r"layer 0: padding is \(0, 3, 0, 0\), .* 0 to 2 vertically"),
    ([conv(kernel=(3, 1), padding=(0, 0, 1, 0))], {}, "0 to 2 vertically, 0 to 0 horizontally"),
    ([conv(padding=(0, -1, 0, 0))], {}, r"layer 0: padding is \(0, -1, 0, 0\)"),
    ([conv(padding=(1, 1))], {}, r"padding is \(1, 1\), but must be 4 integers .top, bottom, left"),
    ([conv(padding=1)], {}, "padding is 1, but must be 4 integers"),
    ([conv(pad_value=2)], {}, "layer 0: pad_value is 2, but must be 0, -1 or .1"),
    ([conv(pad_value=0.0)], {}, "layer 0: pad_value is 0.0, but"),
    (
        [conv(padding=(1, 0, 0, 0), pad_value=-1)], {"bits": 8},
        "layer 0: pad_value is -1, but the input has 8-bit values; 0 to 255 can pad them",
    ),
    ([conv(kernel=(7, 7))], {}, "layer 0: kernel 7x7 does not fit the padded map of 6x8"),
    ([conv(2, 2, (6, 1)), conv(2, 2, (3, 1), padding=(1, 0, 0, 0))], {}, "layer 1: kernel 3x1 .* of 2x8"),
    ([conv(thresholds=[0] * 3)], {}, r"layer 0: thresholds are int64 \(3,\), but must be int64 \(4,\)"),
    ([conv(thresholds=None), GlobalSum()], {}, "layer 0: has no thresholds; only the last layer"),
    ([conv(thresholds=None), MaxPool2d()], {}, "layer 0: has no thresholds"),
    ([Conv2d(np.ones((4, 9, 2)))], {}, r"weights are int8 \(4, 9, 2\), but .* .outputs, kernel height"),
    ([conv(1, 9363, (7, 1), padding=(2, 0, 0, 0))], {"shape": (5, 1, 9363)}, "65541 taps, but there must be"),
    ([conv(2000, 1, (1, 1))], {"shape": (30, 20, 1)}, "gives 30x20x2000 = 1200000 values, the limit is"),
    ([conv(128, 1, (1, 1))], {"shape": (30, 30, 1)}, "gives 115200 outputs, the limit of a network is"),
    ([MaxPool2d()], {}, "layer 0: MaxPool2d must .* a Conv2d with thresholds, but follows the input"),
    ([conv(), MaxPool2d(), MaxPool2d()], {}, "layer 2: MaxPool2d must .*, but follows layer 1, a MaxPool2d"),
    ([Dense(ones(4, 96), [0] * 4), MaxPool2d()], {}, "layer 1: MaxPool2d .*, but follows layer 0, a Dense"),
    ([conv(), MaxPool2d((8, 2))], {}, rf"layer 1: window is \(8, 2\), but {WHERE} 1 to 7"),
    ([conv(), MaxPool2d((2, 2), (0, 2))], {}, rf"layer 1: stride is \(0, 2\), but {WHERE} 1 to 7"),
    ([conv(), MaxPool2d(2)], {}, f"layer 1: window is 2, but {WHERE} 1 to 7"),  # type: ignore[arg-type]
    (
        [conv(), MaxPool2d((2, 3), padding=(0, 2, 0, 0))], {},
        r"layer 1: padding is \(0, 2, 0, 0\), but .* less than the window: 0 to 1 vertically, 0 to 2 horiz",
    ),
    ([conv(), MaxPool2d((2, 3), padding=(0, 1))], {}, "layer 1: padding is .0, 1., but must be 4 integers"),  # type: ignore[arg-type]
    (
        [conv(2, 2, (5, 1)), MaxPool2d((5, 2), padding=(1, 1, 0, 0))], {},
        "layer 1: window 5x2 does not fit the padded map of 4x8",
    ),
    ([conv(2, 2, (5, 1)), MaxPool2d((3, 2))], {}, "layer 1: window 3x2 does not fit the map of 2x8"),
    ([GlobalSum(), Dense(ones(3, 2))], {}, "layer 0: GlobalSum must follow a Conv2d .* the input"),
    ([conv(), GlobalSum()], {}, "layer 1: GlobalSum must be followed by .*, but nothing follows"),
    ([conv(), GlobalSum(), conv()], {}, "GlobalSum must be followed by .*, but Conv2d follows"),
    ([conv(), GlobalSum(), Dense(ones(3, 4), [0] * 3), Dense(ones(3, 3))], {}, "but Dense and more follows"),
    ([conv(), GlobalSum(), Dense(ones(3, 96))], {}, "layer 2: takes 96 values, but layer 1 gives 4"),
    ([conv(), Dense(ones(3, 4))], {}, "layer 1: takes 4 values, but layer 0 gives 96"),
    ([conv(name="\n")], {}, "layer 0 name: "),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "changes", "message"), ILLEGAL_MAPS)
def test_illegal_maps(layers: list[Layer], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        maps(*layers, **changes)
    assert "\n" not in str(caught.value)


def test_padding_kinds_matter_only_where_there_is_padding() -> None:
    assert maps(conv(pad_value=-1), bits=8).outputs == 96


def test_images_larger_than_any_layers_taps() -> None:
    """What a real first layer gives: 56 x 56 x 64 bits, more than 65,536."""
    rng = np.random.default_rng(3)
    weights = rng.choice([-1, 1], (5, 3, 3, 64))
    net = Network("large", InputSpec((56, 56, 64)), [Conv2d(weights, np.zeros(5), stride=(4, 4))])
    images = rng.integers(0, 2, (2, 56, 56, 64), np.uint8)
    raw = golden.run(net, images)
    np.testing.assert_array_equal(raw, fast.run(net, images))
    url = "rows=1,columns=8,width=32,act_depth=8192,weight_depth=256,convolution=1,line_bytes=16384"
    with Accelerator(Session(open_machine(url), seed=0)) as device:
        device.load(net)
        np.testing.assert_array_equal(device.infer(images), raw)
