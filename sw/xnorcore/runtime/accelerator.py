"""Runs networks on an accelerator: simulated, behind a serial port, or behind a pseudo-terminal."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..compiler.compile import Program, compile_network
from ..compiler.stops import stop_after, sums_of
from ..errors import DeviceError, DisconnectedError, NotLoadedError, UsageError
from ..isa.layout import COUNTERS
from ..isa.protocol import KEY_BYTES, Command, DeviceInfo, Space, Status
from ..link.pieces import ImageBytes
from ..link.session import Session
from ..link.transport import open_transport
from ..model.bits import pack_images
from ..model.network import Network
from .readback import read_requests
from .requests import image_requests
from .upload import Callback, Progress, claim, marked, remark, upload, without_mark, write

__all__ = ["Accelerator", "Progress"]

_SLOW_CLOCK_HZ = 1_000_000


class Accelerator:
    """An open accelerator. Use `Accelerator.open`, preferably as a context manager.

    Parameters
    ----------
    session : Session
        Over a transport that nobody else uses.
    progress : callable, optional
        Called with a `Progress` during long work.
    """

    def __init__(self, session: Session, progress: Callback | None = None) -> None:
        self.session = session
        self._progress = progress or (lambda progress: None)
        self._program: Program | None = None
        self._info = session.synchronise()

    @classmethod
    def open(
        cls, url: str, *, timeout: float = 1.0, retries: int = 5, progress: Callback | None = None
    ) -> Accelerator:
        """Open the device at `url` and ask it what it is.

        Parameters
        ----------
        url : str
            ``serial:/dev/ttyUSB1?baud=3000000``, ``pty:/dev/pts/3``, ``sim:`` or
            ``sim:rows=2,columns=32,width=32,link=uart``.
        timeout : float
            Seconds without an answer after which a request is sent again; device time for ``sim:``.
        retries : int
            How often, before `LinkTimeoutError`.
        progress : callable, optional
            Called with a `Progress` during long work, the building of a simulator included.

        Returns
        -------
        Accelerator

        Raises
        ------
        UsageError
            Malformed URL.
        PortError
            The port is absent, busy or not permitted.
        LinkTimeoutError
            Nothing answers.
        WrongDeviceError, ProtocolVersionError
            Something else, or another version, answers.
        EngineError
            The simulated device cannot be built.
        """
        say = None if progress is None else lambda text: progress(Progress("build", message=text))
        transport = open_transport(url, progress=say)
        try:
            return cls(Session(transport, timeout=timeout, retries=retries), progress)
        except BaseException:
            transport.close()
            raise

    @property
    def info(self) -> DeviceInfo:
        """What the device is; as of the last `open`, `load` or `reset`."""
        return self._info

    @property
    def program(self) -> Program:
        """The loaded program.

        Raises
        ------
        NotLoadedError
            If `load` has not been called.
        """
        if self._program is None:
            raise NotLoadedError("no network is loaded; call load(network) first")
        return self._program

    def load(
        self,
        network: Network,
        *,
        verify: bool = True,
        force: bool = False,
        at_once: int | None = None,
    ) -> bool:
        """Compile a network for this device and write it there, unless it is there already.

        Parameters
        ----------
        network : Network
        verify : bool
            Read everything back and compare.
        force : bool
            Write even if the device says that it holds this program.
        at_once : int, optional
            Images that later calls of `infer` will bring at a time. With fewer than the array has rows,
            the rows may share an image: lower latency in place of throughput.

        Returns
        -------
        bool
            Whether anything was written.

        Raises
        ------
        CompileError, CapacityError
            The network cannot run on this device; nothing was written.
        VerifyError
            The device holds something else than what was written.
        LinkError
            As for every request.
        """
        if not isinstance(network, Network):
            raise UsageError(
                f"load takes a Network, not {type(network).__name__}; for a zoo name or a file: "
                "load(xnorcore.zoo.load(name))"
            )
        return self.load_program(
            compile_network(network, self._info.config, at_once), verify=verify, force=force
        )

    def load_program(self, program: Program, *, verify: bool = True, force: bool = False) -> bool:
        """Write a compiled network to the device, unless it is there already.

        Parameters
        ----------
        program : Program
            Compiled for this device's configuration.
        verify, force : bool
            As for `load`.

        Returns
        -------
        bool
            Whether anything was written.

        Raises
        ------
        UsageError
            The program is for another device.
        VerifyError
            The device holds something else than what was written.
        LinkError
            As for every request.
        """
        if program.config != self._info.config:
            raise UsageError(
                f"the program is for a device of geometry {program.config.geometry} and its memories, this "
                f"one has {self._info.config.geometry} and others; compile the network for this device"
            )
        self._program = None
        self._info = self.session.identify()
        if not force and self._info.armed and self._info.network_id == program.identifier:
            self._program = program
            return False
        upload(self.session, program, verify, self._progress)
        self._arm(program)
        return True

    def stop_after(self, index: int, *, sums: bool = False) -> None:
        """Let the loaded network end behind a layer: `infer` then returns that layer's bits, or its sums.

        The weights stay as they are; only program memory is written. Stopping behind the last layer loads
        the whole program again.

        Parameters
        ----------
        index : int
            Layer of the network, as counted by `golden.layers`: one with weights, or the pooling behind it,
            whose bits are all that the device keeps of the two.
        sums : bool
            The sums of a layer with weights, before thresholds and pooling; of its first rows of positions
            only, where not all of them fit activation memory.

        Raises
        ------
        NotLoadedError
            No network is loaded, or the device has lost it or holds another one.
        UsageError
            That layer's results never are in the device's memory.
        NetworkError, CapacityError
            There are too many sums.
        LinkError
            As for every request.
        """
        current = self.program
        if not self._holds(current):
            raise self._lost(current)
        program = sums_of(current, index) if sums else stop_after(current, index)
        self._program = None
        if not remark(self.session, current, program):
            raise self._lost(program)
        self._arm(program)

    def _arm(self, program: Program) -> None:
        try:
            self.session.call(Command.ARM)
        except DeviceError as error:
            if error.status != Status.BAD_PROGRAM:
                raise
            raise self._lost(program) from error
        self._info = self.session.identify()
        if self._info.network_id != program.identifier:
            raise self._lost(program)
        self._program = program

    def infer(self, images: ArrayLike) -> NDArray:
        """Run images through the loaded network.

        Parameters
        ----------
        images : array
            As `golden.run` takes them: bool, or integers in the range of the input's bits; shape
            ``(n, *input shape)``, ``(n, values)`` or one image.

        Returns
        -------
        array
            int64 scores or uint8 bits, shape (n, outputs): equal to `golden.run`.

        Raises
        ------
        NotLoadedError
            No network is loaded, or the device has lost it.
        InputError
            Wrong shape, dtype or range.
        LinkError
            As for every request.
        """
        program = self.program
        wire = pack_images(program.network, images)
        try:
            if program.results_read:
                raw = b"".join(self._infer_and_read(program, wire))
            else:
                raw = b"".join(self._infer(program, wire, len(wire), program.result_bytes))
        except DeviceError as error:
            # Whatever was refused: was it because the network is not there any more?
            if self._holds(program):
                raise
            raise self._lost(program) from error
        return program.decode(raw, len(wire))

    def _holds(self, program: Program) -> bool:
        """Ask whether the device still holds a program that was loaded."""
        if (program.whole or program).later:
            return marked(self.session, program)  # its later passes leave the device disarmed
        info = self.session.identify()
        return info.armed and info.network_id == program.identifier

    def _lost(self, program: Program) -> NotLoadedError:
        """Return the error that says what the device holds in place of a program."""
        self._program = None
        self._info = self.session.identify()
        # Half of it ours: what was written here after the loss, and claimed.
        if not self._info.armed or self._info.network_id[:KEY_BYTES] == program.identifier[:KEY_BYTES]:
            return NotLoadedError("the device has lost its network (power loss or reset?); load it again")
        return NotLoadedError(
            f"the device has lost its network (program {program.identifier.hex()}) and holds another one "
            f"({self._info.network_id.hex()}): the one in its bitstream, or one that somebody else loaded; "
            "load it again"
        )

    def _infer(self, program: Program, wire: NDArray[np.uint8], total: int, size: int) -> Iterator[bytes]:
        done, group = 0, b""
        expected: list[int] = []
        requests = image_requests(program, wire, self.session.max_payload, expected)
        # Where results are read from memory, a batch stays together.
        cost = None if program.results_read else ImageBytes(program.image_bytes, size, program.batch)
        stream = self.session.stream(requests, timeout=self._infer_timeout(program), images=cost)
        for index, response in enumerate(stream):
            count = expected[index]
            # An image's last rows may be ones that no kernel reads: its results come before its end.
            group += response
            if not count:
                continue
            if len(group) != count * size:
                raise DeviceError(f"{count} images gave {len(group)} result bytes, not {count * size}")
            done += count
            if len(wire) == total:
                self._progress(Progress("infer", done, total))
            yield group
            group = b""

    def _infer_and_read(self, program: Program, wire: NDArray[np.uint8]) -> Iterator[bytes]:
        """Run batch after batch, and read the results; each pass of a batch brings its weights along."""
        config, results = program.config, program.results
        if not marked(self.session, program):
            raise self._lost(program)  # before another program's weights are overwritten
        for first in range(0, len(wire), program.batch):
            part = wire[first : first + program.batch]
            if (program.whole or program).later:
                # The first pass's program is there already only for the first batch after `load`.
                blocks = (block for block in program.blocks if block.space != Space.ACTIVATIONS)
                write(self.session, program, without_mark(blocks))
                claim(self.session, program)
                self.session.call(Command.ARM)
            for _ in self._infer(program, part, len(wire) + 1, 1):
                pass
            for further in program.later:
                write(self.session, program, further.blocks)
                for entry in further.entries:
                    place = entry.to_bytes(2, "little")
                    self.session.call(Command.RUN, place, timeout=self._infer_timeout(program))
            read: list[bytes] = []
            for row in range(len(part)):
                requests = read_requests(config, Space.ACTIVATIONS, row, results.base, results.words)
                data = b"".join(self.session.stream(requests))
                if len(data) != results.words * config.geometry.width // 8:
                    raise DeviceError(f"READ of {results.words} words gave {len(data)} bytes")
                words = np.frombuffer(data, np.uint8).reshape(results.words, -1)
                read.append(words[:, : results.word_bytes].tobytes())
            if not marked(self.session, program):
                raise self._lost(program)
            yield from read
            self._progress(Progress("infer", first + len(part), len(wire)))

    @property
    def counters(self) -> dict[str, int] | None:
        """The device's performance counters by name (docs/architecture.md), read now; None if it has none.

        Raises
        ------
        LinkError
            As for every request.
        """
        if not self._info.config.counters:
            return None
        payload = self.session.call(Command.COUNTERS, b"\0")
        if len(payload) != 4 * len(COUNTERS):
            raise DeviceError(f"COUNTERS returned {len(payload)} bytes, not {4 * len(COUNTERS)}")
        return dict(zip(COUNTERS, np.frombuffer(payload, "<u4").tolist(), strict=True))

    def clear_counters(self) -> None:
        """Set the performance counters to 0, if the device has any.

        Raises
        ------
        LinkError
            As for every request.
        """
        # A request of its own: counts that an answer lost on its way are not lost with it.
        if self._info.config.counters:
            self.session.call(Command.COUNTERS, b"\1")

    def reset(self) -> None:
        """Disarm the device and clear its counters; the network must be loaded again.

        Raises
        ------
        LinkError
            As for every request.
        """
        self._program = None
        self.session.call(Command.RESET)
        self._info = self.session.identify()

    def close(self) -> None:
        """Close the port. The device keeps its network."""
        self.session.close()

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except DisconnectedError:
            if error is None:
                raise

    def _infer_timeout(self, program: Program) -> float:
        # A full receive buffer may wait for everything that is in it.
        clock = self._info.clock_hz or _SLOW_CLOCK_HZ
        batch = program.cycles + 100 * len(program.layers)
        images = self._info.config.fifo_bytes // program.image_bytes + 2 * self._info.config.geometry.rows
        return self.session.timeout + 2 * images * batch / clock
