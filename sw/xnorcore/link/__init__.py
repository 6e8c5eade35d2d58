"""The host's end of the link: transports, frames and sessions. Specification: docs/protocol.md."""

from .transport import Transport, open_transport, schemes

__all__ = ["Transport", "open_transport", "schemes"]
