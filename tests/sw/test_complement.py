"""Pooling in front of batch norm: the folded network against pooled sums and batch norm in rationals."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaigns import examples
from xnorcore.errors import NetworkError
from xnorcore.folding.complement import absorb_complement, absorb_complements, fold_pooled_batchnorm
from xnorcore.folding.fold import ALWAYS, NEVER
from xnorcore.model.network import Conv2d, Dense, GlobalSum, InputSpec, Layer, MaxPool2d, Network
from xnorcore.reference import golden

from .convnets import signs
from .test_fold import sign

SHAPE = (6, 5, 3)


def true_bits(images: np.ndarray, bits: int, conv: Conv2d, pool: MaxPool2d, p: dict[str, Any]) -> np.ndarray:
    """Bits of sign(batchnorm(maxpool(z))) with z as a rational, shape (n, height, width, channels)."""
    sums = golden.run(Network("sums", InputSpec(SHAPE, bits), [Conv2d(conv.weights)]), images)
    height, width, outputs = conv.output_shape(SHAPE)
    sums = sums.reshape(-1, height, width, outputs)
    result = np.zeros((len(images), *pool.output_shape((height, width, outputs))), np.uint8)
    for image, y, x, c in np.ndindex(*result.shape):
        f = {k: Fraction(float(np.broadcast_to(v, outputs)[c])) for k, v in p.items() if k != "sign_zero"}
        window = sums[image, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2, c].ravel().tolist()
        z = max(f["alpha"] * s for s in window) + f["bias"]
        value = sign(f["gamma"] * (z - f["mean"]), f["beta"], f["var"] + f["eps"]) or p["sign_zero"]
        result[image, y, x, c] = value > 0
    return result


values = st.sampled_from([0.0, 1.0, -1.0, -0.5, 2.0, -3.0, 0.25])


@settings(deadline=None, max_examples=examples(60))
@given(
    st.lists(values, min_size=4, max_size=4), st.lists(values, min_size=4, max_size=4), values, values,
    st.sampled_from([1, -1]), st.sampled_from([1, 2]), st.integers(0, 2**32 - 1),
    st.sampled_from(["conv", "dense", "sum", "sum bits"]),
)  # fmt: skip
def test_exact(
    gamma: list[float],
    alpha: list[float],
    beta: float,
    mean: float,
    zero: int,
    bits: int,
    seed: int,
    next_: str,
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 2**bits, (2, *SHAPE))
    weights = signs(rng, 4, 2, 2, 3)
    p = {"gamma": gamma, "alpha": alpha, "beta": beta, "mean": mean, "var": 2.0, "eps": 0.25, "bias": 0.5}
    p["sign_zero"] = zero
    rows, thresholds, complement = fold_pooled_batchnorm(weights, **p, input_bits=bits)
    assert complement.tolist() == [g < 0 for g in gamma]

    pool = MaxPool2d()
    shape = pool.output_shape(Conv2d(weights).output_shape(SHAPE))
    rest: list[Layer]
    if next_ == "conv":
        rest = [
            Conv2d(signs(rng, 3, 2, 2, 4), [1, 0, -1], padding=(1, 1, 0, 1)),
            Dense(signs(rng, 2, 3 * 3 * 2)),
        ]
    elif next_ == "dense":
        rest = [Dense(signs(rng, 5, shape[0] * shape[1] * 4), [2, 0, 1, -1, -2]), Dense(signs(rng, 2, 5))]
    else:
        rest = [GlobalSum(), Dense(signs(rng, 3, 4), [0, 1, -2] if next_ == "sum bits" else None)]
    folded = absorb_complements([Conv2d(rows, thresholds), pool, *rest], {0: complement})
    true = true_bits(images, bits, Conv2d(weights), pool, p)
    found = golden.layers(Network("folded", InputSpec(SHAPE, bits), folded), images)
    emitted = found[1].reshape(true.shape)
    assert np.array_equal(emitted ^ complement, true)
    assert np.array_equal(found[-1], reference(rest, true))


def reference(rest: list[Layer], bits: np.ndarray) -> np.ndarray:
    """What `rest`, unchanged, gives for the true bits."""
    if isinstance(rest[0], GlobalSum):
        last = rest[1]
        assert isinstance(last, Dense)
        sums = (2 * bits.astype(int) - 1).sum(axis=(1, 2)) @ last.weights.astype(int).T
        return sums if last.thresholds is None else (sums >= last.thresholds).astype(np.uint8)
    return golden.run(Network("rest", InputSpec(bits.shape[1:]), rest), bits)


def test_by_hand() -> None:
    # -(max(s) - 1) >= 0: all s <= 1. Emitted: s >= 2, that is, not all; the OR of those is the complement.
    plain: dict[str, Any] = {"beta": 0.0, "mean": 1.0, "var": 1.0, "eps": 0.0}
    rows, thresholds, complement = fold_pooled_batchnorm([[[[1, 1, 1]]]], gamma=-1.0, **plain)
    assert (rows.tolist(), thresholds.tolist(), complement.tolist()) == ([[[[1, 1, 1]]]], [2], [True])
    rows, thresholds, complement = fold_pooled_batchnorm([[[[1, 1, 1]]]], gamma=1.0, **plain)
    assert (rows.tolist(), thresholds.tolist(), complement.tolist()) == ([[[[1, 1, 1]]]], [1], [False])
    # Constants: batch norm gives -1 at any sum, and then +1.
    for beta, threshold in ((-1.0, ALWAYS + 2), (1.0, NEVER)):
        _, thresholds, complement = fold_pooled_batchnorm(
            [[[[1]]]], gamma=-1e-300, **(plain | {"beta": beta, "mean": 0.0})
        )
        assert (thresholds.tolist(), complement.tolist()) == ([threshold], [True])


@pytest.mark.parametrize("pad_value", [1, -1])
def test_padding_follows_a_complement_of_all_channels(pad_value: int) -> None:
    rng = np.random.default_rng(2)
    layer = Conv2d(signs(rng, 3, 3, 3, 2), padding=(1, 0, 2, 1), pad_value=pad_value, stride=(1, 2), name="c")
    bits = rng.integers(0, 2, (4, 4, 5, 2))
    spec = InputSpec((4, 5, 2))
    expected = golden.run(Network("true", spec, [layer]), bits)
    other = absorb_complement(layer, np.array([True, True]))
    assert other.pad_value == -pad_value
    assert np.array_equal(golden.run(Network("complement", spec, [other]), 1 - bits), expected)
    assert absorb_complement(layer, np.array([False, False])) == layer
    with pytest.raises(
        NetworkError, match=rf"Conv2d 'c': pads with \{pad_value:+d}, but 1 of its 2 input channels are compl"
    ):
        absorb_complement(layer, np.array([True, False]))


def test_refused() -> None:
    dense, conv = Dense([[1, 1, 1]], name="d"), Conv2d(np.ones((4, 1, 1, 3)), [0] * 4, name="last")
    with pytest.raises(NetworkError, match="Dense 'd': reads 3 values, but the complement has 2 channels"):
        absorb_complement(dense, np.array([True, False]))
    with pytest.raises(
        NetworkError, match="Conv2d 'last': reads 3 channels, but the complement has 1 channels"
    ):
        absorb_complement(conv, np.array([True]))
    with pytest.raises(
        NetworkError, match=r"'d': has a weight of -128, .* for channel 1, which it reads comp"
    ):
        absorb_complement(Dense([[-128, -128, 1]], name="d"), np.array([False, True, True]))
    with pytest.raises(NetworkError, match=r"complement is int64 \(2,\), but must be bool"):
        absorb_complement(conv, [0, 1])
    mask = np.array([False, True, True, False])
    with pytest.raises(
        NetworkError,
        match="layer 0 'last': channel 1 is pooled before a batch norm with negative gamma, and no",
    ) as caught:
        absorb_complements([conv, MaxPool2d()], {0: mask})
    assert "\n" not in str(caught.value)
    assert absorb_complements([conv, MaxPool2d()], {0: ~mask & mask}) == (conv, MaxPool2d())
    for index, found in ((1, "MaxPool2d"), (0, "Conv2d")):
        with pytest.raises(NetworkError, match=f"layer {index}: a complement of 3 .* to this {found}"):
            absorb_complements([conv, MaxPool2d()], {index: mask[:3]})
