"""The command ``xnorcore``. Light to import: everything that takes time is imported when a command runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence

from ..errors import XnorcoreError

__all__ = ["main"]

DONE, CHECK_FAILED, USER_ERROR, BUG, INTERRUPTED, PIPE_CLOSED, TERMINATED = 0, 1, 2, 3, 130, 141, 143
"""Exit codes."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what Ctrl-C cleans up is cleaned up, programs that a command started included."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; default: the process's own.

    Returns
    -------
    int
        0 done; 1 a check failed; 2 user error, told in one line; 3 a bug in xnorcore; 130 Ctrl-C;
        141 whoever read our output is gone; 143 SIGTERM.
    """
    try:
        from .commands import build

        parser = build()
        if "_ARGCOMPLETE" in os.environ:  # a shell's user pressed Tab
            from .completion import complete

            complete(parser)
        arguments = parser.parse_args(argv)
        from ..files.userfile import is_stdout
        from .console import Console

        output = getattr(arguments, "output", None)
        console = Console(json=getattr(arguments, "json", False), aside=is_stdout(output))
        try:
            with _terminable():
                code = arguments.call(arguments, console)
            sys.stdout.flush()
            return code
        finally:
            console.end_progress()
    except XnorcoreError as error:
        return _fail(str(error))
    except _Terminated:
        _line("xnorcore: terminated")
        return TERMINATED
    except KeyboardInterrupt:
        _line("xnorcore: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return PIPE_CLOSED
    except MemoryError:
        return _fail("out of memory; use fewer images or a smaller network")
    except OSError as error:
        # Files and ports have their own messages; what is left is the machine: a full disk, no more files.
        return _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    except Exception as error:
        if missing := _missing(error):
            return _fail(missing)
        import traceback

        traceback.print_exc()
        _line("xnorcore: this is a bug in xnorcore; please report it with the lines above")
        return BUG


def _missing(error: Exception) -> str:
    """Say which of the packages that are always required is not there, if that is what an error is."""
    if not isinstance(error, ModuleNotFoundError):
        return ""
    from ..extras import install_extra, package, requirements

    # What a package is called by `import`, where that is another name.
    names = {"serial": "pyserial", "vcd": "pyvcd"}
    module = (error.name or "").partition(".")[0]
    wanted = names.get(module, module)
    try:
        known = [package(text) for text in requirements()[""]]
    except ModuleNotFoundError:  # it runs without being installed
        return ""
    if wanted not in known:
        return ""
    return f"this needs {wanted}, which is not installed; run: {install_extra('')}"


def _fail(message: str) -> int:
    _line(f"xnorcore: error: {message}")
    return USER_ERROR


def _line(text: str) -> None:
    # Names of files and networks may hold anything: keep it one line and away from the terminal's controls.
    one = " ".join(text.split())
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in one)
    print(safe, file=sys.stderr)
