"""Workers by Dask: processes of this machine, or of many that share a scheduler."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from queue import Empty, Queue
from types import TracebackType
from typing import Any, TypeVar

from ..errors import ClusterError, UsageError
from ._dask import distributed, psutil
from .task import attempt, same, sources

__all__ = ["Cluster"]

Result = TypeVar("Result")

ADDRESS = re.compile(r"(tcp|tls)://([^/:\s]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
"""Of a scheduler."""
_LOOK_S = 0.5
CONNECT_S, WORKERS_S = 10, 30
"""Seconds within which somebody's scheduler answers, and within which it has a worker."""
STARTED_S = 300
"""The same for what is started here: it comes as soon as the machine, however busy, lets it."""


class Cluster:
    """A scheduler and its workers, as `Pool`.

    Parameters
    ----------
    workers : int
        Processes to start on this machine.
    scheduler : str, optional
        Use this one's workers instead.
    packages : sequence of str
        Whose sources must be the same there as here.

    Raises
    ------
    ClusterError
        If there is no scheduler, no worker, or one of other sources.
    """

    def __init__(self, workers: int, scheduler: str | None, packages: Sequence[str]) -> None:
        # What goes wrong is said in words of ours, and what is mended need not be said.
        for name in ("tornado", "asyncio", *logging.root.manager.loggerDict):
            if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        self.packages = tuple(packages)
        if scheduler is not None and not ADDRESS.fullmatch(scheduler):
            raise UsageError(f"{scheduler!r} is no address of a scheduler; give it as tcp://host:8786")
        self._local: Any = None
        self._patience = WORKERS_S if scheduler else STARTED_S
        if scheduler is None:
            self._local = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0,
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
            )  # fmt: skip
        self.where = scheduler or "this machine"
        try:
            self.client = _connect(self._local or scheduler, self.where)
            self._check()
        except BaseException:
            self.close()
            raise
        count = len(self._workers())
        self.text = f"{count} worker{'s' if count != 1 else ''} of {self.where}, {self._dashboard()}"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the scheduler; end the workers that were started here."""
        client = getattr(self, "client", None)
        started = self._started()
        # A connection that is lost already says so once more.
        for each in (client, self._local):
            if each is not None:
                with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                    each.close(timeout=5)
        for process in started:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _started(self) -> list[Any]:
        """Return the programs that workers of this machine run, which would go on without them."""
        found: list[Any] = []
        for worker in self._local.workers.values() if self._local is not None else ():
            with contextlib.suppress(psutil.Error, AttributeError):
                found += psutil.Process(worker.pid).children(recursive=True)
        return found

    def keep(self, value: Any) -> Any:
        """Hold a value on the workers; as a piece of work, so that it comes back if a worker is lost."""
        return self._submit(same, value)

    def run(
        self,
        call: Callable[..., Result],
        pieces: Sequence[tuple[Any, ...]],
        ready: Callable[[int, Result], None] | None = None,
    ) -> list[Result]:
        """Carry out pieces of work, as `Pool.run`."""
        done: Queue[int] = Queue()
        futures = [self._submit(attempt, call, *arguments) for arguments in pieces]

        def watch(index: int) -> None:
            futures[index].add_done_callback(lambda _: done.put(index))

        for index in range(len(futures)):
            watch(index)
        found: dict[int, Result] = {}
        lonely = time.monotonic()
        try:
            while len(found) < len(pieces):
                lonely = self._there(lonely)
                try:
                    index = done.get(timeout=_LOOK_S)
                except Empty:
                    continue
                if futures[index].status == "lost":  # with its worker: another one makes it again
                    watch(index)
                    continue
                found[index] = self._result(futures[index])
                if ready is not None:
                    ready(index, found[index])
        finally:
            if self.client.status == "running":
                self.client.cancel([future for index, future in enumerate(futures) if index not in found])
        return [found[index] for index in range(len(pieces))]

    def _submit(self, call: Callable[..., Any], *arguments: Any) -> Any:
        with warnings.catch_warnings():
            # That a data set is large is known.
            warnings.filterwarnings("ignore", message="Sending large graph")
            return self.client.submit(call, *arguments, pure=False)

    def _result(self, future: Any) -> Any:
        if future.status == "cancelled":
            raise self._gone()
        error = future.exception(timeout=self._patience)
        if isinstance(error, distributed.KilledWorker):
            raise ClusterError(
                f"a piece of work has ended its worker again and again, on {self.where}; is there too little "
                "memory? Try fewer workers, or --workers 1 to see more"
            )
        if error is not None:
            raise error
        result, refused = future.result(timeout=self._patience)
        if refused is not None:
            raise refused
        return result

    def _there(self, since: float) -> float:
        """Return when workers were last seen; raise if there is no scheduler, or have been none for long."""
        if self.client.status != "running":
            raise self._gone()
        now = time.monotonic()
        if self._workers():
            return now
        if now - since > self._patience:
            start = f"start one with: dask worker {self.where} --nthreads 1"
            fix = "give the same command once more, with fewer workers if memory was short"
            raise ClusterError(f"no worker is left at {self.where}; {fix if self._local else start}")
        return since

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the scheduler of {self.where} is gone; start it again, with its workers, and give the same "
            "command once more"
        )

    def _workers(self) -> dict[str, Any]:
        return self.client.scheduler_info(n_workers=-1)["workers"]

    def _check(self) -> None:
        """Wait for a worker, and compare what each has with what is here."""
        try:
            self.client.wait_for_workers(1, timeout=self._patience)
        except TimeoutError:
            raise ClusterError(
                f"the scheduler at {self.where} has no workers; start some with: dask worker {self.where} "
                "--nworkers 2 --nthreads 1"
            ) from None
        if self._local is not None:
            return
        mine = sources(self.packages)
        try:
            theirs = self.client.run(sources, self.packages)
        except (ModuleNotFoundError, AttributeError) as error:
            raise ClusterError(
                f"a worker of {self.where} has no xnorcore like this one ({error}); install the same there"
            ) from None
        for worker, digest in theirs.items():
            if digest != mine:
                raise ClusterError(
                    f"worker {worker} has another xnorcore than this machine ({digest}, not {mine}); install "
                    "the same there, or results would not be those of here"
                )

    def _dashboard(self) -> str:
        if find_spec("bokeh") is None:
            return "no dashboard without bokeh"
        return f"dashboard {self.client.dashboard_link}"


class _Client(distributed.Client):
    """A client that says nothing when it is thrown away unconnected."""

    def __del__(self) -> None:
        if self.status == "running":
            super().__del__()


def _connect(target: Any, where: str) -> Any:
    try:
        if isinstance(target, str):
            # Sooner known than by Dask, which tries for long.
            host, port = target.partition("://")[2].rsplit(":", 1)
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
        with warnings.catch_warnings():
            # Other patch levels of packages in between; what matters is compared.
            warnings.filterwarnings("ignore", message="(?s).*Mismatched versions found")
            timeout = CONNECT_S if isinstance(target, str) else STARTED_S
            return _Client(target, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, OverflowError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"no scheduler answers at {where}: {text}; start one with: dask scheduler, and give its address, "
            "as tcp://host:8786"
        ) from None
