"""The network representation: what is legal, how images come in and classes go out."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorcore.errors import InputError, NetworkError, UsageError
from xnorcore.model import bits
from xnorcore.model.network import Dense, InputSpec, Network, prepare


def ones(outputs: int, inputs: int) -> np.ndarray:
    return np.ones((outputs, inputs), np.int8)


def small(**changes: Any) -> Network:
    """3x2x2 5-bit image -> 6 bits -> 4 scores."""
    arguments: dict[str, Any] = {
        "name": "small",
        "input": InputSpec((3, 2, 2), 5),
        "layers": [Dense(ones(6, 12), np.zeros(6, int), "a"), Dense(ones(4, 6), None, "b")],
    }
    return Network(**(arguments | changes))


def test_properties() -> None:
    net = small()
    assert net.shapes == ((3, 2, 2), (6,), (4,))
    assert net.layer_macs == (6 * 12 * 5, 24)
    assert (net.macs, net.weight_bits, net.outputs, net.output_kind) == (384, 96, 4, "scores")
    assert net.classes == net.class_count == 4
    assert (net.input.size, net.input.maximum) == (12, 31)


def test_networks_are_immutable_values() -> None:
    weights = ones(4, 12)
    net = small(layers=[Dense(weights)], scale=[1, 2, 3, 4], metadata={"a": (1, 2)})
    weights[0, 0] = -1
    assert net == small(layers=[Dense(ones(4, 12))], scale=[1, 2, 3, 4], metadata={"a": [1, 2]})
    assert hash(net) == hash(small(layers=[Dense(ones(4, 12))]))
    assert net != small(layers=[Dense(weights)], scale=[1, 2, 3, 4], metadata={"a": [1, 2]})
    assert net != small(layers=[Dense(ones(4, 12))], metadata={"a": [1, 2]})
    first = net.layers[0]
    assert isinstance(first, Dense)
    with pytest.raises(ValueError, match="read-only"):
        first.weights[0, 0] = -1
    with pytest.raises(AttributeError):
        net.name = "other"  # type: ignore[misc]


def test_float_arrays_of_integers_are_taken() -> None:
    assert Dense(np.array([[1.0, -1.0]]), np.array([3.0])) == Dense(
        np.array([[1, -1]], np.int8), np.array([3], np.int64)
    )


@pytest.mark.parametrize(
    ("weights", "thresholds", "message"),
    [
        ([[0.5]], None, "value 0.5 is not an integer from -128 to 127"),
        ([[300]], None, "value 300 is not an integer"),
        ([[float("nan")]], None, "value nan is not an integer"),
        ([[1]], [2.0**63], "thresholds: value 9.22"),
        ([[1]], np.array([2**63], np.uint64), "thresholds: value 9223372036854775808"),
        ([["a"]], None, "dtype is <U1"),
        ([[1], [1, 2]], None, "not an array"),
    ],
)
def test_arrays_that_conversion_would_change(weights: Any, thresholds: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Dense(weights, thresholds)


ILLEGAL: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "network name: '' must be 1 to 100 printable"),
    ({"name": "a\x1b[31m"}, "network name: 'a.x1b.31m' must be"),
    ({"name": 3}, "network name: 3 is not a string"),
    ({"layers": []}, "layers: found 0, but a network has 1 to 256 layers"),
    ({"layers": [1]}, "layer 0: int is not a layer; known: Dense, Conv2d, MaxPool2d, GlobalSum"),
    ({"input": None}, "input: NoneType is not an InputSpec"),
    ({"input": InputSpec((3, 4))}, r"input shape: \(3, 4\) must be \(values,\)"),
    ({"input": InputSpec((12, 0, 1))}, r"input shape: \(12, 0, 1\) must hold integers from 1"),
    ({"input": InputSpec((10**5000,))}, "input shape: .an integer of 16610 bits,. must hold integers"),
    ({"input": InputSpec((600, 600, 3))}, "has 1080000 values, the limit is 1048576"),
    ({"input": InputSpec((12,), 9)}, "input bits: 9 must be an integer from 1 to 8"),
    ({"input": InputSpec((12,), True)}, "input bits: True must be"),
    ({"input": InputSpec((13,))}, "layer 0 'a': takes 12 values, but the input gives 13"),
    (
        {"layers": [Dense(ones(6, 12), [0] * 6), Dense(ones(4, 7))]},
        "layer 1: takes 7 values, but layer 0 gives 6",
    ),
    ({"layers": [Dense(ones(6, 12)), Dense(ones(4, 6))]}, "layer 0: has no thresholds; only the last"),
    ({"layers": [Dense(np.ones(12, int))]}, r"layer 0: weights are int8 \(12,\)"),
    ({"layers": [Dense(ones(6, 12), [0] * 5)]}, r"thresholds are int64 \(5,\), but must be int64 \(6,\)"),
    ({"layers": [Dense(ones(2, 12), [0, 2**31])]}, "threshold 1 is 2147483648, but must be -2147483648"),
    ({"layers": [Dense(ones(0, 12))]}, "layer 0: 0 outputs, but there must be 1 to 65536"),
    ({"layers": [Dense(ones(65537, 12))]}, "layer 0: 65537 outputs"),
    ({"layers": [Dense(ones(2, 12), [0, 0])], "scale": [1, 1]}, "scale: the last layer gives bits"),
    ({"classes": 5}, "classes: 5 must be an integer from 1 to the 4 outputs"),
    ({"classes": 0}, "classes: 0 must"),
    ({"scale": [1, 2]}, r"scale: shape is \(2,\), but must be \(4,\)"),
    ({"offset": [0, 1, float("nan"), 0]}, "offset: value 2 is nan, but must be finite"),
    ({"offset": [0, 1, 2, "x"]}, "offset: not an array of float64"),
    ({"metadata": 3}, "metadata: int is not a dict"),
    ({"metadata": {"a": float("inf")}}, "metadata: JSON cannot hold it"),
    ({"metadata": {"a": {1}}}, "metadata: JSON cannot hold it"),
    ({"metadata": {1: 2}}, "metadata: keys must be strings"),
    ({"metadata": {"a": "x" * (1 << 18)}}, "metadata: 262153 characters"),
    ({"metadata": {"a": eval("[" * 40 + "]" * 40)}}, "metadata: nested deeper than the limit of 32"),
]


@pytest.mark.parametrize(("changes", "message"), ILLEGAL)
def test_illegal_networks(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)


def test_weight_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnorcore.model.check.MAX_WEIGHT_BITS", 95)
    with pytest.raises(NetworkError, match="layer 1 'b': 96 weight bits so far, the limit is 95"):
        small()


def test_thresholds_out_of_reach_are_legal() -> None:
    low, high = -(2**31), 2**31 - 1
    assert small(layers=[Dense(ones(2, 12), [low, high])]).output_kind == "bits"


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (2, 12), (3, 2, 2), (0, 12), (0, 3, 2, 2)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.uint64])
def test_prepare_takes(shape: tuple[int, ...], dtype: Any) -> None:
    images = (np.arange(np.prod(shape)).reshape(shape) % 32).astype(dtype)
    result = prepare(small(), images)
    assert result.dtype == np.uint8
    assert np.array_equal(result, images.reshape(-1, 12))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 12)), "images have dtype float64, but network 'small' takes bool or integers 0 to 31"),
        (
            np.zeros(12, int),
            r"images have shape \(12,\), but network 'small' takes \(n, 3, 2, 2\) or \(n, 12\)",
        ),
        (np.zeros((2, 11), int), r"shape \(2, 11\)"),
        (np.zeros((2, 2, 3, 2), int), r"shape \(2, 2, 3, 2\)"),
        (np.zeros((1, 2, 3, 2, 2), int), r"shape \(1, 2, 3, 2, 2\)"),
        (np.int64(3), r"shape \(\)"),
        (np.full((1, 12), 32), "the value 32, but network 'small' takes 5-bit values, 0 to 31"),
        (np.full((1, 12), -1), "the value -1"),
        (np.full((1, 12), 2**64 - 1, np.uint64), "the value 18446744073709551615"),
        ([[1], [2, 3]], "not an array"),
        (None, "dtype object"),
        ("images", "dtype <U6"),
    ],
)
def test_prepare_refuses(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(small(), images)


def test_signs_are_refused_with_the_rule() -> None:
    net = Network("one", InputSpec((2,)), [Dense(ones(1, 2))])
    with pytest.raises(InputError, match=r"1-bit values, 0 to 1; write 1 for \+1 and 0 for -1"):
        prepare(net, [[1, -1]])


def test_wire_form() -> None:
    net = Network("one", InputSpec((10,)), [Dense(ones(1, 10))])
    image = [1, 0, 0, 0, 0, 0, 1, 1, 0, 1]
    assert bits.bytes_per_image(net) == 2
    assert bits.pack_images(net, [image]).tolist() == [[0b11000001, 0b10]]
    assert bits.bytes_per_image(small()) == 12
    assert bits.pack_images(small(), np.arange(12).reshape(3, 2, 2)).tolist() == [list(range(12))]


def test_bit_order() -> None:
    assert bits.pack([1, 1, 0, 0, 0, 0, 0, 0, 1], 32).tolist() == [3, 1, 0, 0]
    assert bits.pack_u64([0] * 63 + [1, 1]).tolist() == [1 << 63, 1]
    assert bits.unpack(np.array([0b0101], np.uint8), 4).tolist() == [1, 0, 1, 0]
    assert bits.unpack_weights(bits.pack_weights(np.array([1, -1, 1], np.int8)), 3).tolist() == [1, -1, 1]
    assert bits.planes(np.array([6, 1], np.uint8), 3).tolist() == [[1, 0], [1, 0], [0, 1]]
    for word_bits in (0, 4, 12):
        with pytest.raises(
            UsageError, match=f"word_bits is {word_bits}, but must be a positive multiple of 8"
        ):
            bits.pack([1], word_bits)


def test_classify_scores() -> None:
    assert small().classify([[1, 3, 3, 2], [-4, -5, -6, -4]]).tolist() == [1, 0]
    assert small(classes=2).classify([[1, 3, 4, 9], [5, 2, 0, 9]]).tolist() == [1, 0]
    assert small(scale=[1, 1, -1, 0.5]).classify([[3, 2, -4, 9]]).tolist() == [3]
    assert small(offset=[0, 2, 2, 0]).classify([[3, 1, 1, 3]]).tolist() == [0]
    assert small().classify(np.zeros((0, 4), int)).shape == (0,)
    assert small(scale=[2, 2, 2, 2], offset=[1, 1, 1, 1]).affine([[0, 1, 2, 3]]).tolist() == [[1, 3, 5, 7]]


def test_classify_is_exact_where_float64_is_not() -> None:
    # 3 * 0.1 rounds up to 0.30000000000000004; as a rational, 0.1 * 3 is above 0.3 by less than that.
    third = small(scale=[0.3, 0.1, 0.1, 0.1])
    assert Fraction(0.3) < 3 * Fraction(0.1)
    assert third.classify([[1, 3, 0, 0]]).tolist() == [1]
    # Equal after rounding, but the second is larger by 1.
    assert small(offset=[2.0**60] * 4, scale=[1.0] * 4).classify([[0, 1, 0, 0]]).tolist() == [1]
    # Infinite and subnormal products.
    assert small(scale=[1e308, 1.1e308, 1, 1]).classify([[100, 100, 1, 1]]).tolist() == [1]
    assert small(scale=[-1e308, -1.1e308, 1, 1], offset=[1, 1, -1e308, -1e308]).classify(
        [[100, 100, 1, 2]]
    ).tolist() == [3]
    assert small(scale=[5e-324, 1e-323, 0, 0]).classify([[1, 1, 1, 1]]).tolist() == [1]


@given(
    st.lists(st.integers(-50, 50), min_size=4, max_size=4),
    st.lists(st.sampled_from([0.1, 0.3, 0.2, -0.1, 1e-17, 1e300, 1.0]), min_size=4, max_size=4),
    st.lists(st.sampled_from([0.0, 0.1, 0.3, 1e17, 5e-324]), min_size=4, max_size=4),
)
def test_classify_against_rationals(raw: list[int], scale: list[float], offset: list[float]) -> None:
    values = [r * Fraction(s) + Fraction(o) for r, s, o in zip(raw, scale, offset, strict=True)]
    assert small(scale=scale, offset=offset).classify([raw]).tolist() == [values.index(max(values))]


def test_classify_bits() -> None:
    net = small(layers=[Dense(ones(6, 12), [0] * 6)], classes=4)
    raw = [[1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert net.classify(np.array(raw, np.uint8)).tolist() == [2, 0, 3, 0]


@pytest.mark.parametrize("raw", [[[0.0] * 4], [[float("nan")] * 4], [[1, 2, 3]], [1, 2, 3, 4]])
def test_classify_refuses(raw: Any) -> None:
    with pytest.raises(InputError, match=r"must be integers of shape \(n, 4\)"):
        small().classify(raw)
