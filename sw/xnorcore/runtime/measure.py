"""What a run on an accelerator is measured by. Definitions: docs/architecture.md, What is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..link.transport import BITS_PER_BYTE
from ..model.network import Network
from ..reference import fast, golden
from .accelerator import Accelerator
from .counters import causes_per_image

GOLDEN_MACS = 4_000_000_000
"""Most multiply-accumulates of a run whose results are compared with `golden`; above, with `fast`."""
_WRAP = 1 << 32


@dataclass(frozen=True)
class Measurement:
    """Counters and clocks of one inference run.

    Attributes
    ----------
    images : int
        At least 1.
    macs_per_image : int
        Useful XNOR multiply-accumulates.
    peak : int
        The array's XNOR multiply-accumulates per cycle.
    image_bytes : int
        Of one image on the wire.
    clock_hz : int
        Of the array, 0 if unknown.
    infer_wall_s : float
        Seconds of the host between the first image sent and the last result received.
    counters : dict or None
        The device's counters over the run; None if it has none, if one of them may have wrapped, or if the
        network runs in passes or rounds, of which they count what INFER runs only.
    device_cycles : int or None
        Cycles from the first image sent to the last result received; None if only the host's clock is known.
    divisor : int or None
        Device cycles per bit of a simulated wire; None without one.
    """

    images: int
    macs_per_image: int
    peak: int
    image_bytes: int
    clock_hz: int
    infer_wall_s: float
    counters: dict[str, int] | None
    device_cycles: int | None
    divisor: int | None

    @property
    def cycles_per_image(self) -> float | None:
        """Device cycles per image while the device has images to run; waiting for the link is not counted."""
        if self.counters is None:
            return None
        return (self.counters["active"] - self.counters["wait_output"]) / self.images

    @property
    def efficiency(self) -> float | None:
        """Useful work as a share of what the array could have done in `cycles_per_image`."""
        cycles = self.cycles_per_image
        return self.macs_per_image / (cycles * self.peak) if cycles else None

    @property
    def link_utilisation(self) -> float | None:
        """Image payload bits as a share of the 8 per 10-bit slot that the wire could have carried."""
        if self.divisor is None or not self.device_cycles:
            return None
        return self.images * self.image_bytes * BITS_PER_BYTE * self.divisor / self.device_cycles

    @property
    def images_per_s(self) -> float | None:
        """Images per second of the device's clock, link included; of the host's clock on a real port."""
        if self.device_cycles is not None:
            return self.images * self.clock_hz / self.device_cycles if self.device_cycles else None
        return self.images / self.infer_wall_s if self.infer_wall_s else None

    def per_image(self) -> dict[str, Any] | None:
        """Return cycles per image: ``busy``, ``drain``, ``idle`` by cause, and the waits for the link."""
        return None if self.counters is None else causes_per_image(self.counters, self.images)

    def as_dict(self) -> dict[str, Any]:
        """Return everything in the form of ``--json``."""
        return {
            "images": self.images,
            "cycles_per_image": self.cycles_per_image,
            "macs_per_image": self.macs_per_image,
            "peak_macs_per_cycle": self.peak,
            "efficiency": self.efficiency,
            "link_utilisation": self.link_utilisation,
            "images_per_s": self.images_per_s,
            "device_cycles": self.device_cycles,
            "batches": None if self.counters is None else self.counters["batches"],
            "cycles_per_image_by_cause": self.per_image(),
            "clock_hz": self.clock_hz,
            "infer_wall_s": self.infer_wall_s,
        }


def measure(
    accelerator: Accelerator, images: NDArray[Any], *, batch: int = 0
) -> tuple[NDArray[Any], Measurement]:
    """Run images through the loaded network and measure it.

    Parameters
    ----------
    accelerator : Accelerator
        With a network loaded.
    images : array, shape (n, values)
        At least one image, in a form that `Accelerator.infer_values` takes.
    batch : int
        Images per call of it; 0 hands it all of them at once.

    Returns
    -------
    array, shape (n, outputs)
        Results of the device, not compared with anything.
    Measurement

    Raises
    ------
    NotLoadedError, InputError, LinkError
        As `Accelerator.infer_values`.
    """
    program, info = accelerator.program, accelerator.info
    step = batch or len(images)
    transport: Any = accelerator.session.transport
    accelerator.clear_counters()
    # A simulated device counts its own cycles; a real port has no such attribute.
    before: int | None = getattr(transport, "cycles", None)
    started = time.perf_counter()
    results = [
        accelerator.infer_values(images[first : first + step]) for first in range(0, len(images), step)
    ]
    wall_s = time.perf_counter() - started
    cycles = None if before is None else transport.cycles - before
    counters = accelerator.counters
    passed = wall_s * (info.clock_hz or 1_000_000_000) if cycles is None else cycles
    uart = getattr(transport, "link", None) == "uart"
    whole = program.passes == 1 and not (accelerator.running or program).turns
    return np.concatenate(results), Measurement(
        images=len(images),
        macs_per_image=program.macs,
        peak=info.config.geometry.peak,
        image_bytes=program.image_bytes,
        clock_hz=info.clock_hz,
        infer_wall_s=wall_s,
        counters=counters if passed < _WRAP and whole else None,
        device_cycles=cycles,
        divisor=transport.divisor if uart else None,
    )


def reference(
    network: Network, images: NDArray[Any], *, progress: Callable[[int, int], None] | None = None
) -> tuple[NDArray[Any], str]:
    """Compute what a device must answer.

    Returns
    -------
    array, shape (n, outputs)
    str
        The model that was used: ``"golden"`` for up to `GOLDEN_MACS` multiply-accumulates, else ``"fast"``.

    Raises
    ------
    InputError
        If the images do not fit the network.
    """
    small = network.macs * len(images) <= GOLDEN_MACS
    model = golden if small else fast
    return model.run(network, images, progress=progress), "golden" if small else "fast"


def first_mismatch(results: NDArray[Any], expected: NDArray[Any]) -> str | None:
    """Describe the first result that differs, or return None."""
    places = np.argwhere(results != expected)
    if not len(places):
        return None
    image, output = (int(index) for index in places[0])
    found, wanted = int(results[image, output]), int(expected[image, output])
    return f"image {image}, output {output}: the device says {found}, the reference {wanted}"
