"""Constants of the link protocol, shared by the driver and the gateware. Specification: docs/protocol.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from ..errors import ProtocolVersionError, WrongDeviceError
from .device import DeviceConfig, Geometry
from .stores import FLASHES

VERSION = 5
MAGIC = b"XNOR"
RESPONSE = 0x80
"""Set in the type byte of every response."""
HEADER_BYTES = 3
"""Type and 16-bit tag that start every frame body."""
KEY_BYTES = 4
"""First bytes of a program's identifier, in front of the images in part 0 of every group."""
CRC_BYTES = 4
"""CRC-32 (zlib.crc32), little-endian, that ends every frame body."""
RECORDS = 8
"""Parts of answers on their way out that a device keeps; twice as many, less one, with a line buffer."""
MIN_DIVISOR = 4
"""Fewest clock cycles per UART bit."""


class Command(IntEnum):
    """Type byte of a request."""

    INFO = 1
    WRITE = 2
    READ = 3
    ARM = 4
    INFER = 5
    RUN = 6
    COUNTERS = 7
    RESET = 8


class Status(IntEnum):
    """Last payload byte of every response."""

    OK = 0
    BAD_COMMAND = 1
    BAD_LENGTH = 2
    BAD_ADDRESS = 3
    NOT_ARMED = 4
    SEQUENCE = 5
    BAD_PROGRAM = 6
    WRONG_PROGRAM = 7


class Space(IntEnum):
    """Memory that a WRITE or READ request names."""

    PROGRAM = 0
    THRESHOLDS = 1
    WEIGHTS = 2
    ACTIVATIONS = 3
    STORE = 4
    CHIP = 5
    """The flash of `STORE` or of `KEPT`: WRITE erases, READ tells what the chip says."""
    KEPT = 6
    """Region of a flash that only keeps a network: `DeviceConfig.kept_words`."""


_INFO = struct.Struct("<4sBBBBBBH4IHBBII8s8s")
INFO_BYTES = _INFO.size
INFO_FLAGS_OFFSET = 10
"""Offset in the INFO payload of the two bytes of live flags."""
INFO_NETWORK_OFFSET = _INFO.size - 8
"""Offset in the INFO payload of the eight bytes of the armed network's identifier."""

