"""Inference with a network's real layers: the host computes some images while the device works on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..compiler.group import largest
from ..isa.program import Program
from .progress import Callback, Progress

__all__ = ["Hosting", "chunk_of", "pipelined"]

_WORK = 1 << 28
"""Products of the host for the images of one chunk, about half a second: while they last, nothing is sent."""
_IMAGES = 1024
"""Most images of a chunk, but for a batch of more."""

Values = NDArray[np.uint8]


class _Ended(Exception):
    """The other part has failed: nobody waits for this one any more."""


class Hosting:
    """What a device that runs integer networks needs to run those with real layers as well.

    `program`, `infer_values` and `_progress` are the device's own.
    """

    program: Program
    infer_values: Callable[..., NDArray[Any]]
    _progress: Callback

    def infer(self, images: ArrayLike) -> NDArray[Any]:
        """Run images through the loaded network, its real layers included.

        Parameters
        ----------
        images : array
            As `Network.encode` takes them: without a head bool or integers in the range of the input's bits,
            with one pixels or floats; shape ``(n, *image shape)``, ``(n, values)`` or one image.

        Returns
        -------
        array
            Of a network with a tail its scores, float32: `Network.scores` of what `golden.run` gives.
            Else int64 scores, or uint8 bits or codes, shape (n, outputs): equal to `golden.run`.

        Raises
        ------
        NotLoadedError
            No network is loaded, or the device has lost it.
        InputError
            Wrong shape, dtype or range.
        """
        program, said = self.program, self._progress
        network = program.network
        head, tail = network.head, None if program.stopped else network.tail
        if head is None and tail is None:
            return self.infer_values(images)
        checked = network.encode(images) if head is None else head.prepare(images)

        def device(values: Values, first: int) -> NDArray[Any]:
            def count(progress: Progress) -> None:
                if progress.stage == "infer":
                    progress = replace(progress, done=first + progress.done, total=len(checked))
                said(progress)

            return self.infer_values(values, progress=count)

        encode = None if head is None else head.run
        scores = None if tail is None else network.scores
        return pipelined(checked, chunk_of(program, len(checked)), encode, device, scores)


def chunk_of(program: Program, images: int) -> int:
    """Return how many images go through a program's device together, while the host computes the next.

    All of them, where weights cross the link for each call; else whole batches.
    """
    if program.passes > 1:
        return max(images, 1)
    work = sum(part.work for part in (program.network.head, program.network.tail) if part is not None)
    wanted = max(1, min(_IMAGES, _WORK // max(work, 1)))
    batch = largest(program).batch
    return -(-wanted // batch) * batch


def pipelined(
    images: NDArray[Any],
    chunk: int,
    encode: Callable[..., Values] | None,
    device: Callable[[Values, int], NDArray[Any]],
    scores: Callable[[NDArray[Any]], NDArray[Any]] | None,
) -> NDArray[Any]:
    """Return the results for images of a host and a device that work at the same time.

    The device works in the caller's thread, the host's layers are computed in another one. What fails in one
    of them, an interrupt included, ends both.

    Parameters
    ----------
    images : array, shape (n, ...)
    chunk : int
        Images that go through the device together.
    encode : callable or None
        Takes images and a ``progress`` that it calls now and then; returns values. None: images are values.
    device : callable
        Takes values, and the number of the first; returns raw results.
    scores : callable or None
        Takes raw results; returns what the network gives. None: raw results are that.
    """
    from concurrent.futures import ThreadPoolExecutor

    end = Event()

    def going(*_: int) -> None:
        if end.is_set():
            raise _Ended

    def ahead(first: int) -> Values:
        block = images[first : first + chunk]
        return block if encode is None else encode(block, progress=going)

    def behind(raw: NDArray[Any]) -> NDArray[Any]:
        going()
        return raw if scores is None else scores(raw)

    starts = range(0, max(len(images), 1), chunk)
    with ThreadPoolExecutor(1, "xnorcore-host") as host:
        try:
            coming, found = host.submit(ahead, 0), []
            for first in starts:
                values = coming.result()
                if first != starts[-1]:
                    coming = host.submit(ahead, first + chunk)
                found.append(host.submit(behind, device(values, first)))
            return np.concatenate([future.result() for future in found])
        except BaseException:
            end.set()
            host.shutdown(wait=False, cancel_futures=True)
            raise
