"""Everything that an exported core comes with: Verilog, ports, a testbench and how to run it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from xnorcore.errors import UsageError
from xnorcore.files.userfile import write_file
from xnorcore.isa.device import DeviceConfig

from ..shells.pins import Port
from .vectors import Vectors
from .verilog import ports_page, ports_value

__all__ = ["TOP", "contents", "make_folder", "write_files"]

TOP = "xnorcore"
"""Name of the exported module."""

_README = """# {top}, a binarized neural network core

{shell} shell, {geometry}{network}. Module `{top}` in `{top}.v`; its ports are in `ports.md`
and, for programs, in `ports.json`. The other files are a testbench and what it plays:
{plays}.

    iverilog -g2005 -o testbench.vvp testbench.v {top}.v && vvp testbench.vvp
    verilator --binary -Wno-fatal -Wno-lint -Wno-style testbench.v {top}.v && ./obj_dir/Vtestbench

Run them in this folder. Either prints PASS, or FAIL and why, with an exit status other than 0. The core is
Verilog 2005, for which Icarus takes it only with `-g2005`.
"""


def contents(
    shell: str,
    verilog: str,
    ports: Sequence[Port],
    config: DeviceConfig,
    vectors: Vectors,
    played: Mapping[str, Sequence[int]],
    divisor: int,
    network: str,
) -> dict[str, str]:
    """Return the files by name.

    Parameters
    ----------
    shell : str
        ``stream`` or ``uart``.
    verilog : str
    ports : sequence of Port
    config : DeviceConfig
    vectors : Vectors
    played : mapping of str to sequence of int
        Of these, what the shell takes and gives.
    divisor : int
        Clock cycles of a bit on the UART.
    network : str
        Name of the network that is baked; empty, if none is.
    """
    loads = "" if network else "the requests that load a small network, "
    plays = f"{loads}{len(vectors.images)} images, and the scores of the reference model"
    baked = f", with network {network!r} in its memories from the start" if network else ""
    title = {"stream": "Stream", "uart": "UART"}[shell]
    return {
        f"{TOP}.v": verilog,
        "ports.md": ports_page(TOP, ports),
        "ports.json": json.dumps({"module": TOP, "ports": ports_value(ports)}, indent=1) + "\n",
        "testbench.v": _testbench(shell, played, vectors, divisor),
        "README.md": _README.format(
            top=TOP, shell=title, geometry=config.geometry, network=baked, plays=plays
        ),
        # A word more than there are: a file without any is an error to some simulators.
        **{f"{name}.hex": "".join(f"{word:03x}\n" for word in [*words, 0]) for name, words in played.items()},
    }


def _testbench(shell: str, played: Mapping[str, Sequence[int]], vectors: Vectors, divisor: int) -> str:
    """Fill in the sizes that the template asks for."""
    total = sum(map(len, played.values()))
    # A byte takes two cycles, or ten bits, and pauses; what a request does may take as long again.
    each = 20 if shell == "stream" else 30 * divisor
    values = {name: len(words) for name, words in played.items()}
    values |= {"divisor": divisor, "limit": 10_000 + each * total + vectors.cycles}
    text = Path(__file__).with_name(f"{shell}.v").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there.

    Raises
    ------
    UsageError
        If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make folder {folder}: {error.strerror}") from error


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files into a folder.

    Raises
    ------
    UsageError
        If that is not possible.
    """
    for name, text in texts.items():
        write_file(folder / name, text.encode())
