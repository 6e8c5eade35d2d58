"""Files of users: what is written is there as a whole or not at all, whatever the system refuses."""

from __future__ import annotations

import errno
import os
import resource
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xnorcore.errors import UsageError
from xnorcore.files import userfile
from xnorcore.files.userfile import check_writable, is_stdout, open_regular, write_file

from .cli_tools import spawn, uncovered, write_inputs

OLD, NEW = b"old contents, longer than the new ones", b"new contents"
NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.npy"
    path.write_bytes(OLD)
    return path


@contextmanager
def as_nobody() -> Iterator[Path]:
    """Give up the rights of root, if there are any, in a folder that everybody may enter."""
    root = os.getuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if root:
            os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield folder
        finally:
            if root:
                os.setresuid(0, 0, 0)
            else:
                folder.chmod(0o755)


def alone(path: Path) -> bool:
    """Whether no temporary file was left beside."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]


# Replacing


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_file(tmp_path / "new", NEW)
    finally:
        os.umask(mask)
    assert (tmp_path / "new").read_bytes() == NEW and alone(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o755])
def test_a_file_is_replaced_and_keeps_its_mode(file: Path, mode: int) -> None:
    file.chmod(mode)
    if os.getuid() == 0:
        os.chown(file, NOBODY, NOBODY)
    before = file.stat()
    with file.open("rb") as reader:
        write_file(file, NEW)
        assert reader.read() == OLD  # whoever reads the old one still does
    after = file.stat()
    assert file.read_bytes() == NEW and alone(file)
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_synchronised_before_and_after_the_rename(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    sync, replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        assert self.parent == target.parent and self.read_bytes() == NEW
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", rename)
    write_file(file, NEW)
    assert done == ["file", "rename", "folder"]
    done.clear()
    whole = file.with_name("whole")
    whole.write_bytes(NEW)
    userfile.move_into_place(whole, file)
    assert done == ["file", "rename", "folder"] and alone(file)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")], ids=repr)
@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_an_interruption_leaves_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    def stop(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os if place == "fsync" else Path, place, stop)
    with pytest.raises((KeyboardInterrupt, UsageError)):
        write_file(file, NEW)
    monkeypatch.undo()
    assert file.read_bytes() == OLD and alone(file)


def test_file_systems_that_cannot_synchronise(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    write_file(file, NEW)
    assert file.read_bytes() == NEW


def test_symbolic_links_stay(file: Path) -> None:
    folder = file.parent / "elsewhere"
    folder.mkdir()
    for target in (file, folder / "new"):
        link = file.parent / "link"
        link.symlink_to(os.path.relpath(target, link.parent))
        check_writable(link)
        write_file(link, NEW)
        assert link.is_symlink() and not target.is_symlink() and target.read_bytes() == NEW
        assert not [entry for entry in target.parent.iterdir() if entry.suffix == ".tmp"]
        link.unlink()
    loop = file.parent / "loop"
    loop.symlink_to("loop")
    for refuses in (check_writable, lambda path: write_file(path, NEW)):
        with pytest.raises(UsageError, match=r"cannot write .*loop"):
            refuses(loop)
    lost = file.parent / "lost"
    lost.symlink_to("no/such/file")
    for refuses in (check_writable, lambda path: write_file(path, NEW)):
        with pytest.raises(UsageError, match=r"cannot write .*lost'?: (no directory|No such file)"):
            refuses(lost)


@pytest.mark.parametrize("name", ["x" * 255, "\N{GREEK SMALL LETTER ALPHA}" * 127, "-", " "])
def test_any_name_that_the_system_takes(tmp_path: Path, name: str) -> None:
    for data in (OLD, NEW):
        check_writable(tmp_path / name)
        write_file(tmp_path / name, data)
        assert (tmp_path / name).read_bytes() == data and alone(tmp_path / name)


@pytest.mark.parametrize(("name", "reason"), [("x" * 256, "File name too long"), ("a\0b", "null")])
def test_names_that_the_system_does_not_take(tmp_path: Path, name: str, reason: str) -> None:
    for refuses in (check_writable, lambda path: write_file(path, NEW)):
        with pytest.raises(UsageError, match=f"cannot write .*{reason}"):
            refuses(tmp_path / name)


# Where nothing can be replaced


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("place", ["create", "rename"])
@pytest.mark.parametrize("data", [NEW, b"", OLD * 1000], ids=["shorter", "empty", "longer"])
def test_written_in_place_where_renaming_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, place: str, code: int, data: bytes
) -> None:
    opened = Path.open

    def refuse_new(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if "x" in mode:
            raise OSError(code, os.strerror(code))
        return opened(self, mode, *rest, **named)

    def refuse(self: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    if place == "create":
        monkeypatch.setattr(Path, "open", refuse_new)
    else:
        monkeypatch.setattr(Path, "replace", refuse)
    before = file.stat().st_ino
    write_file(file, data)
    assert file.read_bytes() == data and file.stat().st_ino == before and alone(file)
    with pytest.raises(UsageError, match=f"cannot write .*new: {os.strerror(code)}"):
        write_file(file.with_name("new"), data)
    assert alone(file)


def test_in_place_only_where_there_is_room(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    def full(descriptor: int, offset: int, length: int) -> None:
        os.ftruncate(descriptor, length)  # what a file system may leave
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", busy)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UsageError, match=r"cannot write .*a\.npy: No space left on device"):
        write_file(file, OLD * 100)
    assert file.read_bytes() == OLD and alone(file)

    def unknown(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    write_file(file, NEW)
    assert file.read_bytes() == NEW


def test_a_full_folder_is_told_and_nothing_is_lost(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of this folder is not written in place for want of room: a mounted one would be."""

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        write_file(file, NEW)
    assert file.read_bytes() == OLD and alone(file)
    there = file.stat()
    mounted = os.stat_result([*there[:2], there.st_dev + 1, *there[3:]])
    monkeypatch.setattr(userfile, "_stat", lambda path: mounted)
    write_file(file, NEW)
    assert file.read_bytes() == NEW and alone(file)