FLAG_ARMED = 1
FLAG_COUNTERS = 2
FLAG_CONVOLUTION = 4
FLAG_PROGRAM_HALVES = 8
FLAG_WHOLE_WINDOWS = 16
FLAG_ONE_PORT = 32
FLAGS_ALIGN_LOW = 6
"""Lowest of the two bits of the flags that hold the logarithm of `DeviceConfig.column_align`."""
FLAGS_SHARE_LOW = 8
"""Lowest of the four bits of the flags that hold `DeviceConfig.threshold_share`."""
FLAGS_CODE_LOW = 12
"""Lowest of the two bits of the flags that hold `DeviceConfig.code_bits`, less 1."""
FLAG_ROW_SUMS = 1 << 14
FLAGS_CODE_HIGH = 15
"""The third bit of the same number."""
STORE_LANES_LOW = 5
"""Lowest of the three bits, beside the size of the store, of the logarithm of `DeviceConfig.result_lanes`."""
LINE_KEPT_LOW = 18
"""Lowest of the five bits, above `DeviceConfig.line_bytes`, of the size of `DeviceConfig.kept_words`,"""
LINE_VALUES_LOW = 24
"""and of those of the size of `DeviceConfig.value_depth`."""
KIND_SCALES_LOW = 3
"""Lowest of the five bits, above `DeviceConfig.store_kind`, of the size of `DeviceConfig.scale_depth`."""
LINE_PACKED = 1 << 29
"""Beside it: `DeviceConfig.packed_rows`."""
LINE_SUMS = 1 << 30
"""The store's stream has check words (`xnorcore.isa.sums`), as all but those in flash."""
STORE_BANK = 1 << 16
"""Words of a bank of the store."""


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says about itself in answer to INFO.

    Attributes
    ----------
    config : DeviceConfig
        Array and memories.
    clock_hz : int
        Clock of the array in Hz; 0 if the device does not know.
    armed : bool
        Whether a network is loaded.
    build_id : bytes
        Eight bytes that name the bitstream's configuration.
    network_id : bytes
        Eight bytes that name the loaded program.
    """

    config: DeviceConfig
    clock_hz: int = 0
    armed: bool = False
    build_id: bytes = bytes(8)
    network_id: bytes = bytes(8)

    def pack(self) -> bytes:
        """Return the INFO payload, `INFO_BYTES` bytes."""
        c, g = self.config, self.config.geometry
        flags = (
            FLAG_ARMED * self.armed
            | FLAG_COUNTERS * c.counters
            | FLAG_CONVOLUTION * c.convolution
            | FLAG_PROGRAM_HALVES * c.program_halves
            | FLAG_WHOLE_WINDOWS * c.whole_windows
            | FLAG_ONE_PORT * (c.act_ports == 1)
            | c.column_align.bit_length() - 1 << FLAGS_ALIGN_LOW
            | c.threshold_share << FLAGS_SHARE_LOW
            | (c.code_bits - 1 & 3) << FLAGS_CODE_LOW
            | c.code_bits - 1 >> 2 << FLAGS_CODE_HIGH
            | FLAG_ROW_SUMS * c.row_sums
        )
        return _INFO.pack(
            MAGIC, VERSION, c.column_group, g.rows, g.columns, g.width, c.acc_width,
            flags,
            c.weight_depth, c.threshold_depth, c.act_depth, c.program_depth, c.fifo_bytes,
            c.store_kind | c.scale_depth.bit_length() << KIND_SCALES_LOW,
            c.store_words.bit_length() | c.result_lanes.bit_length() << STORE_LANES_LOW,
            c.line_bytes | c.value_depth.bit_length() << LINE_VALUES_LOW | LINE_PACKED * c.packed_rows
            | LINE_SUMS * _sums(c) | c.kept_words.bit_length() << LINE_KEPT_LOW,
            self.clock_hz,
            self.build_id, self.network_id,
        )  # fmt: skip

    @classmethod
    def unpack(cls, payload: bytes) -> DeviceInfo:
        """Read an INFO payload.

        Raises
        ------
        WrongDeviceError
            If the payload does not start with `MAGIC`.
        ProtocolVersionError
            If the device's protocol version is not `VERSION`, or its store's stream has no check words.
        """
        if len(payload) < 5 or payload[:4] != MAGIC:
            raise WrongDeviceError(
                f"the device answers INFO with {payload[:8].hex(' ') or 'nothing'}, not {MAGIC!r}: "
                "it is not an xnorcore accelerator"
            )
        if payload[4] != VERSION:
            fix = (
                "its bitstream is older: build it and program the board again (xnorcore build, program)"
                if payload[4] < VERSION
                else "its bitstream is newer: update xnorcore"
            )
            raise ProtocolVersionError(
                f"the device speaks protocol version {payload[4]}, this driver speaks version {VERSION}; "
                f"{fix}"
            )
        if len(payload) != INFO_BYTES:
            raise WrongDeviceError(f"the INFO answer has {len(payload)} bytes, not {INFO_BYTES}")
        (_, _, group, rows, columns, width, acc, flags, weights, thresholds, acts, program, fifo, kind, store,
         line, clock, build, network) = _INFO.unpack(payload)  # fmt: skip
        config = DeviceConfig(
            Geometry(rows, columns, width), acc, weights, thresholds, acts, program, fifo, group,
            line % (1 << LINE_KEPT_LOW),
            counters=int(bool(flags & FLAG_COUNTERS)),
            convolution=int(bool(flags & FLAG_CONVOLUTION)),
            threshold_share=flags >> FLAGS_SHARE_LOW & 15,
            program_halves=int(bool(flags & FLAG_PROGRAM_HALVES)),
            whole_windows=int(bool(flags & FLAG_WHOLE_WINDOWS)),
            act_ports=1 if flags & FLAG_ONE_PORT else 2,
            column_align=1 << (flags >> FLAGS_ALIGN_LOW & 3),
            store_words=1 << store % (1 << STORE_LANES_LOW) >> 1,
            store_kind=kind % (1 << KIND_SCALES_LOW),
            code_bits=(flags >> FLAGS_CODE_LOW & 3 | flags >> FLAGS_CODE_HIGH << 2) + 1,
            row_sums=int(bool(flags & FLAG_ROW_SUMS)),
            result_lanes=1 << (store >> STORE_LANES_LOW) >> 1,
            value_depth=1 << (line % LINE_PACKED >> LINE_VALUES_LOW) >> 1,
            packed_rows=int(bool(line & LINE_PACKED)),
            kept_words=1 << (line % (1 << LINE_VALUES_LOW) >> LINE_KEPT_LOW) >> 1,
            scale_depth=1 << (kind >> KIND_SCALES_LOW) >> 1,
        )  # fmt: skip
        if _sums(config) and not line & LINE_SUMS:
            raise ProtocolVersionError(
                "the device does not check what its store holds: its bitstream is older: build it and "
                "program the board again (xnorcore build, program)"
            )
        return cls(config, clock, bool(flags & FLAG_ARMED), build, network)


def _sums(config: DeviceConfig) -> bool:
    """Return whether words of a device's stream are checked as they go by."""
    return bool(config.store_words) and config.store_kind not in FLASHES
