"""Image and result files of the command line, in NumPy's .npy format."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import FileFormatError, UsageError
from ..files import npyfile
from ..files.userfile import check_writable, open_regular, write_file
from ..model.network import Network

MAX_FILE = 4 << 30
"""Largest image file in bytes."""


def read_array(path: str, kinds: str = "biu") -> NDArray[Any]:
    """Read an .npy file, of legal kinds of dtype as NumPy names them.

    The file's size is compared with what its header promises before any memory is taken for the images.

    Raises
    ------
    UsageError
        If the file cannot be read.
    FileFormatError
        If it is not an .npy file of such a kind, or is truncated.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_FILE:
                raise FileFormatError(f"{path}: {status.st_size} bytes, the limit is {MAX_FILE}; split it")
            return npyfile.read(path, file, status.st_size, kinds)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def write_results(arguments: argparse.Namespace, network: Network, raw: NDArray[Any]) -> None:
    """Write what a command's ``--output`` is for: classes, a tail's scores, or raw results.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    scores = raw if network.tail is None else network.scores(raw)
    write_array(arguments.output, network.classify(raw) if arguments.classes else scores)


def check_output(path: str | None, source: str | None = None, *, regular: bool = False) -> None:
    """Refuse an output file that could not be written, or is the input, before the work that fills it.

    Parameters
    ----------
    path : str, optional
        Nothing is checked without one.
    source : str, optional
        An input file.
    regular : bool
        Refuse pipes and devices, too.

    Raises
    ------
    UsageError
        If there is no such folder, it is not writable, or the name belongs to something else than a file.
    """
    if path is None:
        return
    target = Path(path)
    if source is not None and target.exists() and Path(source).exists() and target.samefile(source):
        raise UsageError(f"cannot write {path}: it is the input file; choose another name")
    check_writable(path, regular=regular)


def write_array(path: str | None, array: NDArray[Any]) -> None:
    """Write an .npy file, as `xnorcore.files.userfile.write_file` does; nothing if `path` is None.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    if path is None:
        return
    write_file(path, npyfile.dumps(array))
