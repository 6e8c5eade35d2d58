"""Runs images through a program in passes, or one that ends early: the host reads the results from memory.

Weights are written once for many images (`stages`): between two stages the host keeps what later ones read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError, DeviceError
from ..isa.blocks import Block
from ..isa.program import Program
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, Command, Space
from ..link.groups import Chain
from ..link.pieces import LONGEST
from ..link.session import Session
from .requests import image_requests, read_requests, write_requests
from .stages import Stage, kept_bytes, stages
from .upload import Callback, Lost, Progress, claim, marked, without_mark, write

__all__ = ["Kept", "Passes", "runs"]

_MOST_KEPT = 64 << 20
"""Bytes of words between passes that the host keeps, at most; further images come after all passes."""
_MOST_CHAINED = 1 << 16
"""Bytes of a batch, both ways, that are sent without a pause on a wire that has lost nothing for long."""
_BESIDE = 24
"""Bytes of a request and its answer on the wire that are not their payloads."""

Requests = list[tuple[int, bytes]]


class Kept:
    """The words of images while they are not on the device, and how they come and go.

    Parameters
    ----------
    program : Program
    wire : array of uint8, shape (n, image_bytes)
    """

    def __init__(self, program: Program, wire: NDArray[np.uint8]) -> None:
        self._program, self._wire = program, wire
        self._words: dict[str, NDArray[np.uint8]] = {}

    def restore(self, stage: Stage, batch: range) -> Requests:
        """Return the requests that put back what a stage reads of a batch's images."""
        program, base = self._program, self._program.regions.bases
        found: Requests = []
        for row in range(program.config.geometry.rows if program.spread else len(batch)):
            image = batch[0 if program.spread else row]
            for span in stage.restored:
                data = self._words[span.region][image, span.slice].tobytes()
                block = Block(Space.ACTIVATIONS, row, base[span.region] + span.first, data)
                found += write_requests(program.config, block, self._room)
        return found

    def infer(self, batch: range) -> list[Requests]:
        """Return the requests that bring a batch's images, and run the first pass: one group after the other.

        Each is to be answered before the next one is sent alone.
        """
        program, rows = self._program, self._program.filled_rows
        if not program.turns:
            return [self._images(batch)]
        rounds = [batch[first : first + rows] for first in range(0, len(batch), rows)]
        turns = [*program.turns[: len(rounds) - 1], program.turns[-1]]
        return [
            group
            for part, entry in zip(rounds, turns, strict=True)
            for group in (self._images(part), [_run(entry)])
        ]

    def _images(self, part: range) -> Requests:
        return list(image_requests(self._program, self._wire[part.start : part.stop], self._room, []))

    def begin(self, stage: Stage, batch: range) -> Requests:
        """Return all requests of a batch in a stage of one pass up to `save`."""
        (number,) = stage.passes
        images = [] if number else list(chain.from_iterable(self.infer(batch)))
        return [*self.restore(stage, batch), *images, *runs(self._program, number)]

    def save(self, stage: Stage, batch: range) -> Requests:
        """Return the requests that read what a stage leaves of a batch's images."""
        config, base = self._program.config, self._program.regions.bases
        return [
            request
            for row in range(min(len(batch), self._program.filled_rows))
            for span in stage.saved
            for request in read_requests(
                config, Space.ACTIVATIONS, row, base[span.region] + span.first, span.words
            )
        ]

    def take(self, stage: Stage, batch: range, answers: Sequence[bytes]) -> None:
        """Keep the answers to `save`.

        Raises
        ------
        DeviceError
            They are not of that size.
        """
        program, size = self._program, self._program.config.geometry.width // 8
        data, rows = b"".join(answers), min(len(batch), self._program.filled_rows)
        wanted = rows * sum(span.words for span in stage.saved) * size
        if len(data) != wanted:
            raise DeviceError(f"READ of {wanted} bytes gave {len(data)}")
        at = 0
        for row in range(rows):
            held = self._held(batch, row)
            for span in stage.saved:
                part = np.frombuffer(data, np.uint8, span.words * size, at).reshape(-1, size)
                at += part.size
                mine = stage.valid[span.region][span.slice]
                words = program.regions.sizes[span.region]
                if span.region not in self._words:
                    shape = (len(self._wire), words // program.per_row, size)
                    self._words[span.region] = np.zeros(shape, np.uint8)
                place, word = np.divmod(span.first + np.flatnonzero(mine), words // program.per_row)
                known = held[place] >= 0
                self._words[span.region][held[place][known], word[known]] = part[mine][known]

    def _held(self, batch: range, row: int) -> NDArray[np.int64]:
        """Return whose words are in each place of a row's regions; -1, nobody's."""
        rows, last = self._program.filled_rows, len(batch) - 1
        held = np.full(self._program.per_row, -1)
        for number in range(row, len(batch), rows):
            # The last round is the one that goes on, however many there are.
            held[-1 if number // rows == last // rows else number // rows] = batch[number]
        return held

    def forget(self, later: Sequence[Stage]) -> None:
        """Drop what no later stage reads."""
        read = {span.region for stage in later for span in stage.restored}
        for region in self._words.keys() - read - {self._program.results.region}:
            del self._words[region]

    @property
    def results(self) -> bytes:
        """The results of all images.

        Raises
        ------
        CompileError
            No pass of the program has written any.
        """
        results = self._program.results
        if results.region not in self._words:
            raise CompileError(f"no pass of the program writes into {results.region}, where its results are")
        words = self._words[results.region][:, : results.words, : results.word_bytes]
        return words.tobytes()

    @property
    def _room(self) -> int:
        return self._program.config.max_frame - HEADER_BYTES - CRC_BYTES


def runs(program: Program, number: int) -> Requests:
    """Return the requests that run a pass; the first one runs with its images."""
    entries = program.later[number - 1].entries if number else ()
    return [_run(entry) for entry in entries]


def _run(entry: int) -> tuple[int, bytes]:
    return Command.RUN, entry.to_bytes(2, "little")


def _cost(requests: Requests, program: Program) -> int:
    """Return the bytes that requests and their answers take on the wire."""
    word = program.config.geometry.width // 8
    words = sum(int.from_bytes(load[4:], "little") for kind, load in requests if kind == Command.READ)
    return sum(len(load) + _BESIDE for _, load in requests) + words * word


class Passes:
    """Images on their way through a program whose results the host reads.

    Parameters
    ----------
    session : Session
    program : Program
    timeout : float
        Seconds for an answer.
    progress : callable
        Called with a `Progress` where images have come a pass further; they count as parts of images.
    plan : sequence of Stage, optional
        In place of the stages that are best for the images of a call.
    """

    def __init__(
        self,
        session: Session,
        program: Program,
        timeout: float,
        progress: Callback,
        plan: Sequence[Stage] | None = None,
    ) -> None:
        self._session, self._program, self._progress = session, program, progress
        self._timeout, self._plan = timeout, plan
        self._done, self._total = 0.0, 0

    def run(self, wire: NDArray[np.uint8]) -> bytes:
        """Return the result bytes of images, as `Inference.run`."""
        program = self._program
        self._hold()  # before another program's weights are overwritten
        most = max(_MOST_KEPT // max(kept_bytes(program), 1) // program.batch, 1) * program.batch
        self._done, self._total = 0.0, len(wire)
        return b"".join(self._together(wire[first : first + most]) for first in range(0, len(wire), most))

    def _hold(self) -> None:
        if not marked(self._session, self._program):
            raise Lost

    def _together(self, wire: NDArray[np.uint8]) -> bytes:
        """Run images whose words are kept all at once."""
        kept = Kept(self._program, wire)
        step = self._program.batch
        batches = [range(first, min(first + step, len(wire))) for first in range(0, len(wire), step)]
        plan = self._plan or stages(self._program, len(batches))
        for number, stage in enumerate(plan, 1):
            if stage.repeated:
                for batch in batches:
                    self._apart(kept, stage, batch)
                    self._hold()  # nothing of this is believed that was not computed by our program
                    self._tell(stage, len(batch))
            else:
                self._weights(stage.passes[0])
                self._stream(kept, stage, batches)
                self._hold()
            kept.forget(plan[number:])
        return kept.results

    def _tell(self, stage: Stage, images: int) -> None:
        passes = self._program.passes
        self._done += images * len(stage.passes) / passes
        part = f"pass {stage.passes.stop} of {passes}" if passes > 1 else ""
        self._progress(Progress("infer", round(self._done), self._total, part=part))

    def _weights(self, number: int) -> None:
        """Write what a pass needs beside activations."""
        program, session = self._program, self._session
        if number:
            write(session, program, program.later[number - 1].blocks)
        elif (program.whole or program).later:
            # The first pass's program is there already only for the first batch after `load`.
            blocks = (block for block in program.blocks if block.space != Space.ACTIVATIONS)
            write(session, program, without_mark(blocks))
            claim(session, program)
            session.call(Command.ARM)

    def _stream(self, kept: Kept, stage: Stage, batches: Sequence[range]) -> None:
        """Run batches through a stage of one pass, several in flight while the wire is good."""
        waiting = deque(batches)
        flying: deque[tuple[range, int, int]] = deque()

        def chains() -> Iterator[Chain]:
            while waiting:
                begin, end = kept.begin(stage, waiting[0]), kept.save(stage, waiting[0])
                best = self._session.best_payload
                if _cost([*begin, *end], self._program) > (_MOST_CHAINED if best == LONGEST else best):
                    return  # so many frames would hardly ever pass one after the other
                flying.append((waiting.popleft(), len(begin), len(end)))
                yield Chain([*begin, *end])

        while waiting:
            answers: list[bytes] = []
            for answer in self._session.stream(chains(), timeout=self._timeout):
                answers.append(answer)
                batch, begin, end = flying[0]
                if len(answers) == begin + end:
                    flying.popleft()
                    kept.take(stage, batch, answers[begin:])
                    self._tell(stage, len(batch))
                    answers = []
            if waiting:
                batch = waiting.popleft()
                self._apart(kept, stage, batch)
                self._tell(stage, len(batch))

    def _apart(self, kept: Kept, stage: Stage, batch: range) -> None:
        """Run a batch through a stage, one thing after the other: what is lost is one request."""
        self._all(kept.restore(stage, batch))
        for number in stage.passes:
            if stage.repeated:
                self._weights(number)
            if not number:
                for group in kept.infer(batch):
                    self._all(group)
            for run in runs(self._program, number):
                self._all([run])
        kept.take(stage, batch, self._all(kept.save(stage, batch)))

    def _all(self, requests: Requests) -> list[bytes]:
        return list(self._session.stream(requests, timeout=self._timeout))
