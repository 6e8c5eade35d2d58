"""What every store of weights looks like, whatever it is made of."""

from __future__ import annotations

from typing import Any

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ...interfaces import bits_for_depth

__all__ = ["LinkStoreSignature", "StoreSignature", "StoreWriteLayout", "store_ports"]


class StoreWriteLayout(data.StructLayout):
    """One byte on its way from the link into a store.

    Members
    -------
    addr
        Word.
    lane : 2
        Byte of the word, least significant first.
    data : 8
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__({"addr": bits_for_depth(config.store_words), "lane": 2, "data": 8})


class StoreSignature(wiring.Signature):
    """Addresses in, words out, in the same order and after any time; and bytes in between.

    Members
    -------
    request : Out(stream)
        Address of a word. The store takes it only if it has a place for the word until that is taken. A
        request that was not taken may be withdrawn.
    word : In(stream of 32)
    write : Out(stream of StoreWriteLayout)
        The link's bytes, in any order, never while words are on their way. A byte is read by all requests
        that are taken after it.

    A reset of the core makes a store forget what it was asked for.
    """

    def __init__(self, config: DeviceConfig) -> None:
        address = bits_for_depth(config.store_words)
        super().__init__(
            {
                "request": Out(stream.Signature(address)),
                "word": In(stream.Signature(32)),
                "write": Out(stream.Signature(StoreWriteLayout(config))),
            }
        )


class LinkStoreSignature(wiring.Signature):
    """What the link wants of the store.

    Members
    -------
    write : Out(stream of StoreWriteLayout)
    reads : Out(1)
        The word that is asked for is one of the store.
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__({"write": Out(stream.Signature(StoreWriteLayout(config))), "reads": Out(1)})


def store_ports(config: DeviceConfig) -> dict[str, Any]:
    """Return the port `store` for what the link wants; none on a device that has no store."""
    return {"store": Out(LinkStoreSignature(config))} if config.store_words else {}
