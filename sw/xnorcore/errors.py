"""Every error this project raises on purpose; one tree, so that callers can catch one class.

Each message names the value, the limit and the fix, and fits one line of the command line's
``xnorcore: error: ...``.
"""

from __future__ import annotations


class XnorcoreError(Exception):
    """Base of every error raised on purpose by xnorcore."""


class UsageError(XnorcoreError):
    """A wrong argument: an unknown name, a malformed URL, an option out of range."""


class MissingDependencyError(XnorcoreError):
    """An optional package or tool is missing; the message carries the command that installs it."""


class GeometryError(XnorcoreError):
    """A geometry or device configuration outside the legal range."""


class NetworkError(XnorcoreError):
    """A network that breaks a rule of the intermediate representation."""


class FileFormatError(XnorcoreError):
    """A network or data file that is truncated, corrupt, hostile or of another format."""


class ImportFailedError(XnorcoreError):
    """A model of another framework that cannot become an exact integer network.

    The message names the node or file and the reason.
    """


class InputError(XnorcoreError):
    """Images of the wrong shape, dtype or value range for a network."""


class CompileError(XnorcoreError):
    """A legal network that the device cannot run exactly."""


class CapacityError(CompileError):
    """A network that needs more of a device memory than there is."""


class InternalError(XnorcoreError):
    """The compiler contradicts itself: a fault of xnorcore, and never one of the network."""


class EngineError(XnorcoreError):
    """The simulated device could not be built or run."""


class BuildError(XnorcoreError):
    """A bitstream that cannot be made: a clock out of reach, a design too large, a tool that failed."""


class ClusterError(XnorcoreError):
    """A scheduler that is not there or goes away, or workers that are not what is needed."""


class ProgramError(XnorcoreError):
    """A board that could not be programmed: programmer or board absent, port busy."""


class LinkError(XnorcoreError):
    """Base of everything that goes wrong between the host and a device."""


class PortError(LinkError):
    """The port cannot be opened: absent, busy, not permitted, without an answer, or not at this rate."""


class DisconnectedError(LinkError):
    """The port was there and is gone: cable pulled, device or simulator stopped."""


class LinkTimeoutError(LinkError):
    """The device did not answer within the time limit, after all retries."""


class WrongDeviceError(LinkError):
    """Something answers on the port, but it is not an xnorcore device."""


class ProtocolVersionError(LinkError):
    """The device speaks another version of the protocol."""


class DeviceError(LinkError):
    """The device understood a request and refused it.

    ``status`` holds its answer, ``index`` the request's place in its stream.
    """

    def __init__(self, message: str, status: int = 0, index: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.index = index


class NotLoadedError(LinkError):
    """No network was loaded, or the device has lost it, or holds another one."""


class WrongFlashError(XnorcoreError):
    """The flash that a device's store is in is not one that can be used."""


class VerifyError(LinkError):
    """Memory read back from the device differs from what was written."""
