"""Arguments: the class of the parser, and the options that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import UsageError
from ..nearest import did_you_mean

if TYPE_CHECKING:
    from ..isa.device import DeviceConfig

Commands = Any
"""What ``argparse.ArgumentParser.add_subparsers`` returns; its class is private."""

EXAMPLE = "example: "
"""What the last line of a command's help begins with."""


class Formatter(argparse.HelpFormatter):
    """Help whose example stays one line, to be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLE) else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Parser whose errors are `UsageError`, and which takes no abbreviated options.

    Parameters
    ----------
    fill : callable, optional
        ``fill(parser)`` adds the arguments, when there is something to parse and not before.
    **options
        Of `argparse.ArgumentParser`.
    """

    def __init__(self, *, fill: Callable[[Parser], None] | None = None, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": Formatter, **options})
        self._fill = fill

    def fill(self) -> None:
        """Add the arguments, if they are not there yet."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def commands(self) -> dict[str, Parser]:
        """Return the parser of every command below this one."""
        below = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return {name: parser for action in below for name, parser in action.choices.items()}

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """Parse; what is not known is refused here, where the command's own options are at hand."""
        self.fill()
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            word = unknown[0].partition("=")[0]
            meant = did_you_mean(word, self._option_string_actions) if word.startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Say which choice is the nearest."""
        if action.choices is None or value in action.choices:
            return
        known = ", ".join(map(repr, action.choices))
        meant = did_you_mean(str(value), map(str, action.choices))
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{meant} (choose from {known})")


def command(
    commands: Commands,
    name: str,
    text: str,
    call: Callable[..., int] | None = None,
    fill: Callable[[Parser], None] | None = None,
    *,
    example: str = "",
) -> Parser:
    """Add a command with its ``--json`` option.

    Parameters
    ----------
    commands : Commands
    name : str
    text : str
        One sentence for the help.
    call : callable, optional
        ``call(arguments, console)`` returns the exit status; or `fill` sets it, as a default.
    fill : callable, optional
        ``fill(parser)`` adds further arguments, only if this command is the one to run.
    example : str
        Arguments to end the help with, such as ``"digits --columns 64"``.
    """
    epilog = f"{EXAMPLE}xnorcore {name} {example}".rstrip()
    parser = commands.add_parser(name, help=text, description=text, epilog=epilog, fill=fill)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(call=call, command=name)
    return parser


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return an argument type: a whole number `low` to `high`."""
    limits = f"{low} or more" if high is None else f"{low} to {high}"

    def convert(text: str) -> int:
        value = (
            int(text) if text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 19 else None
        )
        if value is None or value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {limits}")
        return value

    return convert


def seconds(text: str) -> float:
    """Argument type: 0.01 to 3600 seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0.01 to 3600")
    return value


def add_network(parser: Parser, *, images: bool = False, held: bool = False) -> None:
    """Add NET, which may be what the device holds, and, if asked, IN.npy."""
    more = "; held: the one that the device at --port holds" if held else ""
    parser.add_argument("network", metavar="NET", help=f"name of a packaged network, or an .xnor file{more}")
    if images:
        parser.add_argument(
            "images",
            metavar="IN",
            help="images: an .npy file (bool or integers), pictures (a PNG or JPEG file, a folder, - for one "
            "on stdin), or the name or path of a data set",
        )


def add_output(parser: Parser, *, required: bool) -> None:
    """Add -o and --classes."""
    parser.add_argument(
        "-o", "--output", metavar="OUT.npy", required=required, help="where the scores (or output bits) go"
    )
    parser.add_argument("--classes", action="store_true", help="write one class number per image instead")


def add_geometry(parser: Parser) -> None:
    """Add the options that choose a device's array and memories."""
    group = parser.add_argument_group("device")
    for name, text in (
        ("rows", "images that share the weights, 1 to 8"),
        ("columns", "output channels at once, 4 to 128"),
        ("width", "bits of a word, 8 to 128"),
    ):
        group.add_argument(f"--{name}", type=integer(0), metavar="N", help=text)
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=N",
        help="any other field of DeviceConfig, for instance act_depth=4096",
    )
    group.add_argument("--board", metavar="BOARD", help="the device of a board, but for what is given")


