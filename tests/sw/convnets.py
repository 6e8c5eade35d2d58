"""Random legal convolutional networks, for tests of every engine."""

import numpy as np
from hypothesis import strategies as st

from xnorcore.model.network import Conv2d, Dense, GlobalSum, InputSpec, Layer, MaxPool2d, Network

CHANNELS = (1, 2, 3, 5, 22, 64, 70)
LOW, HIGH = -(2**31), 2**31 - 1


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1, 1], shape)


def limits(rng: np.random.Generator, outputs: int, taps: int, bits: int = 1) -> np.ndarray:
    """Thresholds near the middle of what the sums reach, and a few at and beyond its ends."""
    reach = taps * (2**bits - 1)
    middle = 0 if bits == 1 else rng.integers(-reach // 4, reach // 4 + 1)
    result = middle + rng.integers(-2 - reach // 8, 3 + reach // 8, outputs)
    odd = rng.random(outputs) < 0.1
    result[odd] = rng.choice([LOW, HIGH, -reach, reach, reach + 1, -reach - 1], int(odd.sum()))
    return result


def network(
    rng: np.random.Generator, shape: tuple[int, int, int], bits: int, *, convs: int = 2, top: int = 70
) -> Network:
    """Draw a network: up to `convs` convolutions, some pooled, and a last layer of any legal kind."""
    layers: list[Layer] = []
    h, w, c = shape
    for index in range(convs):
        n = bits if index == 0 else 1
        kh, kw = int(rng.integers(1, min(7, h + 2) + 1)), int(rng.integers(1, min(7, w + 2) + 1))
        pads = [int(rng.integers(0, k)) if rng.random() < 0.6 else 0 for k in (kh, kh, kw, kw)]
        pads[1] = max(pads[1], min(kh - 1, kh - h - pads[0]))
        pads[3] = max(pads[3], min(kw - 1, kw - w - pads[2]))
        if h + pads[0] + pads[1] < kh or w + pads[2] + pads[3] < kw:
            kh = kw = 1
            pads = [0, 0, 0, 0]
        outputs = int(rng.choice([k for k in CHANNELS if k <= top]))
        layer = Conv2d(
            signs(rng, outputs, kh, kw, c),
            limits(rng, outputs, kh * kw * c, n),
            stride=tuple(rng.integers(1, 5, 2) if rng.random() < 0.4 else (1, 1)),
            padding=(pads[0], pads[1], pads[2], pads[3]),
            pad_value=int(rng.integers(-1, 2)) if n == 1 else 0,
            name=f"conv{index}",
        )
        layers.append(layer)
        h, w, c = layer.output_shape((h, w, c))
        if rng.random() < 0.25:
            window = [int(rng.integers(1, 8)) for _ in range(2)]
            pads = [int(rng.integers(0, k)) for k in (window[0], window[0], window[1], window[1])]
            pool = MaxPool2d(
                (window[0], window[1]), tuple(rng.integers(1, 8, 2)), "", (pads[0], pads[1], pads[2], pads[3])
            )
            if min(pool.output_shape((h, w, c))) > 0:
                layers.append(pool)
                h, w, c = pool.output_shape((h, w, c))
        elif rng.random() < 0.5 and min(h, w) >= 2:
            pool = MaxPool2d(
                tuple(rng.integers(2, min(h, w, 3) + 1, 2)),
                tuple(rng.integers(2, 4, 2)) if rng.random() < 0.6 else None,
            )
            layers.append(pool)
            h, w, c = pool.output_shape((h, w, c))
    kind = rng.choice(["bits", "conv", "dense", "dense bits", "sum", "sum bits"])
    if kind == "conv":
        layers.append(Conv2d(signs(rng, 4, 1, 1, c), name="last"))
    elif kind != "bits":
        if kind.startswith("sum"):
            layers.append(GlobalSum())
            taps, reach = c, h * w * c
        else:
            taps = reach = h * w * c
        layers.append(Dense(signs(rng, 6, taps), limits(rng, 6, reach) if "bits" in kind else None))
    return Network("random", InputSpec(shape, bits), layers)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Network, np.ndarray]:
    """A network and a few images for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits = draw(st.integers(1, 8))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(CHANNELS)))
    net = network(rng, shape, bits, convs=draw(st.integers(1, 3)))
    count = draw(st.integers(0, 3))
    return net, rng.integers(0, 2**bits, (count, *shape), dtype=np.uint8)
