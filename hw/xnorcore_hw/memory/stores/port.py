"""What every store of weights looks like, whatever it is made of."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space
from xnorcore.isa.regions import region_of
from xnorcore.isa.stores import FLASHES

from ...interfaces import bits_for_depth

__all__ = [
    "FlashLinkSignature", "LinkStoreSignature", "StoreSignature", "StoreWriteLayout", "space_bits",
    "store_ports", "stored_spaces", "stores_of", "tell_stores",
]  # fmt: skip


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
        that are taken after it. With a byte for a flash, the word's address is also that of `request`.

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


class FlashLinkSignature(wiring.Signature):
    """What a store in a flash has to know of the link's request.

    Members
    -------
    writes : Out(1)
        It is a WRITE of the store, which goes on.
    chip : Out(1)
        It is about the chip: a byte that is written erases, a word that is read tells what the chip says.
        Known with the first byte, or a cycle before a word is asked for.
    """

    def __init__(self) -> None:
        super().__init__({"writes": Out(1), "chip": Out(1)})


class LinkStoreSignature(wiring.Signature):
    """What the link wants of the store.

    Members
    -------
    write : Out(stream of StoreWriteLayout)
    reads : Out(1)
        The word that is asked for is one of the store.
    lane : Out(2), octet : In(8)
        The byte of it that is wanted.
    flash : Out(FlashLinkSignature)
        Of a store in flash.
    """

    def __init__(self, config: DeviceConfig) -> None:
        flash = {"flash": Out(FlashLinkSignature())} if config.store_kind in FLASHES else {}
        asked = {"reads": Out(1), "lane": Out(2), "octet": In(8)}
        super().__init__({"write": Out(stream.Signature(StoreWriteLayout(config))), **asked, **flash})


def stores_of(config: DeviceConfig) -> dict[str, tuple[DeviceConfig, tuple[Space, ...]]]:
    """Return what the link writes and reads beside the core's memories, by the name of its port.

    Each is the configuration of which it is the store, and the spaces of requests that it answers.
    """
    found: dict[str, tuple[DeviceConfig, tuple[Space, ...]]] = {}
    if config.store_words:
        chip = (Space.CHIP,) if config.store_kind in FLASHES else ()
        found["store"] = config, (Space.STORE, *chip)
    if config.kept_words:
        found["kept"] = region_of(config), (Space.KEPT, Space.CHIP)
    return found


def stored_spaces(config: DeviceConfig) -> list[Space]:
    """Return all spaces of `stores_of`."""
    return [space for _, spaces in stores_of(config).values() for space in spaces]


def space_bits(config: DeviceConfig) -> int:
    """Return the bits of a space of a request."""
    return 3 if stores_of(config) else 2


def tell_stores(
    m: Module, config: DeviceConfig, ports: Any, space: Value, writes: Value, reads: Value
) -> None:
    """Tell each store what the request is about, through `ports`, an interface with `store_ports`.

    What is asked for may be known while all before it is still at work: it counts from `writes`, `reads` on.
    """
    chip = space == Space.CHIP
    for name, (_, spaces) in stores_of(config).items():
        link = getattr(ports, name)
        m.d.comb += link.reads.eq(space.matches(*spaces))
        if "flash" in link.signature.members:
            m.d.comb += [link.flash.writes.eq(writes & ~chip), link.flash.chip.eq((writes | reads) & chip)]


def store_ports(config: DeviceConfig) -> dict[str, Any]:
    """Return the ports for what the link wants, those of `stores_of`."""
    return {name: Out(LinkStoreSignature(each)) for name, (each, _) in stores_of(config).items()}