def test_a_folder_of_somebody_else_s() -> None:
    with as_nobody() as folder:
        if os.getuid() != NOBODY:  # the folder is our own
            (folder / "mine").write_bytes(OLD)
            folder.chmod(0o555)
        else:
            os.seteuid(0)
            (folder / "mine").write_bytes(OLD)
            os.chown(folder / "mine", NOBODY, -1)
            os.seteuid(NOBODY)
        before = (folder / "mine").stat().st_ino
        check_writable(folder / "mine")
        write_file(folder / "mine", NEW)
        assert (folder / "mine").read_bytes() == NEW and (folder / "mine").stat().st_ino == before
        with pytest.raises(UsageError, match=rf"cannot write .*new'?: no permission to write in {folder}"):
            check_writable(folder / "new")
        with pytest.raises(UsageError, match=r"cannot write .*new: Permission denied"):
            write_file(folder / "new", NEW)


def test_a_file_that_is_write_protected_stays() -> None:
    with as_nobody() as folder:
        if os.getuid() == NOBODY:
            os.seteuid(0)
            folder.chmod(0o777)
            os.seteuid(NOBODY)
        path = folder / "kept"
        path.write_bytes(OLD)
        path.chmod(0o444)
        with pytest.raises(UsageError, match=r"cannot write .*kept'?: no permission; change its mode, or"):
            check_writable(path)
        with pytest.raises(UsageError, match=r"cannot write .*kept: Permission denied"):
            write_file(path, NEW)
        assert path.read_bytes() == OLD


# A real mount point, and a real full disk, where the system lets a test make them

SCRIPT = """
import sys
from pathlib import Path
from xnorcore.errors import UsageError
from xnorcore.files.userfile import check_writable, write_file
path, size = Path(sys.argv[1]), int(sys.argv[2])
try:
    check_writable(path)
    write_file(path, b"n" * size)
except UsageError as error:
    sys.exit(str(error))
"""


