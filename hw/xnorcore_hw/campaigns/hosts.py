"""Hosts on a bad wire: what one life of a host's program does, and what a second host does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore.errors import NotLoadedError
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator

from .wire import Wire

__all__ = ["Host", "Work", "random_images"]


@dataclass(frozen=True)
class Work:
    """What a host's program does.

    Attributes
    ----------
    network : Network
    images : array
    others : sequence of Network
        What a second host loads.
    times : int
        Calls of `infer`, before any trouble other than the wire's.
    verify : bool
        Loads read everything back.
    seconds, cuts : int
        Times that, between two calls of `infer`, a second host loads a network; that the device loses power
        before or during one.
    stop : bool
        The last calls are of the first layer, whose bits are read from memory.
    """

    network: Network
    images: NDArray[np.uint8]
    others: Sequence[Network]
    times: int
    verify: bool
    seconds: int = 0
    cuts: int = 0
    stop: bool = False


@dataclass
class Host:
    """Lives of a host's program on one wire.

    Attributes
    ----------
    wire : Wire
    timeout : float
        Of the sessions.
    pick : Random
    sessions : list of Session
        That were begun.
    refused : int
        Times that `infer` said that the device has lost its network.
    """

    wire: Wire
    timeout: float
    pick: random.Random
    sessions: list[Session] = field(default_factory=list)
    refused: int = 0

    def live(self, work: Work, retries: int, force: bool = False) -> bool:
        """Load the network and infer as often as the work says; return whether all scores were right."""
        device = self._open(retries)
        device.load(work.network, verify=work.verify, force=force)
        wanted = fast.run(work.network, work.images)
        good = all(_right(device, work.images, wanted) for _ in range(work.times))
        if work.stop:
            device.stop_after(0)
            wanted = golden.layers(work.network, work.images)[0]
            good &= _right(device, work.images, wanted)
        for _ in range(work.seconds):
            good &= self._second(work, retries)
            good &= self._again(device, work, wanted)
        for _ in range(work.cuts):
            before = self.wire.engine.cycles
            good &= self._again(device, work, wanted)
            within = self.wire.engine.cycles - before
            self.wire.cut(self.pick.randrange(within + 1) if self.pick.random() < 0.75 else 0)
            good &= self._again(device, work, wanted)
        return good

    def _open(self, retries: int) -> Accelerator:
        session = Session(self.wire, timeout=self.timeout, retries=retries, seed=self.pick.getrandbits(32))
        self.sessions.append(session)
        return Accelerator(session)

    def _again(self, device: Accelerator, work: Work, wanted: NDArray[Any]) -> bool:
        """Infer; where the network is gone, load it again and infer."""
        while True:
            try:
                return _right(device, work.images, wanted)
            except NotLoadedError:
                self.refused += 1
                device.load(work.network, verify=work.verify)
                if work.stop:
                    device.stop_after(0)

    def _second(self, work: Work, retries: int) -> bool:
        """Load one of the other networks as another host does, and infer."""
        network = work.others[self.pick.randrange(len(work.others))]
        images = random_images(network, 3, self.pick.getrandbits(32))
        device = self._open(retries)
        device.load(network, verify=work.verify)
        return _right(device, images, fast.run(network, images))


def random_images(network: Network, count: int, seed: int) -> NDArray[np.uint8]:
    """Return images over the whole range of the input."""
    shape = (count, network.input.size)
    return np.random.default_rng(seed).integers(0, 1 << network.input.bits, shape, dtype=np.uint8)


def _right(device: Accelerator, images: NDArray[np.uint8], wanted: NDArray[Any]) -> bool:
    return np.array_equal(device.infer(images), wanted)
