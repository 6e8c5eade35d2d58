"""A residual network with real weights in a shortcut, in fixed point: the gateware, layer by layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests import needs

torch = needs.torch()

from tests.hw.layers import check_layers  # noqa: E402
from tests.hw.test_values import DEVICES  # noqa: E402
from tests.sw.importers.test_onnx_fixed import projected  # noqa: E402
from tests.sw.importers.test_onnx_papers import IMAGES, imported, settled  # noqa: E402


def test_layers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = imported(settled(projected()), tmp_path, fixed_point=8, images=IMAGES).network
    check_layers(DEVICES[0], [replace(network, head=None, tail=None)])
