"""``bench explore``: what it makes of the times of searches."""

from contextlib import contextmanager

import pytest

from xnorcore.cli.console import Console
from xnorcore.errors import EngineError, MissingDependencyError
from xnorcore_hw.bench import explored
from xnorcore_hw.bench.explored import explore


@pytest.fixture
def searches(monkeypatch):
    """Stand in for searches: seconds and results by the number of workers, the first of each unmeasured."""
    told = {1: [(9.0, ["a"]), (4.0, ["a"]), (4.0, ["a"]), (6.0, ["a"])]}
    told[2] = [(9.0, ["a"]), (2.0, ["a"]), (2.5, ["a"]), (4.0, ["a"])]

    @contextmanager
    def open_pool(workers):
        yield workers

    monkeypatch.setattr(explored, "open_pool", open_pool)
    monkeypatch.setattr(explored, "_search", lambda pool: told[pool].pop(0))
    return told


def test_the_median_of_three(searches):
    (figure,) = explore(Console())
    assert figure.value == 1.6 and figure.limit == 1.6 and figure.passed and not searches[2]
    assert figure.lines[1] == "  4.0 s alone, 2.5 s on two"


def test_other_results_are_an_error(searches):
    searches[2][2] = (2.5, ["b"])
    with pytest.raises(EngineError, match="something else than one process"):
        list(explore(Console()))


def test_without_what_it_needs(searches, monkeypatch, capsys):
    def missing(workers):
        raise MissingDependencyError("several workers need Dask")

    monkeypatch.setattr(explored, "open_pool", missing)
    assert list(explore(Console())) == []
    assert "explore: skipped (several workers need Dask)" in capsys.readouterr().err
