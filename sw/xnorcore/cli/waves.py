"""``sim --vcd``: the waveform of a run, or of one layer of it, and the listing of what runs there."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from ..compiler.group import fitted, largest
from ..errors import MissingDependencyError, UsageError
from ..files.userfile import write_file
from ..isa.listing import listing, listing_lines
from ..isa.program import Program
from ..link.session import Session
from ..model.network import Network
from ..runtime.accelerator import Accelerator, Progress
from .files import check_output
from .options import Parser, integer

__all__ = ["add_waves", "check", "recorded"]

GROUP = "xnorcore.waves"
"""Entry-point group of recorders; ``sim`` is called as ``open(spec, path, pattern, progress=...)``."""
_OTHER_FORMATS = (
    ".fst", ".ghw", ".lxt", ".lxt2", ".vzt", ".fsdb", ".wlf", ".evcd",
    ".gz", ".zst", ".xz", ".bz2", ".zip",
)  # fmt: skip
"""Endings by which viewers and people would take a file for something else."""


def add_waves(parser: Parser) -> None:
    """Add the options of a waveform."""
    group = parser.add_argument_group("waveform")
    group.add_argument(
        "--vcd", metavar="FILE", help="record signals in a VCD file; GTKWave and Surfer files come beside it"
    )
    group.add_argument("--layer", metavar="L", help="only while this layer runs: its name, or its number")
    group.add_argument("--image", type=integer(0), metavar="I", help="only the batch of this image")
    group.add_argument(
        "--signals",
        metavar="core|all|PATTERN",
        help="core (default): what controls the array and what is read and written; all; or names as in the "
        "source, with * and commas between",
    )


def check(arguments: argparse.Namespace, network: Network, images: int) -> None:
    """Refuse options that do not go together, or a layer or an image that there is not.

    Raises
    ------
    UsageError
    """
    given = [name for name in ("layer", "image", "signals") if getattr(arguments, name) is not None]
    if arguments.vcd is None:
        if given:
            raise UsageError(f"--{given[0]} is of a waveform; give --vcd FILE, too")
        return
    ending = Path(arguments.vcd).suffix.lower()
    if ending in _OTHER_FORMATS:
        bare = str(Path(arguments.vcd).with_suffix(""))
        raise UsageError(
            f"--vcd {arguments.vcd}: {ending} is another format, and VCD is what is written; name it "
            f"{bare.removesuffix('.vcd')}.vcd (of it GTKWave's vcd2fst makes an FST file)"
        )
    if ending in (".gtkw", ".sucl", ".txt"):
        raise UsageError(f"--vcd {arguments.vcd}: that ending is of the files beside it; use .vcd")
    check_output(arguments.vcd, arguments.images, regular=True)
    for ending in (".gtkw", ".sucl", ".txt"):
        check_output(str(Path(arguments.vcd).with_suffix(ending)), arguments.images, regular=True)
    if arguments.image is not None and arguments.image >= images:
        raise UsageError(f"--image is {arguments.image}, but there are {images} images, counted from 0")
    if arguments.layer is not None:
        _layer(network, arguments.layer)


def _layer(network: Network, text: str) -> int:
    names = [layer.name or f"layer{index}" for index, layer in enumerate(network.layers)]
    if text in names:
        return names.index(text)
    if text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < len(names):
        return int(text)
    raise UsageError(
        f"no layer {text!r} in {network.name!r}; there are {', '.join(names)}, 0 to {len(names) - 1}"
    )


def _descriptors(program: Program, layer: int | None) -> tuple[int, int]:
    """Return the first descriptor of a layer, and the one behind its last; None is all layers."""
    if program.passes > 1:
        raise UsageError(
            f"this network runs in {program.passes} passes on this device, whose layers are not told apart; "
            "leave --layer and --image out, or choose a larger device"
        )
    layers = [program.layers[part].layer for part, _ in program.sections[0].parts]
    own = [at for at, each in enumerate(layers) if layer is None or each == layer]
    if not own:
        raise UsageError(
            "that layer has no program of its own: it is pooled or added up on the way, by the one before it "
            "or behind it; record that one"
        )
    return own[0], own[-1] + 1


class _Recorded:
    """A recording, or none: what `recorded` hands over."""

    def __init__(self, arguments: argparse.Namespace, recording: Any, accelerator: Accelerator) -> None:
        self._arguments, self._recording, self.accelerator = arguments, recording, accelerator

    def start(self, images: int) -> None:
        """Start the record, once the network is loaded, of which so many images will be run."""
        arguments, program = self._arguments, self.accelerator.program
        if self._recording is None:
            return
        if arguments.layer is None and arguments.image is None:
            self._recording.start()
            return
        if largest(program).turns:
            # In rounds a layer runs once for each image, and the rounds are not told apart.
            program = replace(program, most=1)
            self.accelerator.load_program(program, verify=False)
        layer = None if arguments.layer is None else _layer(program.network, arguments.layer)
        first, behind = _descriptors(program, layer)
        image, step = arguments.image or 0, arguments.batch or images
        before, left = image // step, min(step, images - image // step * step)
        # The last call has fewer images, and may have smaller batches.
        whole, own = (fitted(program, count).batch for count in (step, left))
        batch = before * -(-step // whole) + image % step // own
        count = len(program.sections[0].parts)
        self._recording.start((batch * count + first, batch * count + behind))

    def finish(self) -> dict[str, Any]:
        """End the files; return what was written, for ``--json``."""
        if self._recording is None:
            return {}
        arguments, program = self._arguments, self.accelerator.program
        value = listing(program)
        if arguments.layer is not None:
            layer = _layer(program.network, arguments.layer)
            names = {plan.name for plan in program.layers if plan.layer == layer}
            for section in value["passes"]:
                section["descriptors"] = [one for one in section["descriptors"] if one["layer"] in names]
        text = Path(arguments.vcd).with_suffix(".txt")
        write_file(str(text), ("\n".join(listing_lines(value)) + "\n").encode())
        return {"waveform": {**self._recording.finish(), "listing": str(text)}}


@contextmanager
def recorded(
    arguments: argparse.Namespace, url: str, progress: Callable[[Progress], None], timeout: float
) -> Iterator[_Recorded]:
    """Open a device, whose signals are recorded if ``--vcd`` says so.

    Raises
    ------
    MissingDependencyError
        If there is nothing that records.
    """
    if getattr(arguments, "vcd", None) is None:
        with Accelerator.open(url, timeout=timeout, progress=progress) as accelerator:
            yield _Recorded(arguments, None, accelerator)
        return
    scheme, _, spec = url.partition(":")
    entries = metadata.entry_points(group=GROUP, name=scheme)
    if not entries:
        raise MissingDependencyError(f"nothing that is installed records the signals of {scheme}:")
    recording = next(iter(entries)).load()(
        spec, arguments.vcd, arguments.signals or "core",
        progress=lambda text: progress(Progress("build", message=text)),
    )  # fmt: skip
    try:
        accelerator = Accelerator(Session(recording.transport, timeout=timeout, retries=5), progress)
    except BaseException:
        recording.transport.close()
        raise
    with accelerator:
        try:
            yield _Recorded(arguments, recording, accelerator)
        finally:
            # An assertion that failed is what one would look for, in what was recorded until then.
            recording.close()
