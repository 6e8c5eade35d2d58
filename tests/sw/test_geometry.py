from __future__ import annotations

import itertools

import pytest

from xnorcore.errors import GeometryError, ProtocolVersionError, WrongDeviceError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import INFO_BYTES, DeviceInfo


@pytest.mark.parametrize(
    "rows, columns, width, message",
    [
        (0, 32, 32, "rows is 0, but must be 1 to 8"),
        (9, 32, 32, "rows is 9, but must be 1 to 8"),
        (1, 3, 32, "columns is 3, but must be 4 to 128 and a multiple of 4"),
        (1, 132, 32, "columns is 132, but must be 4 to 128"),
        (1, 6, 32, "columns is 6, but must be 4 to 128 and a multiple of 4"),
        (1, 32, 4, "width is 4, but must be 8 to 128 and a multiple of 8"),
        (1, 32, 136, "width is 136, but must be 8 to 128"),
        (1, 48, 32, "one must be a multiple of the other; try 48 columns with width 24"),
        (1, 100, 64, "one must be a multiple of the other; try 64 columns with width 64"),
        (1.0, 32, 32, "rows is 1.0, but must be an integer"),
        (True, 32, 32, "rows is True, but must be an integer"),
    ],
)
def test_illegal_geometries(rows, columns, width, message) -> None:
    with pytest.raises(GeometryError, match=message):
        Geometry(rows, columns, width)


def test_every_legal_geometry_has_a_configuration() -> None:
    count = 0
    for rows, columns, width in itertools.product((1, 8), range(4, 129, 4), range(8, 129, 8)):
        if columns % width and width % columns:
            continue
        config = DeviceConfig(Geometry(rows, columns, width))
        assert DeviceInfo.unpack(DeviceInfo(config, 5, True).pack()) == DeviceInfo(config, 5, True)
        g = config.geometry
        assert g.words_per_tile * width == max(columns, width) or g.tiles_per_word * columns == width
        assert 8 % g.lane == 0 and columns % g.lane == 0
        count += 1
    assert count > 200


@pytest.mark.parametrize(
    "options, message",
    [
        ({"acc_width": 9}, "acc_width is 9"),
        ({"weight_depth": 70000}, "weight_depth is 70000, but must be 64 to 65536"),
        ({"fifo_bytes": 1000}, "power of two"),
        ({"act_depth": 1}, "act_depth is 1"),
        ({"weight_depth": 0}, "weight_depth is 0; leave it out for the default"),
        ({"speed": 3}, "unknown device option 'speed'; known: acc_width"),
    ],
)
def test_illegal_configurations(options, message) -> None:
    with pytest.raises(GeometryError, match=message):
        DeviceConfig.parse(**options)


def test_parse() -> None:
    assert Geometry.parse("2x64x32") == Geometry(2, 64, 32)
    assert str(Geometry(2, 64, 32)) == "2x64x32"
    assert DeviceConfig.parse(rows=2, act_depth=100).act_depth == 100
    for text in ("2x64", "axbxc", "1x32x32x4", "-1x32x32", "\u0661x32x32"):
        with pytest.raises(GeometryError):
            Geometry.parse(text)


def test_info_refusals() -> None:
    payload = DeviceInfo(DeviceConfig()).pack()
    assert len(payload) == INFO_BYTES
    with pytest.raises(WrongDeviceError, match="not an xnorcore accelerator"):
        DeviceInfo.unpack(b"HTTP" + payload[4:])
    newer, older = (
        "version 9, this driver speaks version 5; its bitstream is newer: update xnorcore",
        "version 1, this driver speaks version 5; its bitstream is older: build it and program the board",
    )
    for version, words in ((9, newer), (1, older)):
        with pytest.raises(ProtocolVersionError, match=f"the device speaks protocol {words}"):
            DeviceInfo.unpack(payload[:4] + bytes([version]) + payload[5:])
    # What a driver of version 1 looks at, and refuses: any other version in this byte.
    assert payload[:5] == b"XNOR\5"
    with pytest.raises(WrongDeviceError, match="55 bytes"):
        DeviceInfo.unpack(payload[:-1])
