"""The commands: which there are, and the parser that finds them.

A command's module is imported when that command runs: the help, and every other command, do without it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata

from .. import __version__
from .options import Parser, command

__all__ = ["COMMANDS", "GROUP", "build"]

GROUP = "xnorcore.commands"
"""Entry-point group of further commands; each entry is called with a `Commands` and adds its own."""

COMMANDS = (
    ("demo", "simulate", "Classify packaged images on the simulated accelerator."),
    ("sim", "simulate", "Run a network on the simulated accelerator and measure it."),
    ("run", "simulate", "Run a network on the device at a port."),
    ("classify", "classify", "Say what is on pictures: class and scores."),
    ("zoo", "zoo_table", "List the packaged networks."),
    ("info", "models", "Describe a network, and say what it needs of a device."),
    ("plan", "plan", "Say which boards run a network, how fast, and what the others lack."),
    ("golden", "golden", "Run a network on the reference model."),
    ("listing", "listing", "Print a network's program: loops, addresses, beats."),
    ("sample", "sample", "Write images for a network: held-out ones if there are any, else random ones."),
    ("import", "importing", "Turn a network of another framework into an .xnor file, exactly."),
    ("train", "train", "Train a network by a recipe and export it."),
    ("explore", "explore", "Search networks for data and a board: accuracy, images/s and logic cells."),
    ("data", "data", "Find data sets and check them; nothing is downloaded."),
    ("eval", "evaluate", "Measure the accuracy of a network on a data set."),
    ("verify", "verify",
     "Compare golden, fast, machine, RTL and a board layer by layer; or random networks."),
    ("report", "report", "Show a network on a device as one page: cycles, memory, accuracy, floorplan."),
    ("devices", "plugged", "List the boards that are plugged in, and what answers there."),
    ("doctor", "doctor", "Say what is installed, what is missing and what mends it."),
    ("completion", "completion", "Print what makes a shell complete commands, names and files at a Tab."),
)  # fmt: skip
"""Name, module of this package, and one sentence for the help. ``add_NAME(parser)`` of the module adds the
arguments, and sets `call`."""

EXAMPLES = {
    "demo": "--net fashion --count 8",
    "sim": "digits IN.npy --board ulx3s-25f -o OUT.npy",
    "run": "digits IN.npy --port sim: -o OUT.npy --check",
    "classify": "mnist-lfc photo.jpg",
    "zoo": "",
    "info": "digits --board icebreaker",
    "plan": "digits",
    "golden": "digits IN.npy -o OUT.npy",
    "listing": "digits --board icebreaker",
    "sample": "digits -o IN.npy --count 8 --labels LABELS.npy",
    "import": "model.onnx -o model.xnor --inputs bipolar --report",
    "train": "FOLDER --board icebreaker -o mine.xnor",
    "explore": "digits --board icebreaker --workers 2",
    "data": "digits",
    "eval": "digits --data held-out --html page.html",
    "verify": "digits --port sim:",
    "report": "fashion --board ulx3s-25f -o page.html",
    "devices": "--list",
    "doctor": "--warm",
    "completion": "bash",
}
"""Arguments of each, as the last line of its help shows them."""


def build() -> Parser:
    """Return the parser of all commands; ``call(arguments, console)`` of its result runs one.

    Without a command, the one that runs prints the help.
    """
    parser = Parser(
        prog="xnorcore",
        description="Binarized neural networks on small FPGAs, simulated or real.",
        epilog="Exit status: 0 done, 1 a check failed, 2 user error, 130 interrupted.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"xnorcore {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, module, text in COMMANDS:
        command(commands, name, text, fill=_filler(name, module), example=EXAMPLES.get(name, ""))
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        entry.load()(commands)
    parser.set_defaults(call=lambda arguments, console: _help(parser))
    return parser


def _filler(name: str, module: str) -> Callable[[Parser], None]:
    def fill(parser: Parser) -> None:
        getattr(import_module(f".{module}", __package__), f"add_{name}")(parser)

    return fill


def _help(parser: Parser) -> int:
    parser.print_help()
    return 0
