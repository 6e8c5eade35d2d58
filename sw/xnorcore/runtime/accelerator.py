"""Runs networks on an accelerator: simulated, behind a serial port, or behind a pseudo-terminal."""

from __future__ import annotations

from types import TracebackType

from numpy.typing import ArrayLike, NDArray

from ..compiler.compile import Program, compile_network
from ..compiler.group import fitted, variant
from ..compiler.stops import stop_after, sums_of
from ..errors import DeviceError, DisconnectedError, NotLoadedError, UsageError
from ..isa.protocol import Command, DeviceInfo
from ..link.session import Session
from ..link.transport import byte_cycles, open_transport
from ..model.bits import pack_images
from ..model.network import Network
from .counters import Watch, read_counters
from .hosted import Hosting
from .inference import Inference, become, holds, lost
from .known import remember
from .progress import Callback, Progress
from .upload import Lost, is_loaded, upload

__all__ = ["Accelerator", "Progress"]


class Accelerator(Hosting):
    """An open accelerator. Use `Accelerator.open`, preferably as a context manager.

    Whatever talks to the device may raise a `LinkError`: it is gone, does not answer, or refuses a request.

    Parameters
    ----------
    session : Session
        Over a transport that nobody else uses.
    progress : callable, optional
        Called with a `Progress` during long work.
    """

    watch: Watch | None = None
    """Who looks at the counters during `infer`."""
    running: Program | None = None
    """What the device holds: `program`, for as many images per row as the last call has brought."""

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
        keep: bool = False,
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
        keep : bool
            Write it into the board's flash as well, from where the device starts with it. What is there
            already is not written again; a loss of power leaves the network of before, this one, or none.

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
        UsageError, WrongFlashError
            `keep`, and the device has no store in flash, or it cannot be used.
        """
        if not isinstance(network, Network):
            raise UsageError(
                f"load takes a Network, not {type(network).__name__}; for a zoo name or a file: "
                "load(xnorcore.zoo.load(name))"
            )
        program = compile_network(network, self._info.config, at_once)
        return self.load_program(program, verify=verify, force=force, keep=keep)

    def load_program(
        self, program: Program, *, verify: bool = True, force: bool = False, keep: bool = False
    ) -> bool:
        """Write a compiled network to the device, unless it is there already.

        Parameters
        ----------
        program : Program
            Compiled for this device's configuration, else it is a `UsageError`.
        verify, force, keep : bool
            As for `load`, whose errors these are, and what it returns.
        """
        if program.config != self._info.config:
            raise UsageError(
                f"the program is for a device of geometry {program.config.geometry} and its memories, this "
                f"one has {self._info.config.geometry} and others; compile the network for this device"
            )
        if keep:
            remember(program)
        self._program = self.running = None
        self._info = self.session.identify()
        if is_loaded(self.session, self._info, program, keep) and not force:
            self._program, self.running = program, variant(program, self._info.network_id)
            return False
        upload(self.session, program, verify, self._progress, keep=keep, force=force)
        self._become(program)
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
        """
        self._become((sums_of if sums else stop_after)(self.program, index))

    def _become(self, program: Program) -> None:
        """Arm a program that was written, or is to be made of the one that runs."""
        try:
            self._info = become(self.session, self.running, program)
        except Lost as error:
            raise self._lost(error.args[0]) from error
        self._program = self.running = program

    def infer_values(self, values: ArrayLike, *, progress: Callback | None = None) -> NDArray:
        """Run values through the loaded network, without the real layers that `infer` computes as well.

        Parameters
        ----------
        values : array
            As `golden.run` takes them.
        progress : callable, optional
            In place of the accelerator's own.

        Returns
        -------
        array
            Equal to `golden.run`; errors as of `infer`.
        """
        loaded = self.program
        wire = pack_images(loaded.network, values)
        program = fitted(loaded, len(wire), byte_cycles(self.session.transport, self._info.clock_hz))
        if len(wire) and self.running and program.identifier != self.running.identifier:
            self._become(program)
            self._program = loaded
        try:
            say = progress or self._progress
            raw = Inference(self.session, program, self._info.clock_hz, say, self.watch).run(wire)
        except DeviceError as error:
            # Whatever was refused: was it because the network is not there any more?
            if holds(self.session, program):
                raise
            raise self._lost(program) from error
        except Lost:
            raise self._lost(program) from None
        return program.decode(raw, len(wire))

    def _lost(self, program: Program) -> NotLoadedError:
        self._program = self.running = None
        self._info = self.session.identify()
        return lost(program, self._info)

    @property
    def counters(self) -> dict[str, int] | None:
        """The device's performance counters by name (docs/architecture.md), read now; None if it has none."""
        if not self._info.config.counters:
            return None
        return read_counters(self.session)

    def clear_counters(self) -> None:
        """Set the performance counters to 0, if the device has any."""
        # A request of its own: counts that an answer lost on its way are not lost with it.
        if self._info.config.counters:
            self.session.call(Command.COUNTERS, b"\1")

    def reset(self) -> None:
        """Disarm the device and clear its counters; the network must be loaded again."""
        self._program = self.running = None
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
