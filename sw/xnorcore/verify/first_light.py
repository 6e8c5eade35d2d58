"""What became of a board at its owner's: one JSON object to send back, which says nothing of the owner."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any
from urllib.parse import parse_qsl

from .. import __version__
from ..errors import XnorcoreError
from ..files.xnorfile import content_hash
from ..isa.device import DeviceConfig
from ..isa.protocol import VERSION
from ..model.network import Network
from .report import Report

__all__ = ["FORMAT", "first_light"]

FORMAT = 1
_PACKAGES = ("numpy", "pyserial", "amaranth")


def first_light(
    network: Network, port: str, result: Report | XnorcoreError, boards: Mapping[str, DeviceConfig]
) -> dict[str, Any]:
    """Return the report.

    Parameters
    ----------
    network : Network
    port : str
        URL of the board; only its scheme and options are told, since a path may name the owner or a serial
        number.
    result : Report or XnorcoreError
        What the verification found, or how it ended.
    boards : mapping of str to DeviceConfig
        Of the boards that are known; those of the device's configuration are named.

    Returns
    -------
    dict
        ``result``: ``equal``, ``differs``, or ``error`` and then ``error`` says which; ``device``, ``inputs``
        and ``checks`` are None then. ``errors``: those of the simulated devices beside the board.
    """
    scheme, _, rest = port.partition(":")
    path, _, options = rest.partition("?")
    value: dict[str, Any] = {
        "report": "xnorcore first light",
        "format": FORMAT,
        "versions": _versions(),
        "network": network.name,
        "network_sha256": content_hash(network),
        "port": {"scheme": scheme, **(dict(parse_qsl(options)) if scheme == "serial" else {})},
        **dict.fromkeys(("error", "errors", "boards", "device", "simulated", "inputs", "checks")),
    }
    if isinstance(result, XnorcoreError):
        message = str(result)
        for private in filter(None, (port, path)):
            message = message.replace(private, "PORT")
        # Other ports and files, whose names may hold a serial number or a user's name.
        message = re.sub(r"(?<![\w.])[/~][^\s,;:)'\"]+", "PATH", message)
        return value | {"result": "error", "error": {"kind": type(result).__name__, "message": message}}
    told = {
        name: {key: item for key, item in about.items() if key != "url"}
        for name, about in result.devices.items()
    }
    # The simulated device of the same configuration goes first, then the board.
    *simulated, device = told.values()
    count = result.inputs["count"]
    source = "random" if result.inputs["source"] == "random" else "a file"
    return value | {
        "result": "equal" if result.equal else "differs",
        "boards": [
            name for name, config in boards.items() if config.digest().hex() == device["config_digest"]
        ],
        "device": device | {"images_per_s": round(count / device["infer_s"], 1)},
        "simulated": simulated,
        "inputs": result.inputs | {"source": source},
        "checks": [check.as_dict() for check in result.checks],
        "errors": {name: list(said) for name, said in result.errors.items()},
    }


def _versions() -> dict[str, str]:
    found = {"xnorcore": __version__, "protocol": str(VERSION), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"system": f"{platform.system()} {platform.machine()}"}
