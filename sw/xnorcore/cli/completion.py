"""Command ``completion``, and the words that a shell asks for while its user types."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import argcomplete
from argcomplete.completers import BaseCompleter, FilesCompleter
from argcomplete.shell_integration import shellcode

if TYPE_CHECKING:
    from .console import Console
    from .options import Parser

__all__ = ["SHELLS", "add_completion", "complete", "words"]

SHELLS = ("bash", "zsh", "fish")
"""Whose users can have it."""


def add_completion(parser: Parser) -> None:
    """Add the arguments of ``completion``."""
    parser.add_argument("shell", choices=SHELLS, help="whose script to print")
    parser.set_defaults(call=_completion)


def _completion(arguments: argparse.Namespace, console: Console) -> int:
    script = shellcode(["xnorcore"], shell=arguments.shell)
    if console.json:
        console.result({"shell": arguments.shell, "script": script}, ())
    else:
        print(script)  # as it is, at any width: a shell reads it
    return 0


def complete(parser: Parser) -> None:
    """Answer the shell that asks through the environment, and end the process."""
    typed = os.environ.get("COMP_LINE", "").split()
    for name, command in parser.commands().items():
        if name in typed:
            command.fill()  # before argcomplete looks
    argcomplete.autocomplete(parser, default_completer=_Words(), always_complete_options="long")


class _Words(BaseCompleter):
    """`words`, as argcomplete asks for them."""

    def __call__(self, *, prefix: str, action: argparse.Action, **_: Any) -> Iterable[str]:
        return words(prefix, action)


def words(prefix: str, action: argparse.Action, **_: Any) -> Iterable[str]:
    """Return what may stand where an argument is, by the name that the help gives it.

    Parameters
    ----------
    prefix : str
        What has been typed of it.
    action : argparse.Action
        The argument.
    """
    if action.metavar in ("N", "S", "B", "I", "K", "T", "RxCxW"):
        return []
    names, kinds = _NAMES.get(str(action.metavar), (list, ()))
    return [*(name for name in names() if name.startswith(prefix)), *FilesCompleter(kinds)(prefix)]


def _networks() -> Iterable[str]:
    from .. import zoo

    return zoo.names()


def _boards() -> Iterable[str]:
    from ..boards import board_devices

    return board_devices()


def _recipes() -> Iterable[str]:
    from ..train.recipes import RECIPES

    return sorted(RECIPES)


def _datasets() -> Iterable[str]:
    from ..datasets import DATASETS

    return sorted(DATASETS)


_NAMES: dict[str, tuple[Callable[[], Iterable[str]], tuple[str, ...]]] = {
    "NET": (_networks, ("xnor",)),
    "BOARD": (_boards, ("none",)),
    "RECIPE": (_recipes, ("toml", "csv")),
    "NAME|PATH": (_datasets, ()),
    "IN": (_datasets, ()),
    "URL": (lambda: ("auto", "sim:"), ()),
    "SOURCE": (list, ("onnx",)),
}
"""By the name in the help: what is known, and the endings of files (of folders, too); none are all."""