def add_simulator(parser: Parser, *, link: str) -> None:
    """Add the options of the simulated device; `link` is the default link mode."""
    add_geometry(parser)
    group = parser.add_argument_group("simulator")
    group.add_argument(
        "--link",
        choices=("uart", "direct"),
        default=link,
        help=f"simulate every bit on the wire, or pass frames as bytes; default {link}",
    )
    own = ", or the board's"
    group.add_argument(
        "--baud", type=integer(1), metavar="N", help=f"of the simulated wire; default 3000000{own}"
    )
    group.add_argument(
        "--clock-hz", type=integer(1), metavar="N", help=f"of the device; default 12000000{own}"
    )
    engines = "compiled (default), amaranth (Amaranth's own simulator, slow) or cxxrtl (needs Yosys)"
    group.add_argument("--engine", default="compiled", metavar="NAME", help=engines)


def add_batch(parser: Parser) -> None:
    """Add --batch and --no-verify."""
    parser.add_argument(
        "--batch",
        type=integer(1),
        metavar="B",
        help="images given to the device per call; with fewer than it has rows, the rows may share an image; "
        "default all",
    )
    parser.add_argument("--no-verify", action="store_true", help="do not read back what was loaded")
    add_plain(parser)


def add_plain(parser: Parser) -> None:
    """Add --plain."""
    parser.add_argument("--plain", action="store_true", help="on a terminal, too, lines as in a log")


def live(arguments: argparse.Namespace) -> bool:
    """Return whether to draw in place: on a terminal, unless ``--plain`` says otherwise."""
    return sys.stderr.isatty() and not getattr(arguments, "plain", False)


def given_options(arguments: argparse.Namespace) -> dict[str, int]:
    """Return what `add_geometry` collected besides ``--board``, by the names of `DeviceConfig.parse`.

    Raises
    ------
    UsageError
        If a ``--set`` is malformed, or something is given twice.
    """
    given = {name: getattr(arguments, name) for name in ("rows", "columns", "width")}
    options: dict[str, int] = {name: value for name, value in given.items() if value is not None}
    for item in arguments.set:
        name, equals, text = item.partition("=")
        if not equals or not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise UsageError(f"--set {item!r} is not NAME=N, for instance act_depth=4096")
        if name in options:
            raise UsageError(f"--set {item}: {name} is given twice")
        options[name] = int(text)
    return options


def device_config(arguments: argparse.Namespace) -> DeviceConfig:
    """Return the device that `add_geometry` collected: the board's, or the default, but for what is given.

    Raises
    ------
    UsageError
        As `given_options`; or there is no such board.
    GeometryError
        If an option is unknown or a value illegal.
    """
    from ..boards import board_config

    return board_config(arguments.board, given_options(arguments))


def sim_spec(arguments: argparse.Namespace) -> str:
    """Return the part after ``sim:`` of the URL that `add_simulator` collected.

    Raises
    ------
    UsageError, GeometryError
        As `device_config`.
    """
    device_config(arguments)
    if not arguments.engine.isalnum():
        raise UsageError(f"--engine {arguments.engine!r} is not the name of an engine")
    board = {} if arguments.board is None else {"board": arguments.board}
    options: dict[str, int | str] = {**board, **given_options(arguments)}
    options |= {"link": arguments.link, "engine": arguments.engine}
    if arguments.baud is not None:
        options["baud"] = arguments.baud
    if arguments.clock_hz is not None:
        options["clock_hz"] = arguments.clock_hz
    return ",".join(f"{name}={value}" for name, value in options.items())
