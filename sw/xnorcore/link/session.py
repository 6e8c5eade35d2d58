"""Requests and responses over a transport that may lose, damage or delay any of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace

from ..errors import DisconnectedError, GeometryError, LinkTimeoutError, WrongDeviceError
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, Command, DeviceInfo
from .exchange import Exchange
from .flight import Flight, Stats
from .frames import DELIMITER, MAX_RESPONSE
from .groups import Chain
from .pieces import ImageBytes
from .transport import Transport

FIRST_WINDOW = 512
"""Bytes in flight before the device has told its buffer size: the smallest legal buffer."""
NOISE = 256
"""Bytes without a valid frame after which `Session.synchronise` does not wait longer for their sake."""


class Session:
    """The request and response layer over one transport.

    Parameters
    ----------
    transport : Transport
    window_bytes : int
        Most encoded bytes in flight, the size of the device's receive buffer. `synchronise` sets it
        to what the device says.
    timeout : float
        Seconds of the transport's time without an answer after which a request is sent again.
    retries : int
        How often a request is sent again, without any progress, before the session gives up.
    seed : int, optional
        Fixes the first tag; random if not given, so that answers meant for an earlier program are
        not taken for ours.

    Attributes
    ----------
    info : DeviceInfo or None
        What the device said about itself when `synchronise` last ran.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        window_bytes: int = FIRST_WINDOW,
        timeout: float = 1.0,
        retries: int = 5,
        seed: int | None = None,
    ) -> None:
        self.transport = transport
        self.window_bytes = window_bytes
        self.timeout = timeout
        self.retries = retries
        self.info: DeviceInfo | None = None
        self.closed = False
        self._flight = Flight(transport, random.Random(seed).randrange(1 << 16))

    @property
    def stats(self) -> Stats:
        """What went over the link since the session began."""
        return self._flight.stats

    @property
    def max_payload(self) -> int:
        """Most payload bytes of a request; before `synchronise`, what every device can take."""
        limit = self.info.config.max_frame if self.info else FIRST_WINDOW // 2 - 4
        return limit - HEADER_BYTES - CRC_BYTES

    @property
    def best_payload(self) -> int:
        """Payload bytes, request and answer together, that pay best in a frame on this wire."""
        return self._flight.pace.best

    def close(self) -> None:
        """Close the transport; later requests are refused."""
        self.closed = True
        self.transport.close()

    def synchronise(self) -> DeviceInfo:
        """Find the device, whatever state the wire is in, and ask what it is.

        Returns
        -------
        DeviceInfo
            Also kept in `info`; the window is set to the device's receive buffer.

        Raises
        ------
        LinkTimeoutError
            If nothing comes back.
        WrongDeviceError
            If something comes back, but not an xnorcore device's answer.
        ProtocolVersionError
            If the device speaks another version of the protocol.
        """
        self.info = None
        self.window_bytes = FIRST_WINDOW
        flight = self._flight
        flight.write(DELIMITER * 4)  # ends whatever frame the device believes to be in
        self.transport.discard()
        flight.ground()
        before = replace(self.stats)
        flight.noise_limit = NOISE
        try:
            payload = self.call(Command.INFO)
        except LinkTimeoutError:
            count = self.stats.bytes_received - before.bytes_received
            if not count or self.stats.stale > before.stale:
                raise
            raise WrongDeviceError(
                f"{self.transport.name} sends {count} bytes but no valid answer to INFO: "
                "either it is not an xnorcore accelerator, or the baud rate is wrong"
            ) from None
        finally:
            flight.noise_limit = MAX_RESPONSE
        info = self._unpack(payload)
        self.info = info
        self.window_bytes = info.config.fifo_bytes
        return info

    def identify(self) -> DeviceInfo:
        """Ask the device that `synchronise` found once more what it is, and what it holds.

        Raises
        ------
        WrongDeviceError
            If it is not the one that it was, or not possible.
        LinkError
            As for every request.
        """
        info = self._unpack(self.call(Command.INFO))
        if self.info is not None and info.config != self.info.config:
            raise WrongDeviceError(
                f"{self.transport.name} was a device of {self.info.config.geometry} and is now another one, "
                f"of {info.config.geometry}, or has other memories; open it again"
            )
        return info

    def _unpack(self, payload: bytes) -> DeviceInfo:
        try:
            return DeviceInfo.unpack(payload)
        except GeometryError as error:
            raise WrongDeviceError(f"{self.transport.name} reports an impossible device: {error}") from error

    def call(self, command: int, payload: bytes = b"", *, timeout: float | None = None) -> bytes:
        """Send one request and return the payload of its response, without the status byte.

        Parameters
        ----------
        command : int
            Type byte, a `Command`.
        payload : bytes
        timeout : float, optional
            Instead of the session's own, for one slow request.

        Raises
        ------
        DeviceError
            If the device refuses; `status` says why.
        LinkTimeoutError
            If no valid response comes, after all retries.
        DisconnectedError
            If the device is gone.
        UsageError
            If the payload is longer than `max_payload`.
        """
        (response,) = self.stream([(command, payload)], timeout=timeout)
        return response

    def stream(
        self,
        requests: Iterable[tuple[int, bytes] | Chain],
        *,
        on_response: Callable[[int, bytes], None] | None = None,
        timeout: float | None = None,
        images: ImageBytes | None = None,
    ) -> Generator[bytes, None, None]:
        """Send many requests, several in flight, and yield their responses in order, each once.

        On a wire that loses frames, WRITE, READ and INFER requests go out as several shorter ones, of which
        the caller sees nothing.

        The device may execute a request more than once, and after later ones of the same stream: put
        only requests in one stream that do not depend on each other. Parts of one INFER group may, and those
        of a `Chain`: after a loss the whole chain is sent again, and an answer counts only if all before it
        in the chain were answered in the same attempt.

        Parameters
        ----------
        requests : iterable of (int, bytes) or Chain
            Command and payload; taken one by one as the window lets them go.
        on_response : callable, optional
            Called with the request's index and the response, just before it is yielded.
        timeout : float, optional
            Instead of the session's own.
        images : ImageBytes, optional
            What the images of INFER requests cost, if a request may be divided between any two of them.

        Yields
        ------
        bytes
            Payload of a response, without the status byte.

        Raises
        ------
        DeviceError, LinkTimeoutError, DisconnectedError, UsageError
            As `call`; `DeviceError.index` counts the requests of this stream. Responses of earlier
            requests have been yielded by then.
        """
        if self.closed:
            raise DisconnectedError(f"the device {self.transport.name} is closed; open it again")
        exchange = Exchange(
            self._flight,
            requests,
            window=self.window_bytes,
            max_payload=self.max_payload,
            timeout=self.timeout if timeout is None else timeout,
            retries=self.retries,
            config=self.info.config if self.info else None,
            images=images,
        )
        return exchange.run(on_response)
