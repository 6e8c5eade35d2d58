"""The answer to INFO, as it lies behind the program."""

from __future__ import annotations

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import INFO_BYTES, DeviceInfo

__all__ = ["IDENTITY_WORDS", "identity"]

IDENTITY_WORDS = INFO_BYTES // 4
"""Words of program memory, behind the program, that hold the answer to INFO."""


def identity(config: DeviceConfig, clock_hz: int) -> list[int]:
    """Return the `IDENTITY_WORDS` words that follow the program in program memory."""
    payload = DeviceInfo(config, clock_hz, build_id=config.digest()).pack()
    return [int.from_bytes(payload[at : at + 4], "little") for at in range(0, INFO_BYTES, 4)]
