"""Residual chains that a device with values can run in place: what is added stays beside the results unit.

A chain is a value of codes to which further codes are added, one convolution's after another's::

    v[0] = codes of a convolution,    v[k] = v[k - 1] + codes of a convolution

of which, on the way, nobody wants more than the signs ``v[k] >= T[k]``, by a convolution of one tap with one
threshold for all channels, or, where the addition behind saturates, nobody anything: so a chain begins at
a shortcut with weights. Between two of them a map may lose every second column and row, and gain channels
that are constant. The last one may be read as it is, and its signs, too: they are its most significant plane.

A device keeps ``v[k] - T[k]`` in 8 bits, and what leaves these becomes the nearest of them: an addition that
saturates must do so just there, with T[k] = 128 and 255 the most that it gives. So a step is a convolution
with the addition and the sign behind it; these and what halves a map take no step of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..isa.device import DeviceConfig
from ..isa.places import Adding
from ..isa.scales import VALUE_BITS, value_words
from ..model.layers import Add, GlobalSum, Layer, has_weights
from ..model.network import Network
from .changes import codes_of, new_channels, readers_of

__all__ = ["NO_CHAINS", "Chains", "InPlace", "chains", "ways"]

_HALF = 1 << VALUE_BITS - 1


@dataclass(frozen=True)
class InPlace:
    """What becomes of a convolution's codes.

    Attributes
    ----------
    adding : Adding
    bits : int
        Of the result: 1, signs, or 8.
    gives : int or None
        The network's value that is the result; nobody reads one of None.
    """

    adding: Adding
    bits: int
    gives: int | None


@dataclass(frozen=True)
class Chains:
    """What of a network runs in place.

    Attributes
    ----------
    steps : mapping of int to InPlace
        By the index of the convolution.
    absorbed : frozenset of int
        Layers that take no step: additions, signs, and what halves.
    planes : mapping of int to int
        Values that are the most significant plane of others, and these.
    """

    steps: Mapping[int, InPlace]
    absorbed: frozenset[int] = frozenset()
    planes: Mapping[int, int] = field(default_factory=dict)


NO_CHAINS = Chains({})


@dataclass
class _Link:
    """A value of a chain while the rest of it is looked for.

    Attributes
    ----------
    value : int
        Its number.
    layer, codes : int
        Convolution whose codes are added, and thresholds that these have.
    most : int
        The largest number that it can be; 0 is the smallest.
    before : int
        What signs compare the value before it with, less the offset of the addition.
    threshold : int
        And it; where none do, what makes it a number of 8 bits without a sign.
    sign, shrinks : int or None
        Layers that give its signs, and half of it, if some do.
    whole : bool
        Others read it as it is.
    falls, ends : bool
        The addition may saturate at 0, and at the other end, which is `most`.
    """

    value: int
    layer: int
    codes: int
    most: int
    before: int
    threshold: int = _HALF
    sign: int | None = None
    shrinks: int | None = None
    whole: bool = False
    falls: bool = False
    ends: bool = False

    @property
    def fits(self) -> bool:
        """Whether 8 bits around the threshold hold it, and end where it saturates."""
        below, above = self.threshold, self.most - self.threshold
        if below != _HALF if self.falls else below > _HALF:
            return False
        if above != _HALF - 1 if self.ends else above >= _HALF:
            return False
        return 0 <= self.threshold - self.before < 1 << VALUE_BITS

    def step(self, first: bool) -> InPlace:
        """Return what becomes of its codes; `first` says that they are not added to others."""
        adding = Adding(
            self.codes.bit_length(), self.threshold - self.before, not first, self.shrinks is not None
        )
        if self.whole:
            return InPlace(adding, VALUE_BITS, self.value)
        return InPlace(adding, 1, None if self.sign is None else self.sign + 1)


def ways(network: Network, config: DeviceConfig, rows: bool) -> list[Chains]:
    """Return chains in place that may be the fastest: all, and those with signs alone on the way.

    Parameters as of `chains`.
    """
    found = chains(network, config, rows)
    fewer = found if found == NO_CHAINS else chains(network, config, rows, alone=False)
    return [one for one in (found, fewer)[: 1 + (fewer != found)] if one.steps]


def chains(network: Network, config: DeviceConfig, rows: bool = False, alone: bool = True) -> Chains:
    """Find the chains of a network that a device can run in place.

    Parameters
    ----------
    network : Network
    config : DeviceConfig
    rows : bool
        Results may be written as kernel rows: of few channels, values may then take fewer words.
    alone : bool
        Also those with a value of which nobody reads anything, or signs and it itself.

    Returns
    -------
    Chains
    """
    steps: dict[int, InPlace] = {}
    absorbed: set[int] = set()
    planes: dict[int, int] = {}
    behind = -1
    for index in range(len(network.layers) if config.value_depth else 0):
        # One chain at a time has the memory.
        links = _links(network, index) if index > behind else []
        # A single one spares the device the signs of it alone.
        some = len(links) > 1 or any(one.whole and one.sign is not None for one in links)
        joined = any(one.whole == (one.sign is not None) for one in links)
        if not some or (joined and not alone) or not _fits(network, links, config, rows):
            continue
        for number, link in enumerate(links):
            steps[link.layer] = link.step(not number)
            absorbed |= {one for one in (link.sign, link.shrinks) if one is not None}
        absorbed |= {link.value - 1 for link in links[1:]}
        last = links[-1]
        if last.whole and last.sign is not None:
            planes[last.sign + 1] = last.value
        behind = last.layer
    return Chains(steps, frozenset(absorbed), planes)


def _links(network: Network, index: int) -> list[_Link]:
    """Return the values of the chain that begins with a layer; none where one of them is read otherwise."""
    codes = codes_of(network.layers[index])
    if not codes:
        return []
    found = [_Link(index + 1, index, codes, codes, 0)]
    while True:
        link = found[-1]
        signs, halves, adds, others = readers_of(network, link.value)
        if signs:
            ((link.sign, link.threshold), *more) = signs.items()
            if more:
                return []
        if not halves and not adds:
            link.whole = bool(others)
            return found if _ends(network, link, others) else []
        alone = not others and len(halves) + len(adds) == 1
        following = _next(network, link, halves, adds) if alone else None
        if following is None or not (signs or following.falls or following.ends):
            return []
        found.append(following)


def _ends(network: Network, link: _Link, others: list[Layer]) -> bool:
    """Whether a device has what others read of a chain's last value, and those of its signs."""
    plain = all(has_weights(one) or isinstance(one, GlobalSum) for one in others)
    if link.sign is None or not others:
        return plain and (bool(others) or link.sign is not None)
    # Signs are a plane of the value if they compare with half of what it may be.
    read = [network.layers[one] for one in network.readers[link.sign + 1]]
    return plain and link.threshold == _HALF and all(has_weights(one) for one in read)


