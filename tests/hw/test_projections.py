"""A residual network with real weights in a shortcut, in fixed point and in place: the gateware's layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests import needs
from xnorcore.compiler.compile import compile_network

torch = needs.torch()

from tests.hw.layers import check_layers  # noqa: E402
from tests.hw.test_values import DEVICES  # noqa: E402
from tests.sw.importers.test_onnx_fixed import projected  # noqa: E402
from tests.sw.importers.test_onnx_papers import IMAGES, imported, settled  # noqa: E402


def test_layers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = imported(settled(projected()), tmp_path, fixed_point=8, images=IMAGES).network
    inner = replace(network, head=None, tail=None)
    (section,) = compile_network(inner, DEVICES[0]).sections
    assert sum(one.adding is not None for one in section.descriptors) == 6
    check_layers(DEVICES[0], [inner])
