"""The result of a verification: what was compared with what, on which inputs, and where it differs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..errors import LinkError
from ..files.xnorfile import content_hash
from ..model.network import Network
from ..reference import golden
from ..runtime.accelerator import Accelerator
from ..runtime.upload import Progress
from .ask import checks, observe
from .compare import LayerCheck, compare_fast
from .planted import Fault

__all__ = ["Device", "Report", "verify"]


@dataclass(frozen=True)
class Device:
    """A device to be verified.

    Attributes
    ----------
    name : str
        For the report, as ``rtl`` or ``board``.
    url : str
        As `Accelerator.open` takes it.
    fault : Fault or None
        Planted on purpose.
    timeout : float
        Seconds, as for `Accelerator.open`.
    keep_on : bool
        Its errors are part of the report, in place of its end: for a device without a wire, where nothing
        else can be the cause.
    """

    name: str
    url: str
    fault: Fault | None = None
    timeout: float = 1.0
    keep_on: bool = False


@dataclass(frozen=True)
class Report:
    """Everything that a verification found.

    Attributes
    ----------
    network : str
    network_sha256 : str
        Content hash (`xnorcore.files.xnorfile.content_hash`).
    inputs : dict
        ``count``, ``source``, ``seed`` and ``sha256`` of the images' values.
    devices : dict of str to dict
        By name: URL, build, configuration, program, and how it went.
    checks : tuple of LayerCheck
        For each engine in turn, every layer; a device's sums and its repeated run are engines of their own.
    errors : dict of str to tuple of str
        By name of a device: what it refused, or left without an answer.
    """

    network: str
    network_sha256: str
    inputs: dict[str, Any]
    devices: dict[str, dict[str, Any]]
    checks: tuple[LayerCheck, ...]
    errors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether nothing differs, and every device answered."""
        return not self.differences and not self.errors

    @property
    def differences(self) -> list[LayerCheck]:
        """For each engine that differs, the first layer that does."""
        found: dict[str, LayerCheck] = {}
        for check in self.checks:
            if check.mismatches:
                found.setdefault(check.engine, check)
        return list(found.values())

    @property
    def engines(self) -> list[str]:
        """Names of what was compared with the golden model, in order."""
        return list(dict.fromkeys(check.engine for check in self.checks))

    @property
    def culprit(self) -> str | None:
        """The first engine that differs or did not answer, by its plain name; None if there is none."""
        wrong = {check.engine.partition(",")[0] for check in self.differences} | set(self.errors)
        return next(
            (name for name in ("fast", *self.devices, *self.errors, *self.engines) if name in wrong), None
        )

    @property
    def side(self) -> str | None:
        """What is at fault: ``model``, ``compiler``, ``gateware``, ``device``, or None if nothing differs.

        ``fast`` and golden are models. The interpreter runs the compiler's program: where it differs, the
        compiler is wrong. Where it does not, but the simulated device does, the gateware is. Where neither
        does, or the simulated device has a planted fault, it is that device: its bitstream, its memories.
        """
        name = self.culprit
        if name == "rtl" and self.devices.get(name, {}).get("planted"):
            return "device"
        sides = {None: None, "fast": "model", "machine": "compiler", "rtl": "gateware"}
        return sides.get(name, "device")

    @property
    def place(self) -> LayerCheck | None:
        """Where the `culprit` first goes wrong: the first layer whose bits differ.

        Without one, the first whose sums do, which bits may hide; or the outputs, when they are asked for
        again.
        """
        found = [check for check in self.differences if check.engine.partition(",")[0] == self.culprit]
        return found[0] if found else None

    def as_dict(self) -> dict[str, Any]:
        """Return everything in the form of ``--json``."""
        return {
            "side": self.side,
            "place": None if self.place is None else str(self.place),
            "errors": {name: list(said) for name, said in self.errors.items()},
            "version": __version__,
            "network": self.network,
            "network_sha256": self.network_sha256,
            "inputs": self.inputs,
            "reference": "golden",
            "engines": self.engines,
            "devices": self.devices,
            "equal": self.equal,
            "differences": [str(check) for check in self.differences],
            "checks": [check.as_dict() for check in self.checks],
        }


def verify(
    network: Network,
    images: NDArray[np.uint8],
    devices: Sequence[Device],
    *,
    source: str,
    seed: int = 0,
    at_once: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Compare the golden model with the fast one and with devices, layer by layer.

    Parameters
    ----------
    network : Network
    images : array of uint8, shape (n, values)
        As `xnorcore.model.network.prepare` returns them; at least one.
    devices : sequence of Device
    source : str
        Where the images come from, for the report.
    seed : int
        Of random images, if they are that, and of what devices' memories hold beforehand.
    at_once : int, optional
        As for `Accelerator.load`.
    progress : callable, optional
        As for `Accelerator.open`.

    Returns
    -------
    Report

    Raises
    ------
    CompileError
        A device cannot run the network.
    LinkError
        As `Accelerator.open`, `load` and `infer_values`, of a device without `keep_on`.
    """
    say = progress or (lambda progress: None)
    expected = golden.layers(network, images, progress=lambda done, all: say(Progress("golden", done, all)))
    found = compare_fast(network, images, expected)
    about: dict[str, dict[str, Any]] = {}
    errors: dict[str, tuple[str, ...]] = {}
    for device in devices:
        try:
            accelerator = Accelerator.open(device.url, timeout=device.timeout, progress=progress)
        except LinkError as error:
            if not device.keep_on:
                raise
            errors[device.name] = (f"opening: {type(error).__name__}: {error}",)
            continue
        with accelerator:
            seen = observe(
                accelerator, network, images,
                seed=seed, at_once=at_once, fault=device.fault, keep_on=device.keep_on,
            )  # fmt: skip
        found += checks(network, device.name, seen, images, expected)
        about[device.name] = seen.about
        if seen.errors:
            errors[device.name] = seen.errors
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()
    inputs = {"count": len(images), "source": source, "seed": seed, "sha256": digest}
    return Report(network.name, content_hash(network), inputs, about, tuple(found), errors)
