"""What ``bench lfc``, ``small`` and ``link`` measure: dense networks on the simulated device."""

from __future__ import annotations

from collections.abc import Iterator

from xnorcore.cli.console import Console
from xnorcore.isa.layout import DESCRIPTOR, WIDE_WORDS

from .figure import CLAIMS, Figure
from .workload import LFC, SMALL, causes, random_network, simulate

__all__ = ["lfc", "link", "small"]

_MIN_DIVISOR = 4


def lfc(console: Console) -> Iterator[Figure]:
    """784-1024-1024-1024-10 at 1 and 4 rows, one batch alone and batches back to back."""
    network = random_network(LFC)
    for key, rows, count in (
        ("lfc-one", 1, 1),
        ("lfc-stream", 1, 64),
        ("lfc-batch", 4, 4),
        ("lfc-batches", 4, 128),
    ):
        url = f"sim:rows={rows},columns=32,width=32"
        measured = simulate(console, url, network, count)
        claim = CLAIMS[key]
        value = measured.cycles_per_image if claim.unit == "cycles" else measured.efficiency
        assert value is not None
        yield claim.figure(value, {"url": url, **measured.as_dict()}, causes=causes(measured))


def small(console: Console) -> Iterator[Figure]:
    """One image through small networks: idle cycles between two layers against the pipeline's depth."""
    for key, sizes in zip(("small-64", "small-784"), SMALL, strict=True):
        network = random_network(sizes)
        measured = simulate(console, "sim:rows=1,columns=32,width=32", network, 1)
        counters = measured.counters
        assert counters is not None
        # Not between layers: three cycles to start, the first descriptor's fetch; the tail.
        first = 3 + DESCRIPTOR.words - len(WIDE_WORDS)
        idle = counters["fetch"] + counters["hazard"] + counters["port"] - first
        idle_between = idle / (len(network.layers) - 1)
        claim = CLAIMS[key]
        detail = {"pipeline_depth": claim.limit, **measured.as_dict()}
        yield claim.figure(idle_between, detail, causes=causes(measured))


def link(console: Console) -> Iterator[Figure]:
    """A binary 784-input network over the simulated wire, as fast as a UART may be."""
    network = random_network(SMALL[1])
    url = f"sim:rows=1,columns=32,width=32,link=uart,clock_hz=12000000,baud={12_000_000 // _MIN_DIVISOR}"
    measured = simulate(console, url, network, 1000)
    assert measured.link_utilisation is not None and measured.images_per_s is not None
    lines = (f"  {measured.images_per_s:,.0f} images/s at 3 Mbaud; 98 bytes each, 10 bits per byte",)
    detail = {"url": url, **measured.as_dict()}
    yield CLAIMS["link"].figure(measured.link_utilisation, detail, lines)
