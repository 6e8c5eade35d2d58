"""docs/soc.md and its example do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.model.network import prepare
from xnorcore.reference import golden

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.campaign
def test_the_example_counts_the_classes_that_the_reference_finds() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DOCS / "examples" / "soc.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    head, *lines = done.stdout.splitlines()
    images = int(head.split()[0])
    network = zoo.load("digits")
    values = prepare(network, zoo.test_images("digits")[0][:images])
    wanted = np.bincount(network.classify(golden.run(network, values)), minlength=10)
    assert images >= 5 and np.count_nonzero(wanted) >= 4
    assert [int(line.split(": ")[1]) for line in lines] == wanted.tolist()


def test_the_block_of_the_page_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "soc.md").read_text(), re.DOTALL)
    again = "\nfrom amaranth.hdl import Fragment\nFragment.get(core, None).prepare()\n"
    done = subprocess.run([sys.executable, "-c", block + again], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_ports_of_the_page_are_those_of_the_verilog() -> None:
    from xnorcore_hw.shells.pins import AxiStreamPins, UartPins

    page = (DOCS / "soc.md").read_text()
    table = page[page.index("| port |") :]
    named = set(
        re.findall(r"`([\w*]+)`", "".join(row.split("|")[1] for row in table.splitlines() if "|" in row))
    )
    ports = {port.name for pins in (AxiStreamPins, UartPins) for port in pins.PORTS}
    left = {name for name in ports if re.sub("_t(data|valid|ready|last|user)$", "_*", name) not in named}
    assert left == set() and named <= {
        *ports,
        *(re.sub("_t(data|valid|ready|last|user)$", "_*", name) for name in ports),
    }
