"""The ports that the simulation engines drive, for designs that stand in for the accelerator."""

from __future__ import annotations

from amaranth.hdl import Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Device(wiring.Component):
    """Ports that the engines drive."""

    uart_rx: Signal
    uart_tx: Signal
    divisor: Signal
    direct: Signal
    host_to_device: stream.Interface
    device_to_host: stream.Interface

    def __init__(self, *_):
        super().__init__({
            "uart_rx": In(1, init=1),
            "uart_tx": Out(1, init=1),
            "divisor": In(16),
            "direct": In(1),
            "host_to_device": In(stream.Signature(8)),
            "device_to_host": Out(stream.Signature(8)),
        })  # fmt: skip
