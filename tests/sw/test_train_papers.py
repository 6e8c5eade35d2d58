"""Small trained networks in the manner of two papers: XNOR-Net with its K, and Binary-Weight-Networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import needs
from xnorcore.compiler.compile import compile_network
from xnorcore.datasets.digits import load_digits
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.scaling import Scaling
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url

torch = needs.torch()

from xnorcore.train.export import to_network  # noqa: E402
from xnorcore.train.fewbits import Quant  # noqa: E402
from xnorcore.train.layers import BinaryConv2d, BinaryLinear, Sign  # noqa: E402

nn = torch.nn
CONFIG = DeviceConfig(Geometry(1, 16, 16), 20, code_bits=8, result_lanes=2, scale_depth=64, weight_depth=4096)


def network_of(kind: str, bits: int) -> Any:
    """Return two convolutions, of which the second has K, or reads codes, and a dense layer.

    Or, for "all", three and a dense one, all of which have K but the first.
    """
    pad, f32 = (1, 1, 1, 1), torch.float32
    scales = {"input_scale": True, "scale_bits": bits} if kind != "weights" else {}
    if kind == "all":
        some = {"padding": pad, "stride": (2, 2), "alpha": True, "dtype": f32, **scales}
        return nn.Sequential(
            BinaryConv2d(1, 16, padding=pad, dtype=f32), nn.BatchNorm2d(16), BinaryConv2d(16, 32, **some),
            nn.BatchNorm2d(32), BinaryConv2d(32, 32, **some), nn.BatchNorm2d(32), nn.Flatten(),
            BinaryLinear(128, 10, dtype=f32, **scales), nn.BatchNorm1d(10),
        )  # fmt: skip
    between = [] if scales else [Quant(bits)]
    return nn.Sequential(
        BinaryConv2d(1, 16, padding=pad, dtype=f32), nn.BatchNorm2d(16), *between,
        BinaryConv2d(16, 32, padding=pad, alpha=True, dtype=f32, **scales), nn.BatchNorm2d(32), Sign(),
        nn.MaxPool2d(2), nn.Flatten(), BinaryLinear(512, 10, dtype=f32), nn.BatchNorm1d(10),
    )  # fmt: skip


def trained(model: Any, images: Any, labels: Any, epochs: int) -> Any:
    """Train with Adam, whose rate falls along half a cosine."""
    steps = len(images) // 64
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(images))[: steps * 64].view(-1, 64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch], label_smoothing=0.1).backward()
            optimizer.step()
            schedule.step()
            for module in model:
                if hasattr(module, "clip"):
                    module.clip()
    return model.eval().double()


@pytest.mark.campaign
@pytest.mark.parametrize(("kind", "bits"), [("K", 8), ("K", 4), ("all", 4), ("weights", 4)])
def test_the_integer_network_is_as_good_as_the_float_one(kind: str, bits: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = load_digits()
    images, labels = (np.asarray(data.train_images), np.asarray(data.train_labels))
    values = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))
    model = trained(network_of(kind, bits), values, torch.from_numpy(labels.astype(np.int64)), 25)
    tested = np.asarray(data.test_images)
    with torch.no_grad():
        classes = model(torch.from_numpy(tested.transpose(0, 3, 1, 2)).double()).argmax(1).numpy()
    network = to_network(model, kind, (8, 8, 1), input_bits=5)
    found = network.affine(golden.run(network, tested)).argmax(1)
    right = [float((one == data.test_labels).mean()) for one in (classes, found)]
    print(f"{kind}, {bits} bits: {right[0]:.3f} in floats, {right[1]:.3f} in integers")
    assert min(right) > 0.9 and abs(right[0] - right[1]) < 0.01
    scaled = [one.scaling for one in compile_network(network, CONFIG).sections[0].descriptors]
    assert scaled.count(Scaling.MULTIPLIED) == {"K": 1, "all": 4, "weights": 0}[kind]
    with Accelerator.open(machine_url(CONFIG)) as device:
        device.load(network)
        assert np.array_equal(device.infer(tested[:40]), golden.run(network, tested[:40]))
