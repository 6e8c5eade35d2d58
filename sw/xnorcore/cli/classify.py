"""The command ``classify``: what is on a picture, by the model, a simulated board or a board at a port."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..errors import UsageError, XnorcoreError
from ..model import classes
from ..model.network import Network
from ..pictures import PictureRule
from ..reference import fast
from ..runtime.accelerator import Accelerator
from .console import Console, table
from .drawing import gallery, picture
from .held import user_network
from .inputs import Inputs, add_fit, from_pixels, picture_inputs
from .options import Parser, add_network, integer
from .watch import frames

_DRAWN = 8
"""Pictures drawn, if nothing is said."""
_SHOWN = 3
"""Classes with their scores, of each picture."""

Runs = Callable[[NDArray[np.uint8]], NDArray[Any]]


def add_classify(parser: Parser) -> None:
    """Add the arguments of ``classify``."""
    parser.set_defaults(call=_classify)
    add_network(parser, held=True)
    parser.add_argument(
        "pictures",
        nargs="*",
        metavar="PICTURE",
        help="PNG or JPEG files, folders of them, - for one on stdin",
    )
    add_fit(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--port", metavar="URL", help="on the device at a port: /dev/ttyUSB1, sim:, netlist:FOLDER"
    )
    group.add_argument("--board", metavar="BOARD", help="on the simulated device of a board")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--camera", type=integer(0, 63), metavar="N", help="pictures of a camera, until Ctrl-C; needs OpenCV"
    )
    group.add_argument(
        "--watch", type=Path, metavar="FOLDER", help="pictures that come into a folder, until Ctrl-C"
    )
    parser.add_argument("--count", type=integer(1), metavar="N", help="end after so many of these")
    parser.add_argument(
        "--draw", type=integer(0), default=_DRAWN, metavar="N", help=f"pictures drawn; default {_DRAWN}"
    )


def _classify(arguments: argparse.Namespace, console: Console) -> int:
    endless = arguments.camera is not None or arguments.watch is not None
    if endless == bool(arguments.pictures):
        raise UsageError("give pictures, or --camera N, or --watch FOLDER")
    if endless and arguments.json and not arguments.count:
        raise UsageError("--json prints one object at the end; say with --count after how many pictures")
    network = user_network(arguments.network, arguments.port)
    fit = pictures.rule(network, arguments.fit, arguments.invert)
    started = time.perf_counter()
    with ExitStack() as stack:
        run, engine = _engine(arguments, console, network, stack)
        if endless:
            found, text = _loop(arguments, console, network, fit, run)
            drawn: list[str] = []
        else:
            inputs = picture_inputs(network, arguments.pictures, fit)
            found, text = _answers(network, inputs.names, run(inputs.values)), inputs.said
            drawn = _draw(inputs, found, fit, arguments.draw)
    value = {
        "command": "classify",
        "network": network.name,
        "engine": engine,
        "rule": text,
        "images": len(found),
        "pictures": found,
        "wall_s": time.perf_counter() - started,
    }
    if endless:
        console.result(value, [f"{len(found):,} pictures"])
    else:
        console.result(value, [*drawn, *_lines(found), "", f"seen as: {text}; engine {engine}"])
    return 0


def _engine(
    arguments: argparse.Namespace, console: Console, network: Network, stack: ExitStack
) -> tuple[Runs, str]:
    """Return what computes outputs, and its name."""
    url = arguments.port
    if arguments.board is not None:
        url = f"sim:board={arguments.board},link=direct"
    if url is None:
        return lambda values: fast.run(network, values), "fast"
    accelerator = stack.enter_context(Accelerator.open(url, progress=console.progress))
    accelerator.load(network)
    name = f"simulated {arguments.board}" if arguments.board is not None else url
    return accelerator.infer, name


def _answers(network: Network, names: tuple[str, ...], results: NDArray[Any]) -> list[dict[str, Any]]:
    """What each picture shows: its class, and the scores of all, the highest first."""
    shown = classes.names(network.metadata, network.class_count)
    found = network.classify(results)
    scores = network.scores(results)[:, : network.class_count]
    answers = []
    for name, number, row in zip(names, found.tolist(), scores, strict=True):
        # The class comes first, also among equals.
        order = sorted(range(len(row)), key=lambda each: (each != number, -row[each], each))
        answers.append(
            {
                "picture": name,
                "class": shown[number],
                "number": number,
                "scores": [{"class": shown[each], "score": round(float(row[each]), 4)} for each in order],
            }
        )
    return answers


def _lines(found: list[dict[str, Any]]) -> list[str]:
    return table(
        [(each["picture"], each["class"], _scores(each)) for each in found], ("picture", "class", "scores")
    )


def _scores(answer: dict[str, Any]) -> str:
    return ", ".join(f"{each['class']} {each['score']:g}" for each in answer["scores"][:_SHOWN])


def _draw(inputs: Inputs, found: list[dict[str, Any]], fit: PictureRule, most: int) -> list[str]:
    """Draw the first pictures, as the network saw them."""
    seen = inputs.pixels
    if seen is None or not most:
        return []
    drawn = [picture(each, fit.maximum) for each in seen[:most]]
    captions = [f"{Path(each['picture']).name[:24]}: {each['class']}" for each in found[:most]]
    return gallery(drawn, captions, min(shutil.get_terminal_size().columns, 120))


def _loop(
    arguments: argparse.Namespace, console: Console, network: Network, fit: PictureRule, run: Runs
) -> tuple[list[dict[str, Any]], str]:
    """Classify one picture after the other as they come, a line for each; what is damaged is passed over."""
    found: list[dict[str, Any]] = []
    for name, take in frames(arguments.camera, arguments.watch):
        try:
            inputs = from_pixels(network, fit.pixels(take())[np.newaxis], [name], fit)
        except XnorcoreError as error:
            console.say(f"xnorcore: {error}")
            continue
        (answer,) = _answers(network, (name,), run(inputs.values))
        if not arguments.json:
            print(f"{name}  {answer['class']}  {_scores(answer)}", flush=True)
        # Without --json nobody reads them at the end.
        found.append(answer if arguments.json else {"picture": name})
        if arguments.count and len(found) >= arguments.count:
            break
    return found, fit.text
