"""What Linux says of a USB device: whether it is plugged in, and whether this user may open it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["RULES", "may_open", "udev_rule"]

RULES = "/etc/udev/rules.d/70-xnorcore.rules"
"""Before 73, where the system hands devices to who sits at the machine."""


def udev_rule(vendor: str, product: str) -> str:
    """Return the udev rule that lets the user at the machine open a device."""
    return (
        f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vendor}", ATTR{{idProduct}}=="{product}", '
        'MODE="0660", TAG+="uaccess"'
    )


def may_open(vendor: str, product: str, root: Path = Path("/")) -> dict[str, bool] | None:
    """Return the devices of a kind, and whether this user may open each.

    Parameters
    ----------
    vendor, product : str
        Four hexadecimal digits each.
    root : Path
        Of the file system.

    Returns
    -------
    dict of str to bool, or None
        By the device's file below ``/dev/bus/usb``. None if the system does not tell.
    """
    devices = root / "sys/bus/usb/devices"
    found: dict[str, bool] = {}
    try:
        seen = [device for device in devices.iterdir() if (device / "idVendor").exists()]
        for device in seen:
            if [_read(device, "idVendor"), _read(device, "idProduct")] == [vendor, product]:
                file = f"{int(_read(device, 'busnum')):03}/{int(_read(device, 'devnum')):03}"
                node = root / "dev/bus/usb" / file
                found[file] = os.access(node, os.R_OK | os.W_OK)
    except (OSError, ValueError):
        return None
    return found if seen else None


def _read(device: Path, name: str) -> str:
    return (device / name).read_text().strip().lower()
