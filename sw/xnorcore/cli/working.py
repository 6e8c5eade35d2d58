"""Options of commands whose work can be spread over processes and machines."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import UsageError
from .console import Console
from .options import integer

if TYPE_CHECKING:
    from ..workers import Pool

__all__ = ["add_workers", "workers"]

MOST = 1024


def add_workers(parser: argparse.ArgumentParser, default: str = "1, this process") -> None:
    """Add ``--workers`` and ``--scheduler``."""
    group = parser.add_argument_group("workers")
    group.add_argument(
        "--workers", type=integer(1, MOST), metavar="N", help=f"processes of this machine; default {default}"
    )
    group.add_argument(
        "--scheduler", metavar="URL", help="the workers of a Dask scheduler instead, as tcp://host:8786"
    )


@contextmanager
def workers(
    arguments: argparse.Namespace,
    console: Console,
    default: int = 1,
    packages: Sequence[str] = ("xnorcore",),
) -> Iterator[Pool]:
    """Open what ``--workers`` or ``--scheduler`` ask for, and say what it is.

    Parameters
    ----------
    arguments : argparse.Namespace
    console : Console
    default : int
        Workers, if nothing is asked for.
    packages : sequence of str
        Whose sources the workers must have.

    Raises
    ------
    UsageError, MissingDependencyError, ClusterError
        As `xnorcore.workers.open_pool`; or both options are given.
    """
    from ..workers import open_pool

    if arguments.workers is not None and arguments.scheduler is not None:
        raise UsageError(
            "--workers starts processes here, --scheduler uses those of others; give one of them"
        )
    with open_pool(arguments.workers or default, arguments.scheduler, packages=packages) as pool:
        if arguments.workers is not None or arguments.scheduler is not None or default > 1:
            console.say(f"xnorcore: {pool.text}")
        yield pool