def run_script(path: Path, size: int, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Write `size` bytes to a file in a process of its own.

    With shell commands before that, in a mount namespace; its stdout then is what the file holds.
    """
    command = [sys.executable, "-c", SCRIPT, str(path), str(size)]
    if before:
        script = [
            before, f"{shlex.join(command)} || code=9", f"cat {path}",
            f"ls -A {path.parent} | grep tmp && code=8", "exit ${code:-0}",
        ]  # fmt: skip
        command = ["unshare", "-rm", "sh", "-c", "\n".join(script)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return not subprocess.run(
        ["unshare", "-rm", "sh", "-ec", "mount -t tmpfs -o size=64k none /tmp"], capture_output=True
    ).returncode


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_disk_that_is_full(file: Path) -> None:
    # A limit of the process stands for the disk on every system.
    done = run_script(file, 50_000, preexec_fn=small_files, env=uncovered())
    assert done.returncode == 1 and f"cannot write {file}: File too large" in done.stderr
    assert done.stderr.count("\n") == 1 and file.read_bytes() == OLD and alone(file)
    if can_mount():
        done = run_script(
            file, 100_000, f"mount -t tmpfs -o size=64k none {file.parent}; printf old > {file}"
        )
        assert (done.returncode, done.stdout) == (9, "old")
        assert f"cannot write {file}: No space left on device" in done.stderr


MOUNTED = {
    "a mount point": ("a.npy", "mount --bind inner a.npy", 10, ""),
    "in a folder that is read-only": (
        "a.npy", "mount --bind . .; cd $PWD; mount --bind inner a.npy; mount -o remount,ro,bind $PWD", 10, "",
    ),
    "in a folder that is full": (
        "full/a", "mount -t tmpfs -o size=16k none full; : > full/a; mount --bind inner full/a; "
        "head -c 20k /dev/zero > full/x 2> /dev/null", 10, "",
    ),
    "of a disk that is full": (
        "a.npy", "mount -t tmpfs -o size=16k none full; printf old > full/a; mount --bind full/a a.npy",
        100_000, "No space left on device",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", MOUNTED)
def test_a_file_that_is_mounted(file: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """As a container's file that is mounted alone: it can be written, not replaced."""
    name, mount, size, reason = MOUNTED[kind]
    if can_mount():
        (file.parent / "inner").write_bytes(OLD)
        (file.parent / "full").mkdir()
        done = run_script(file.parent / name, size, f"cd {file.parent}; {mount}")
        assert (done.returncode, done.stdout) == ((9, "old") if reason else (0, "n" * size)), done.stderr
        assert reason in done.stderr and done.stderr.count("\n") == bool(reason)
    else:
        test_written_in_place_where_renaming_is_refused(file, monkeypatch, "rename", errno.EBUSY, NEW)


# What is no regular file


def test_devices(tmp_path: Path) -> None:
    for name in ("/dev/null", "/dev/full"):
        check_writable(name)
        with pytest.raises(UsageError, match="not a regular file"):
            check_writable(name, regular=True)
    write_file("/dev/null", NEW)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left on device"):
        write_file("/dev/full", NEW)
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    write_file(link, NEW)
    assert link.is_symlink() and stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        assert is_stdout(name)
        with pytest.raises(UsageError, match="not a regular file"):
            check_writable(name, regular=True)
    assert not any(map(is_stdout, (None, "stdout", "/dev/stderr", "/dev/fd/11", "/dev/null")))


def test_never_over_a_disk_a_socket_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        (tmp_path / "disk").touch()
        disk = os.stat_result([stat.S_IFBLK | 0o666, *(tmp_path / "disk").stat()[1:]])
        for name in ("folder", "socket", "disk"):
            if name == "disk":
                monkeypatch.setattr(userfile, "_stat", lambda path: disk)
            with pytest.raises(UsageError, match=r"not a regular file|it is a directory; name a file in it"):
                check_writable(tmp_path / name)
            with pytest.raises(UsageError, match=f"cannot write .*{name}: it is a "):
                write_file(tmp_path / name, NEW)
        monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "folder", "socket"]
    assert (tmp_path / "disk").read_bytes() == b""


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, OLD * 10_000)
    reader.join()
    assert got == [OLD * 10_000] and pipe.is_fifo() and alone(pipe)


def test_input_from_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", "/dev/zero", "/dev/tty"):
        with pytest.raises(UsageError, match=f"cannot read {name}: not a regular file"):
            open_regular(name)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(UsageError, match="not a regular file"):
        open_regular(tmp_path / "link")


# The command line


@pytest.fixture
def scores(tmp_path: Path) -> tuple[list[str], bytes]:
    """Arguments of a command, and the file that it should write."""
    arguments = ["golden", *write_inputs(tmp_path)]
    done = spawn(*arguments, "-o", tmp_path / "out.npy")
    assert done.communicate(timeout=60) and not done.returncode
    return arguments, (tmp_path / "out.npy").read_bytes()


@pytest.mark.parametrize(("name", "extra"), [("/dev/stdout", ()), ("/dev/fd/1", ("--json",))])
def test_scores_to_stdout(scores: Any, tmp_path: Path, name: str, extra: Any) -> None:
    arguments, expected = scores
    done = spawn(*arguments, "-o", name, *extra, text=False)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (0, expected) and err
    for mode, before in (("wb", b""), ("ab", b"first\n")):
        target = tmp_path / "redirected"
        target.write_bytes(b"first\n")
        with target.open(mode) as stdout:
            done = spawn(*arguments, "-o", name, *extra, stdout=stdout, text=False)
            done.communicate(timeout=60)
        assert done.returncode == 0 and target.read_bytes() == before + expected


def test_nobody_reads_the_scores(scores: Any) -> None:
    arguments, _ = scores
    done = spawn(*arguments, "-o", "/dev/stdout")
    assert done.stdout and done.stderr
    done.stdout.close()
    assert done.wait(60) == 141 and done.stderr.read() == ""
    done.stderr.close()


def test_scores_to_a_pipe_a_full_device_and_over_a_link(scores: Any, tmp_path: Path) -> None:
    arguments, expected = scores
    done = spawn(*arguments, "-o", "/dev/full")
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (2, "")
    assert err == "xnorcore: error: cannot write /dev/full: No space left on device\n"
    (tmp_path / "link.npy").symlink_to("far.npy")
    done = spawn(*arguments, "-o", tmp_path / "link.npy")
    done.communicate(timeout=60)
    assert done.returncode == 0 and (tmp_path / "link.npy").is_symlink()
    assert (tmp_path / "far.npy").read_bytes() == expected
    assert np.load(tmp_path / "far.npy").shape == (5, 3)
