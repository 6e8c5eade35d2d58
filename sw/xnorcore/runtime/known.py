"""Networks whose files are at hand: those that boards were let keep, and the packaged ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .. import zoo
from ..compiler.compile import compile_network
from ..compiler.group import variant
from ..errors import CompileError, NotLoadedError, XnorcoreError
from ..files import xnorfile
from ..files.cache import cache_directory
from ..isa.program import Program
from ..isa.protocol import DeviceInfo
from ..model.network import Network

__all__ = ["held", "remember"]


def remember(program: Program) -> None:
    """Put a copy of a program's network into the cache, by its identifier, if the cache can be written."""
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        xnorfile.save(program.network, folder / f"{program.identifier.hex()}.xnor")
    except (OSError, XnorcoreError):
        return


def held(info: DeviceInfo) -> Network:
    """Return the network that a device holds, which says so by the identifier of its program.

    Copies that were kept of networks, and the packaged ones, are compiled for the device until one has that
    identifier: it is a checksum of all that the device was given and of the network's file, so that no other
    network is taken for it, not even one whose host does something else with the same results.

    Parameters
    ----------
    info : DeviceInfo

    Raises
    ------
    NotLoadedError
        If it holds none, or one of which there is no copy.
    """
    if not info.armed:
        raise NotLoadedError("the device holds no network; load one")
    for network in _known(info.network_id):
        try:
            program = compile_network(network, info.config)
        except CompileError:
            continue
        if variant(program, info.network_id):
            return network
    raise NotLoadedError(
        f"the device holds network {info.network_id.hex()}, which is none of the packaged ones, nor one that "
        "was kept with this computer; give its .xnor file"
    )


def _folder() -> Path:
    return cache_directory() / "kept"


def _known(identifier: bytes) -> Iterator[Network]:
    """Yield networks, that of the identifier's own copy first; damaged copies are passed over."""
    try:
        copies = sorted(_folder().glob("*.xnor"), key=lambda path: (path.stem != identifier.hex(), path.stem))
    except (OSError, XnorcoreError):
        copies = []
    for path in copies:
        try:
            yield xnorfile.load(path)
        except XnorcoreError:
            continue
    for name in zoo.names():
        yield zoo.load(name)
