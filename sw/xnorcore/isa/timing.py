"""The cycles that a program's descriptors take, exactly as the gateware counts them.

The model follows `xnorcore_hw.sequence` (docs/architecture.md, Timing). It knows nothing of the link: waits
for images, and for results to be sent, are not in it, nor are the cycles in which words of results are read
for the link while the next batch computes, one for each word at most.

Of layers whose weights come from a store, ``wait_weights`` is an upper bound, close where words are what is
waited for: a beat is taken to wait for the word behind its own, which one that is not held up does not. Of an
SDRAM it is that of an even pace (`sources`). Where batches wait for the link, the store goes on, and they
take as much less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .beats import Beats
from .descriptor import Descriptor
from .device import DeviceConfig
from .layout import WIDE_WORDS
from .oneport import OnePort
from .refill import Refill

__all__ = ["Cycles", "Timed", "alone", "steady", "steady_layers", "total"]

_LOAD = 2
"""Cycles between a descriptor's last word and the layer's first beat."""
_LONG_AGO = -(1 << 40)
_BATCHES = 16
"""After which they are taken to be alike, should what waits for a port not repeat itself before."""


@dataclass(frozen=True)
class Timed:
    """A descriptor, and how many words of program memory it takes."""

    descriptor: Descriptor
    words: int


@dataclass(frozen=True)
class Cycles:
    """Cycles by cause: the counters of these names.

    Attributes
    ----------
    busy, drain, fetch, hazard, port, tail, wait_weights : int
    """

    busy: int = 0
    drain: int = 0
    fetch: int = 0
    hazard: int = 0
    port: int = 0
    tail: int = 0
    wait_weights: int = 0

    @property
    def active(self) -> int:
        """All of them."""
        return sum(vars(self).values())


def steady(layers: Sequence[Timed], config: DeviceConfig) -> Cycles:
    """Return the cycles of a batch that follows others of the same program, each of which was there in time.

    Parameters
    ----------
    layers : sequence of Timed
        In order; all that run for a batch.
    config : DeviceConfig
    """
    return total(steady_layers(layers, config))


def steady_layers(layers: Sequence[Timed], config: DeviceConfig) -> list[Cycles]:
    """Return what `steady` adds up, for each layer."""
    clock, seen = _Clock(config), list[list[Cycles]]()
    # A batch sees of the one before how its last layer ended: after a few, all are alike.
    while len(seen) < 2 or (seen[-1] != seen[-2] and len(seen) < _BATCHES):
        seen.append(clock.layers(layers))
    return seen[-1]


def alone(layers: Sequence[Timed], config: DeviceConfig, batches: int = 1, *, run: bool = False) -> Cycles:
    """Return the cycles of batches, or of a RUN, that nothing precedes and nothing follows.

    Parameters
    ----------
    layers, config
        As of `steady`.
    batches : int
        One right after the other. The cycle that starts the first is one of ``fetch``.
    run : bool
        It is a RUN.
    """
    return total(alone_layers(layers, config, batches, run=run))


def alone_layers(
    layers: Sequence[Timed], config: DeviceConfig, batches: int = 1, *, run: bool = False
) -> list[Cycles]:
    """Return what `alone` adds up, for each layer of each batch."""
    clock = _Clock(config)
    *found, last = [cycles for _ in range(batches) for cycles in clock.layers(layers)]
    found.append(replace(last, tail=clock.written - clock.now + 1))
    # The device rests at the first descriptor; to begin again, with halves of words, takes a cycle more.
    jump = int(run and config.program_halves)
    found[0] = replace(found[0], fetch=found[0].fetch + 1 + jump)
    return found


def total(parts: Iterable[Cycles]) -> Cycles:
    """Return the sums, cause by cause."""
    rows = [vars(part) for part in parts]
    return Cycles(**{name: sum(row[name] for row in rows) for name in vars(Cycles())})


class _Clock:
    """The state of a device between two layers, in cycles since some beginning.

    Attributes
    ----------
    now : int
        First cycle that is not yet accounted for.
    taken : int
        The cycle in which the writer took where the results of the layer before go.
    written : int
        The one that writes the last of these results.
    free : int
        The first one in which a beat may leave that has a result.
    behind_unit : bool
        The results of the layer before come from the results unit: the next one waits for all of them.
    memory : OnePort
    refill : Refill
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config, self.refill = config, Refill(config)
        self.now, self.taken, self.written, self.free = 0, _LONG_AGO, _LONG_AGO, _LONG_AGO
        self.memory, self.behind_unit = OnePort(config), False

    def layers(self, layers: Sequence[Timed]) -> list[Cycles]:
        """Run layers, and return the cycles of each."""
        streamed = [Beats(layer.descriptor, self.config) for layer in layers if layer.descriptor.stream]
        self.refill.run([(beats.words, beats.numbers) for beats in streamed for _ in range(beats.tiles)])
        return [self._layer(layer) for layer in layers]

    def _layer(self, layer: Timed) -> Cycles:
        config, start = self.config, self.now
        step = 2 if config.program_halves else 1
        # The word behind those that every layer needs is taken once the layer before is written, where a
        # descriptor is kept once; elsewhere the last one, once the writer has the one of the layer before.
        word = WIDE_WORDS.start if config.keeps_once else layer.words - 1
        asked = start + step * (word - 1) + 1
        last = max(start + step * word, self.taken + 1) + step * (layer.words - 1 - word)
        held = max(self.taken + 1 - asked, 0)
        ready = first = last + 1 + _LOAD
        if layer.descriptor.depends or self.behind_unit:
            first = max(ready, self.written + 1)
        beats = Beats(layer.descriptor, config)
        if layer.descriptor.stream:
            self.refill.begin(ready)
            beats.refill = self.refill
        emitted, end = beats.run(first, self.free, self.memory)
        self.now = end + 1
        self.free = end + beats.apart
        self.behind_unit = beats.late > 0
        self.written = end + beats.late + config.latency + beats.parts - 1
        # Results wait in a register on their way into memories that are two.
        self.taken = emitted + beats.late + config.latency - 1 - (1 if config.offset_bits else 0)
        if config.keeps_once:
            self.taken = self.written
        return Cycles(
            busy=beats.busy,
            drain=beats.drain,
            fetch=ready - start - held,
            hazard=held + first - ready,
            port=self.now - first - beats.busy - beats.drain - beats.waited,
            wait_weights=beats.waited,
        )
