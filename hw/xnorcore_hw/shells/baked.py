"""Networks that are in a design's memories from power-up on."""

from __future__ import annotations

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CapacityError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.model.network import Network

__all__ = ["bake"]


def bake(network: Network, config: DeviceConfig) -> Program:
    """Compile a network for the memories of a design.

    Raises
    ------
    CapacityError
        If it does not fit, or not in one pass.
    CompileError
        If the device lacks what it needs.
    """
    program = compile_network(network, config)
    if program.passes > 1:
        raise CapacityError(
            f"network {network.name!r} needs {program.passes} passes on {config.geometry}: only a network "
            "that fits at once can be baked; choose larger --set weight_depth=N and threshold_depth=N"
        )
    if program.results_read:
        raise CapacityError(
            f"network {network.name!r} leaves room for one batch at a time on {config.geometry}: only with "
            f"room for two it can be baked; choose a larger --set act_depth=N, {config.act_depth} here"
        )
    if program.streams:
        raise CapacityError(
            f"network {network.name!r} takes its weights from the store of {config.geometry}, which forgets "
            "them: only a network that the buffers hold can be baked; choose larger --set weight_depth=N and "
            "threshold_depth=N"
        )
    return program
