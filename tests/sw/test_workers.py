"""Work in pieces on processes: the same results as one after the other, whatever becomes of the processes."""

import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from xnorcore.errors import CapacityError, ClusterError, MissingDependencyError, UsageError
from xnorcore.workers import Serial, cluster, open_pool, pool, task

LocalCluster: Any = import_module("distributed").LocalCluster
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def tests_are_found():
    """Workers import what is called, and `pytest` alone does not tell them where tests are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.setattr(sys, "path", [str(ROOT), *sys.path])
        yield


def square(number: int, die: str = "") -> tuple[int, float]:
    """A piece of work; ends its worker, the first time, if a file is named."""
    if die and not Path(die).exists():
        Path(die).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number, number / 3


def refuse(number: int) -> int:
    if number == 2:
        raise CapacityError("word 2 does not fit")
    return number


def slowly(number: int) -> int:
    time.sleep(0.2)
    return number + 1


def total(values: list[int], factor: int) -> int:
    return sum(values) * factor


@pytest.fixture(scope="module")
def two():
    with open_pool(2) as opened:
        yield opened


@pytest.fixture(params=["serial", "two"])
def any_pool(request):
    return Serial() if request.param == "serial" else request.getfixturevalue("two")


def test_results_are_in_order_and_told_as_they_come(any_pool):
    told = {}
    pieces = [(number,) for number in range(20)]
    found = any_pool.run(square, pieces, told.__setitem__)
    assert found == [square(number) for number in range(20)]
    assert told == dict(enumerate(found))
    assert any_pool.run(square, []) == []


def test_what_is_kept_is_an_argument_of_many(any_pool):
    kept = any_pool.keep([1, 2, 3])
    assert any_pool.run(total, [(kept, 1), (kept, 10)]) == [6, 60]


def test_an_error_of_a_piece_is_an_error_of_the_call(any_pool):
    with pytest.raises(CapacityError, match="word 2 does not fit"):
        any_pool.run(refuse, [(number,) for number in range(4)])
    assert any_pool.run(refuse, [(1,)]) == [1]


def test_a_fault_of_a_piece_is_not_hidden(any_pool):
    with pytest.raises(TypeError):
        any_pool.run(total, [(3, 4)])


def test_a_worker_that_dies_loses_nothing(two, tmp_path):
    kept = two.keep(list(range(5)))
    pieces = [(number, str(tmp_path / "died") if number == 3 else "") for number in range(12)]
    assert two.run(square, pieces) == [square(number) for number in range(12)]
    assert (tmp_path / "died").exists()
    assert two.run(total, [(kept, 2)]) == [20]


def test_results_that_are_lost_with_their_worker_are_made_again(two):
    def kill(index: int, result: int) -> None:
        if not lost:
            while sum(map(bool, two.client.who_has().values())) < len(pieces):
                time.sleep(0.05)
            (dies, *_) = {worker for workers in two.client.who_has().values() for worker in workers}
            lost.append(dies)
            pid = two.client.scheduler_info(n_workers=-1)["workers"][dies]["id"]
            os.kill(two._local.workers[pid].pid, signal.SIGKILL)
            while dies in two.client.scheduler_info(n_workers=-1)["workers"]:
                time.sleep(0.05)

    lost: list[str] = []
    pieces = [(number,) for number in range(8)]
    assert two.run(slowly, pieces, kill) == [slowly(*piece) for piece in pieces]
    assert lost


def test_a_piece_that_ends_every_worker_is_an_error(two):
    with pytest.raises(ClusterError, match=r"ended its worker again and again.*--workers 1"):
        two.run(signal.raise_signal, [(signal.SIGKILL,)])
    assert two.run(square, [(2,)]) == [square(2)]


def endless() -> int:
    return subprocess.Popen(["sleep", "600"]).pid


def test_programs_of_workers_end_with_them():
    with open_pool(2) as opened:
        (pid,) = opened.run(endless, [()])
        os.kill(pid, 0)
    until = time.monotonic() + 120
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def other():
    """Somebody's scheduler, with a worker that has two threads."""
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp"
    ) as local:
        yield local


def test_the_workers_of_a_scheduler(other):
    with open_pool(scheduler=other.scheduler_address) as opened:
        assert other.scheduler_address in opened.text and opened.text.startswith("1 worker of")
        assert opened.run(square, [(3,)]) == [square(3)]


def test_a_worker_does_one_thing_at_a_time(other):
    """Its threads share PyTorch's random numbers."""
    with open_pool(scheduler=other.scheduler_address) as opened:
        spans = opened.run(busy, [() for _ in range(4)])
    spans.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def busy() -> tuple[float, float]:
    begin = time.monotonic()
    time.sleep(0.05)
    return begin, time.monotonic()


def test_a_worker_of_other_sources_is_refused(other, monkeypatch):
    # In this process: what the worker says is what is asked first.
    answers = iter(["mine", "theirs"])
    monkeypatch.setattr(cluster, "sources", lambda packages: next(answers))
    with (
        pytest.raises(ClusterError, match=r"another xnorcore than this machine .theirs, not mine."),
        open_pool(scheduler=other.scheduler_address),
    ):
        pass


def test_sources_are_those_of_the_files():
    assert task.sources(["xnorcore"]) == task.sources(["xnorcore", "no_such_package"])
    assert task.sources(["xnorcore"]) != task.sources(["xnorcore", "json"])


def test_a_scheduler_that_goes_away(other):
    told = []

    def ready(index: int, result: object) -> None:
        told.append(index)
        if len(told) == 2:
            other.close()

    with (
        pytest.raises(ClusterError, match=r"scheduler of tcp.* is gone; start it again"),
        open_pool(scheduler=other.scheduler_address) as opened,
    ):
        opened.run(slow, [(number,) for number in range(50)], ready)
    assert 2 <= len(told) < 50


def slow(number: int) -> int:
    time.sleep(0.1)
    return number


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "tcp://no-such-host.invalid:8786"])
def test_no_scheduler(address):
    with pytest.raises(ClusterError, match=f"no scheduler answers at {address}: .*dask scheduler"):
        open_pool(scheduler=address).__enter__()


@pytest.mark.parametrize("address", ["", "nonsense", "tcp://host", "http://host:80", "tcp://a:1/../b"])
def test_no_address(address):
    with pytest.raises(UsageError, match="is no address of a scheduler; give it as tcp://"):
        open_pool(scheduler=address).__enter__()


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr(cluster, "WORKERS_S", 0.5)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp") as local,
        pytest.raises(ClusterError, match="has no workers; start some with: dask worker tcp"),
        open_pool(scheduler=local.scheduler_address),
    ):
        pass


def test_workers_that_all_leave(other, monkeypatch):
    monkeypatch.setattr(cluster, "WORKERS_S", 0.5)
    with open_pool(scheduler=other.scheduler_address) as opened:
        other.scale(0)
        while other.scheduler.workers:
            time.sleep(0.01)
        with pytest.raises(ClusterError, match="no worker is left at tcp"):
            opened.run(slow, [(number,) for number in range(9)])


def test_one_worker_is_this_process_and_needs_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for name in ("cluster", "_dask"):
        monkeypatch.delitem(sys.modules, f"xnorcore.workers.{name}", raising=False)
    with open_pool(1) as opened:
        assert opened.run(os.getpid, [()]) == [os.getpid()]
    with pytest.raises(MissingDependencyError, match="pip install"):
        open_pool(2).__enter__()
    with pytest.raises(UsageError, match="0 workers"):
        open_pool(0).__enter__()


def test_cores():
    assert 1 <= pool.cores() <= (os.cpu_count() or 1)
