"""The user's files: how one is opened, and how one is written so that no interruption costs what is there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from pathlib import Path
from typing import IO

from ..errors import UsageError

AnyPath = str | os.PathLike[str]

_NO_RENAME = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)
"""What the system says where a file may be written but not replaced: mount points, folders of others."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EACCES)
"""What file systems and devices say that have nothing to synchronise."""
_NEVER = ("directory", "block device", "socket", "special file")
_DESCRIPTOR = re.compile(r"/dev/(?:(stdin)|(stdout)|(stderr)|fd/(\d+))|/proc/self/fd/(\d+)")


def open_regular(path: AnyPath) -> IO[bytes]:
    """Open a file for reading, if it is one: a pipe would wait for ever, and devices may not even be opened.

    Raises
    ------
    UsageError
        If it is another kind of file.
    OSError, ValueError
        If it cannot be opened.
    """
    _refuse(path, _kind(Path(path).stat()))
    # It may have become another one: without O_NONBLOCK a pipe would still wait.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _refuse(path, _kind(os.fstat(descriptor)))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def refuse_special(path: AnyPath) -> None:
    """Refuse what is there, but neither file nor folder: for those who look before they open.

    Raises
    ------
    UsageError
        If it is a pipe, a device or a socket, or a link to one.
    """
    try:
        kind = _kind(Path(path).stat())
    except (OSError, ValueError):
        return
    if kind != "directory":
        _refuse(path, kind)


def _refuse(path: AnyPath, kind: str) -> None:
    if kind == "directory":
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind:
        raise UsageError(f"cannot read {path}: not a regular file, but a {kind}; copy its content into one")


def check_writable(path: AnyPath, *, regular: bool = False) -> None:
    """Refuse a file that `write_file` could not write, as far as that can be known before the work.

    Parameters
    ----------
    path : path
    regular : bool
        Refuse pipes and devices, too.

    Raises
    ------
    UsageError
        If there is no such folder, something is not permitted, or the name is of something else than a file.
    """
    try:
        reason = _obstacle(Path(path), regular)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise UsageError(f"cannot write {str(path)!r}: {reason}")


def _obstacle(path: Path, regular: bool) -> str:
    """What stands against writing a file, in words."""
    if not path.name or path.is_dir():
        return "it is a directory; name a file in it"
    there = _stat(path)
    if there is not None:
        kind = _kind(there)
        if kind in _NEVER or (regular and (kind or _standard(path) is not None)):
            return "not a regular file"
        return "" if os.access(path, os.W_OK) else "no permission; change its mode, or choose another name"
    folder = path.parent if not path.is_symlink() else Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        return f"no directory {folder}; create it first"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"no permission to write in {folder}"


def write_file(path: AnyPath, data: bytes) -> None:
    """Write a file, so that an interruption leaves the old one or none.

    The bytes go to a temporary file in the same folder, which is synchronised, takes the old file's mode,
    and then its place; of a symbolic link, that of the file it leads to. Where a file cannot be replaced
    (a mount point, a folder of somebody else's), it is written in place, once there is room for it.
    Pipes, terminals and other devices are written to.

    Raises
    ------
    UsageError
        If the file cannot be written.
    BrokenPipeError
        If nobody reads the pipe any more.
    """
    try:
        there = _stat(path)
        kind = _kind(there) if there is not None else ""
        if kind in _NEVER:
            raise UsageError(f"cannot write {path}: it is a {kind}")
        if _standard(path) is not None or kind:
            _write_stream(path, data)
        elif there is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            _replace(Path(os.path.realpath(path)), data, there)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write {path}: {reason}") from None


def move_into_place(temporary: Path, target: Path) -> None:
    """Give a whole file its name, in the same file system, so that a power cut leaves it whole or not there.

    Raises
    ------
    OSError
        If it cannot be synchronised or renamed.
    """
    with temporary.open("rb") as file:
        _sync(file.fileno())
    temporary.replace(target)
    _sync_folder(target.parent)


def is_stdout(path: AnyPath | None) -> bool:
    """Whether a path names the process's standard output, as ``/dev/stdout`` does."""
    return path is not None and _standard(path) == 1


def _standard(path: AnyPath) -> int | None:
    """The descriptor that a name such as ``/dev/fd/1`` stands for."""
    match = _DESCRIPTOR.fullmatch(os.fspath(path))
    if match is None:
        return None
    names = {"stdin": 0, "stdout": 1, "stderr": 2}
    text = next(group for group in match.groups() if group)
    return names[text] if text in names else int(text)


def _stat(path: AnyPath) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None


def _kind(status: os.stat_result) -> str:
    """What a file is, in words; empty for a regular one."""
    kinds = {
        stat.S_IFREG: "", stat.S_IFDIR: "directory", stat.S_IFBLK: "block device", stat.S_IFIFO: "pipe",
        stat.S_IFCHR: "device", stat.S_IFSOCK: "socket",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(status.st_mode), "special file")


def _write_stream(path: AnyPath, data: bytes) -> None:
    number = _standard(path)
    if number == 1 and sys.stdout is not None:
        sys.stdout.flush()
    # Opened by its name, a redirected file would be written from its start, over what is there.
    descriptor = os.open(path, os.O_WRONLY) if number is None else os.dup(number)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _replace(target: Path, data: bytes, there: os.stat_result | None) -> None:
    # A name may be as long as the system allows: the temporary one must not be longer.
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            if there is not None:
                _take_over(file.fileno(), there)
            _sync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if there is None or not isinstance(error, OSError) or not _needs_its_place(error, target, there):
            raise
        _write_in_place(target, data)
    else:
        _sync_folder(target.parent)


def _needs_its_place(error: OSError, target: Path, there: os.stat_result) -> bool:
    """Whether a file that cannot be replaced for `error` may still be written where it is."""
    if error.errno in _NO_ROOM:
        # The folder is full. A file that is mounted there alone has room of its own.
        return there.st_dev != target.parent.stat().st_dev
    return error.errno in _NO_RENAME


def _take_over(descriptor: int, there: os.stat_result) -> None:
    """Give a new file the owner and mode of the one it replaces, as far as that is permitted."""
    with contextlib.suppress(OSError, AttributeError):
        os.fchown(descriptor, there.st_uid, there.st_gid)
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(descriptor, stat.S_IMODE(there.st_mode) & 0o777)


def _write_in_place(target: Path, data: bytes) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY), "wb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            if data and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, len(data))
        except OSError as error:
            # Without room the old contents stay. File systems that cannot tell beforehand are tried.
            if error.errno in _NO_ROOM:
                os.ftruncate(file.fileno(), size)
                raise
        file.write(data)
        file.flush()
        os.ftruncate(file.fileno(), len(data))
        _sync(file.fileno())


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
