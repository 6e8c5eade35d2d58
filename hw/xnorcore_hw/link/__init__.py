"""The device's end of the link: UART, frame receiver and frame sender. Specification: docs/protocol.md."""

from .receiver import FrameReceiver
from .sender import FrameSender
from .uart import UartReceiver, UartTransmitter

__all__ = ["FrameReceiver", "FrameSender", "UartReceiver", "UartTransmitter"]