def _next(network: Network, link: _Link, halves: list[int], adds: list[int]) -> _Link | None:
    """Return the value behind a chain's, if a device can have it; say what halves it on the way."""
    value, most = link.value, link.most
    if halves:
        (link.shrinks,) = halves
        new = new_channels(network.layers[link.shrinks], most)
        # They are 0 beside the results unit.
        if new not in ("none", link.threshold):
            return None
        value, most = link.shrinks + 1, max(most, link.threshold)
        adds = [one for one in network.readers[value] if isinstance(network.layers[one], Add)]
        if len(network.readers[value]) != 1 or not adds:
            return None
    added = [number for number in network.reads[adds[0]] if number != value]
    if len(network.reads[adds[0]]) != 2 or len(added) != 1 or network.readers[added[0]] != (adds[0],):
        return None
    layer = added[0] - 1
    codes = codes_of(network.layers[layer]) if layer > link.layer else 0
    if not codes:
        return None
    joined = network.layers[adds[0]]
    assert isinstance(joined, Add)
    most += codes - joined.offset
    falls, ends = joined.most is not None and joined.offset > 0, False
    if joined.most is not None and most > joined.most:
        most, ends = joined.most, True
    return _Link(
        adds[0] + 1, layer, codes, most, link.threshold - joined.offset,
        falls=falls, ends=ends,
    )  # fmt: skip


def _fits(network: Network, links: list[_Link], config: DeviceConfig, rows: bool) -> bool:
    """Whether all values of a chain have a place on a device, and fit it; with `rows`, may fit it."""
    columns = config.geometry.columns
    for link in links:
        height, width, channels = network.shapes[link.value]
        if link.codes.bit_length() > config.code_bits or (link.whole and config.code_bits < VALUE_BITS):
            return False
        if not link.fits:
            return False
        if link is links[0] and link.shrinks is not None:
            height, width = -(-height // 2), -(-width // 2)
        short = max(columns - channels, 0) // config.result_lanes if rows else 0
        if value_words(height * width, -(-channels // columns), config, short) > config.value_depth:
            return False
    return True
