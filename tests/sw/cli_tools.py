"""What both test files of the command line share."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xnorcore.cli import main
from xnorcore.files import xnorfile
from xnorcore.model.layers import Conv2d, Dense, InputSpec, Layer, MaxPool2d
from xnorcore.model.network import Network

SMALL = ("--columns", "8", "--width", "8")
"""The array of these tests: its simulator is compiled in a second or two."""

Run = Callable[..., tuple[int, str, str]]


def network(sizes: tuple[int, ...] = (20, 12, 3), bits: int = 1, seed: int = 0) -> Network:
    """Return a random network."""
    rng = np.random.default_rng(seed)
    layers = [
        Dense(rng.choice([-1, 1], (b, a)), None if b == sizes[-1] else rng.integers(-3, 4, b))
        for a, b in pairwise(sizes)
    ]
    return Network("small", InputSpec((sizes[0],), bits), layers)


def conv_network(
    shape: tuple[int, int, int], *, channels: int = 4, pool: bool = False, **options: Any
) -> Network:
    """Return a random network of one 3 x 3 convolution of 8-bit images, and a dense layer."""
    rng = np.random.default_rng(0)
    weights = rng.choice([-1, 1], (channels, 3, 3, shape[2]))
    layers: list[Layer] = [Conv2d(weights, 255 * weights.reshape(channels, -1).sum(axis=1) // 2, **options)]
    spec = InputSpec(shape, 8)
    sizes = layers[0].output_shape(shape)
    if pool:
        layers.append(MaxPool2d())
        sizes = layers[1].output_shape(sizes)
    return Network("conv", spec, [*layers, Dense(rng.choice([-1, 1], (3, prod(sizes))))])


def write_inputs(folder: Path, count: int = 5) -> tuple[str, str]:
    """Write a small network and images for it; return both paths."""
    net = network()
    xnorfile.save(net, folder / "small.xnor")
    images = np.random.default_rng(1).integers(0, 2, (count, 20), dtype=np.uint8)
    np.save(folder / "in.npy", images)
    return str(folder / "small.xnor"), str(folder / "in.npy")


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in this process: (exit code, stdout, stderr)."""

    def run(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def uncovered() -> dict[str, str]:
    """The environment of a process whose coverage is not measured: its files are limited."""
    return {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}


def spawn(*argv: object, **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    command = [sys.executable, "-m", "xnorcore", *map(str, argv)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, **streams)


@contextmanager
def deadline(process: subprocess.Popen[str], seconds: float = 60) -> Iterator[None]:
    """Kill a process that hangs, and in any case at the end."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def one_object(text: str) -> dict[str, Any]:
    """Read stdout of a command with ``--json``: exactly one object on one line."""
    assert text.endswith("\n") and text.count("\n") == 1
    value = json.loads(text)
    assert isinstance(value, dict)
    return value
