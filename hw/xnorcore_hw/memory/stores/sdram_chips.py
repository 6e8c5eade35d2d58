"""SDRAMs on boards: their sizes, and what their datasheets ask for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from xnorcore.isa.stores import StoreKind

__all__ = [
    "AS4C16M16SA_7", "BANKS", "IS42S16160G_7", "M12L64322A_7", "REFRESHED_NS", "SDRAM_CHIPS", "ULX3S",
    "SdramChip", "cycles_of",
]  # fmt: skip

BANKS = 4
REFRESHED_NS = 64_000_000
"""In which each row has to be refreshed."""


@dataclass(frozen=True)
class SdramChip:
    """One SDRAM; times in nanoseconds, the longest that have to be waited.

    Attributes
    ----------
    name : str
    width : int
        Bits of its data, 16 or 32.
    row_bits, column_bits : int
        Of an address; there are `BANKS` banks.
    refreshes : int
        In `REFRESHED_NS`.
    pause : int
        From a stable clock to the first command.
    rc : int
        tRC: ACTIVE to ACTIVE of a bank.
    rfc : int
        tRFC: AUTO REFRESH to any command.
    ras, ras_most : int
        tRAS: ACTIVE to PRECHARGE, at least and at most.
    rcd : int
        tRCD: ACTIVE to READ or WRITE.
    rp : int
        tRP: PRECHARGE to what follows.
    rrd : int
        tRRD: ACTIVE to ACTIVE of another bank.
    wr : int
        tWR, also tDPL or tRDL: data written to PRECHARGE.
    mrd : int
        tMRD: LOAD MODE REGISTER to what follows.
    ck2, ck3 : float
        tCK: shortest cycle with a CAS latency of 2, and of 3.
    first_refreshes : int
        AUTO REFRESH commands before the mode register is loaded.
    """

    name: str
    width: int
    row_bits: int
    column_bits: int
    refreshes: int
    pause: int
    rc: int
    rfc: int
    ras: int
    ras_most: int
    rcd: int
    rp: int
    rrd: int
    wr: int
    mrd: int
    ck2: float
    ck3: float
    first_refreshes: int = 8

    @property
    def words(self) -> int:
        """Words of 32 bits that it holds."""
        return BANKS * self.width << self.row_bits + self.column_bits - 5

    def latency(self, clock_hz: int) -> int:
        """Return the CAS latency at a clock."""
        return 2 if 1e9 / clock_hz >= self.ck2 else 3

    def slower(self, other: SdramChip) -> SdramChip:
        """Return what suits this one and another of the same size."""
        assert self.width == other.width and self.words == other.words
        values = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        least = {"ras_most"}
        chosen = {name: (min if name in least else max)(pair) for name, pair in values.items()}
        return SdramChip(**{**chosen, "name": f"{self.name} or {other.name}"})


def cycles_of(nanoseconds: float, clock_hz: int) -> int:
    """Return the cycles of a clock that last so long at least."""
    return -int(-nanoseconds * clock_hz // 1_000_000_000)


IS42S16160G_7 = SdramChip(
    "IS42S16160G-7", 16, row_bits=13, column_bits=9, refreshes=8192, pause=100_000,
    rc=60, rfc=60, ras=37, ras_most=100_000, rcd=15, rp=15, rrd=14, wr=14, mrd=14, ck2=7.5, ck3=7,
)  # fmt: skip
"""ISSI IS42S16160G, speed grade -7, its tables of AC electrical characteristics and operating frequency."""
AS4C16M16SA_7 = SdramChip(
    "AS4C16M16SA-7", 16, row_bits=13, column_bits=9, refreshes=8192, pause=200_000,
    rc=63, rfc=63, ras=42, ras_most=120_000, rcd=21, rp=21, rrd=14, wr=14, mrd=14, ck2=10, ck3=7,
)  # fmt: skip
"""Alliance AS4C16M16SA, speed grade -7, its table 16, recommended AC operating conditions."""
M12L64322A_7 = SdramChip(
    "M12L64322A-7", 32, row_bits=11, column_bits=8, refreshes=4096, pause=200_000,
    rc=63, rfc=63, ras=42, ras_most=100_000, rcd=20, rp=20, rrd=14, wr=14, mrd=14, ck2=10, ck3=7,
)  # fmt: skip
"""ESMT M12L64322A, speed grade -7, operating AC parameter: the size of what is inside a GW2AR-18."""
ULX3S = IS42S16160G_7.slower(AS4C16M16SA_7)
"""What a ULX3S may be fitted with."""
SDRAM_CHIPS = {StoreKind.SDRAM: ULX3S, StoreKind.SDRAM32: M12L64322A_7}
"""The chip of each kind of store in SDRAM."""
