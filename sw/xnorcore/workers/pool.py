"""What carries out pieces of work, and how one is chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ..errors import UsageError

__all__ = ["Pool", "Serial", "cores", "open_pool"]

Result = TypeVar("Result")


class Pool(Protocol):
    """Carries out calls.

    Attributes
    ----------
    text : str
        What does the work, in words.
    """

    text: str

    def keep(self, value: Any) -> Any:
        """Bring a value to where the work is done; what is returned stands for it among arguments."""
        ...

    def run(
        self,
        call: Callable[..., Result],
        pieces: Sequence[tuple[Any, ...]],
        ready: Callable[[int, Result], None] | None = None,
    ) -> list[Result]:
        """Call a function with each piece's arguments.

        Parameters
        ----------
        call : callable
            A function of a module, whose result is the same wherever it is called.
        pieces : sequence of tuple
            Arguments of each call.
        ready : callable, optional
            Called here with (index, result) as each is done, in any order.

        Returns
        -------
        list
            Results in the order of the pieces.

        Raises
        ------
        ClusterError
            If scheduler or workers are gone. What was ready has been given to `ready`.
        """
        ...


class Serial:
    """One piece after the other, in this process."""

    text = "one after the other, in this process"

    def keep(self, value: Any) -> Any:
        """Return the value."""
        return value

    def run(
        self,
        call: Callable[..., Result],
        pieces: Sequence[tuple[Any, ...]],
        ready: Callable[[int, Result], None] | None = None,
    ) -> list[Result]:
        """Call the function with each piece's arguments, as `Pool.run`."""
        found = []
        for index, arguments in enumerate(pieces):
            found.append(call(*arguments))
            if ready is not None:
                ready(index, found[-1])
        return found


def cores() -> int:
    """Return the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def open_pool(
    workers: int = 1, scheduler: str | None = None, *, packages: Sequence[str] = ("xnorcore",)
) -> Iterator[Pool]:
    """Open what carries out the work, and close it afterwards.

    Parameters
    ----------
    workers : int
        Processes on this machine; 1: this one, and nothing else is needed.
    scheduler : str, optional
        Address of a Dask scheduler, as ``tcp://host:8786``, whose workers do it instead.
    packages : sequence of str
        Packages that the workers must have in the same version, file by file.

    Raises
    ------
    MissingDependencyError
        If Dask is not installed and needed.
    ClusterError
        If there is no scheduler at that address, it has no worker, or one of other sources.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers; there must be 1 or more")
    if workers == 1 and scheduler is None:
        yield Serial()
        return
    from .cluster import Cluster

    with Cluster(workers, scheduler, packages) as cluster:
        yield cluster
