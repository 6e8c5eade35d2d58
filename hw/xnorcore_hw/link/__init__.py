"""The device's end of the link: UART, frame receiver and frame sender. Specification: docs/protocol.md."""

from .framing.receiver import FrameReceiver
from .framing.sender import FrameSender
from .phy.uart import UartReceiver, UartTransmitter

__all__ = ["FrameReceiver", "FrameSender", "UartReceiver", "UartTransmitter"]
