"""Command ``train``: train a network by a recipe, export it, and measure the integer network."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import datasets
from ..boards import board_config, user_device
from ..errors import UsageError
from ..files import xnorfile
from ..files.userfile import write_file
from .bars import spark
from .console import Console, table
from .files import check_output
from .options import Parser, add_plain, integer, live
from .sizes import sizes
from .train_folder import is_data, train_folder

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..model.network import Network
    from ..train.loop import Progress
    from ..train.recipe import Recipe


def add_train(parser: Parser) -> None:
    """Add the arguments of ``train``."""
    parser.set_defaults(call=_train)
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        nargs="?",
        help="name of a recipe, a .toml file, or data: a folder or .csv file",
    )
    parser.add_argument("--list", action="store_true", help="list the recipes that come with the package")
    parser.add_argument("-o", "--output", metavar="NET.xnor", help="default: the recipe's name, .xnor")
    parser.add_argument("--seed", type=integer(0, (1 << 32) - 1), default=0, metavar="N", help="default 0")
    parser.add_argument("--epochs", type=integer(1), metavar="N", help="instead of the recipe's")
    parser.add_argument(
        "--data",
        metavar="NAME|PATH",
        help="instead of the recipe's: the name of a data set, or a folder or .npz file of your own",
    )
    parser.add_argument("--folder", metavar="FOLDER", help="where the recipe's data set is")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default) or cuda")
    parser.add_argument(
        "--threads", type=integer(1, 1024), default=1, metavar="N", help="of the CPU; default 1"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    group.add_argument(
        "--finish", action="store_true", help="export the best epoch of an interrupted run, and train no more"
    )
    group = parser.add_argument_group("of a folder or .csv file, which need no recipe")
    group.add_argument("--board", metavar="BOARD", help="that it must fit; default the simulated device")
    group.add_argument("--rate", type=integer(1), metavar="N", help="images/s that it must reach")
    group.add_argument("--label", metavar="NAME", help="column of labels; default label, or the last")
    parser.add_argument("--images", metavar="OUT.npz", help="also write the first held-out images and labels")
    parser.add_argument("--count", type=integer(1), default=200, metavar="N", help="of them; default 200")
    parser.add_argument("--html", metavar="FILE", help="write the curves of the training as one HTML page")
    add_plain(parser)


def _train(arguments: argparse.Namespace, console: Console) -> int:
    from ..train.recipes import RECIPES, load

    if arguments.list:
        return _list(console, RECIPES)
    if arguments.recipe is None:
        raise UsageError(f"which recipe? One of {', '.join(sorted(RECIPES))}, or a .toml file")
    if is_data(arguments.recipe):
        device = user_device(arguments.board, board_config(arguments.board, {}))
        if arguments.html is not None:
            raise UsageError("--html is of a recipe, and not of a folder or .csv file; see eval --html")
        return train_folder(arguments, console, device, _Show(console, live(arguments)))
    for option in ("board", "rate", "label"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option} is of a folder or .csv file, and not of a recipe")
    recipe = load(arguments.recipe)
    output = Path(arguments.output or f"{recipe.name}.xnor")
    checkpoint = _check_outputs(output, arguments.images, (arguments.recipe, arguments.data))
    if arguments.finish and not checkpoint.exists():
        raise UsageError(f"no checkpoint {str(checkpoint)!r} to finish from; start without --finish")
    if arguments.data is not None:
        recipe = replace(recipe, dataset=arguments.data)
    if arguments.epochs is not None:
        recipe = replace(recipe, epochs=arguments.epochs)
    data = datasets.load(recipe.dataset, Path(arguments.folder) if arguments.folder else None)
    if arguments.html is not None:
        from ..pages.plots import require

        require()
        check_output(arguments.html, arguments.recipe)
    from ..train.loop import held_out, train

    started = time.monotonic()
    show = _Show(console, live(arguments))
    history: list[dict[str, Any]] = []

    def save(network: Network) -> None:
        show.trained = True
        xnorfile.save(network, output)
        if arguments.images is not None:
            write_file(arguments.images, held_out(recipe, data, arguments.count))
        if arguments.html is not None:
            write_file(arguments.html, _page(recipe, data, network, history).encode())

    try:
        network = train(
            recipe, data, seed=arguments.seed, device=arguments.device, threads=arguments.threads,
            checkpoint=checkpoint, resume=arguments.resume, finish=arguments.finish, save=save,
            progress=show, step=show.step, record=history.extend,
        )  # fmt: skip
        show.end()
    except BaseException:
        if show.trained and checkpoint.exists():
            console.say(
                f"{checkpoint} holds what was trained: --resume goes on after the last whole epoch, --finish "
                "exports the best one"
            )
        raise
    value, lines = _result(network, output, time.monotonic() - started)
    if arguments.html is not None:
        value |= {"html": arguments.html, "history": history}
    console.result(value, lines)
    return 0


def _page(recipe: Recipe, data: Dataset, network: Network, history: list[dict[str, Any]]) -> str:
    from ..pages.html import document, pairs
    from ..reference import fast
    from ..report.gather import accuracy, command_line, provenance
    from ..report.page import accuracy_parts, training_parts, worst_pictures
    from ..train.loop import values

    results = fast.run(network, values(recipe, data.test_images))
    found = accuracy(network, results, data.test_labels)
    names = [
        layer.name or f"layer{number}" for number, layer in enumerate(network.layers) if layer.weight_bits
    ]
    parts = [
        pairs(_facts(recipe, network)),
        training_parts(history, names),
        accuracy_parts(found, worst_pictures(found, data.test_images, data.maximum)),
    ]
    return document(f"{network.name}: training", parts, provenance(network, None, command_line()))


def _facts(recipe: Recipe, network: Network) -> list[tuple[str, object]]:
    """What a training was, and how it ended, for its page."""
    said = network.metadata
    done = said.get("epochs_done", recipe.epochs)
    rows: list[tuple[str, object]] = [
        ("network", f"{network.name}, {sizes(network)}, {network.input.bits}-bit inputs"),
        ("data", recipe.dataset),
        ("split", said["split"]),
        ("epochs", f"{done:,} of {recipe.epochs:,}; the best one is {said['best_epoch']:,}"),
        ("validation", f"{said['validation_accuracy']:.2%} right, of {recipe.validation:,} images"),
        ("integer network", f"{said['accuracy']:.2%} right, of {said['held_out_images']:,} held-out images"),
        ("seed", said["seed"]),
        ("trained with", said["trained_with"]),
    ]
    if recipe.threshold is not None:
        rows.insert(3, ("inputs", f"1 where a pixel is {recipe.threshold} or more"))
    return rows


def _check_outputs(output: Path, images: str | None, sources: Sequence[str | None]) -> Path:
    """Refuse, before the training, files that could not be written or would replace what it reads.

    Returns the checkpoint's path.
    """
    for source in sources:
        check_output(str(output), source, regular=True)
    checkpoint = output.with_name(output.name + ".checkpoint")
    check_output(str(checkpoint), regular=True)
    for source in sources:
        check_output(images, source, regular=True)
    if images is not None and os.path.realpath(images) in map(os.path.realpath, (output, checkpoint)):
        raise UsageError(f"cannot write {images}: the network or its checkpoint goes there; rename one")
    return checkpoint


def _result(network: Network, output: Path, seconds: float) -> tuple[dict[str, Any], list[str]]:
    keys = ("accuracy", "held_out_images", "validation_accuracy", "seed", "best_epoch", "epochs_done")
    value = {"command": "train", "network": network.name, "file": str(output), "wall_s": round(seconds, 1)}
    value |= {key: network.metadata[key] for key in keys if key in network.metadata}
    line = (
        f"{network.name}: the integer network gets {value['accuracy']:.2%} of {value['held_out_images']:,} "
        f"held-out images right (epoch {value['best_epoch']}); {output} written"
    )
    return value, [line]


def _list(console: Console, recipes: dict[str, Recipe]) -> int:
    rows = [(each.name, each.dataset, _layers(each), str(each.epochs)) for each in recipes.values()]
    value = {"command": "train", "recipes": [each.plain() for each in recipes.values()]}
    console.result(value, table(rows, ("recipe", "data", "layers", "epochs")))
    return 0


def _layers(recipe: Recipe) -> str:
    convs = [
        f"conv {conv.channels} {conv.kernel[0]}x{conv.kernel[1]}"
        + (" add" if conv.add else "")
        + (" pool" if conv.pool else "")
        for conv in recipe.convs
    ]
    return ", ".join([*convs, *(["-".join(map(str, recipe.hidden))] if recipe.hidden else []), "scores"])


class _Show:
    """Progress on stderr: on a terminal curves that grow, in a log one line per ten epochs or ten seconds.

    Parameters
    ----------
    console : Console
    live : bool
        Draw curves in place; else a line for each epoch that is told.
    """

    def __init__(self, console: Console, live: bool) -> None:
        self.console, self.shown, self.best, self.live = console, time.monotonic(), "", live
        self.trained = False
        self.epochs: list[Progress] = []

    def __call__(self, state: Progress) -> None:
        """Show the state after an epoch."""
        self.best = f", best {state.best_accuracy:.2%} in epoch {state.best_epoch}"
        last = state.epoch == state.epochs
        now = time.monotonic()
        self.trained = True
        self.epochs.append(state)
        if self.live:
            self.console.block(self._curves())
        elif sys.stderr.isatty() or state.epoch % 10 == 0 or last or now - self.shown > 10:
            self.shown = now
            self.console.say(
                f"epoch {state.epoch}/{state.epochs}: loss {state.loss:.4f}, "
                f"validation {state.accuracy:.2%}{self.best}"
            )

    def _curves(self) -> list[str]:
        """Return the state, and below it small curves of the epochs so far; all of it fits 40 columns."""
        state = self.epochs[-1]
        curves = {
            "loss": ([each.loss for each in self.epochs], f"{state.loss:.4f}"),
            "validation": ([each.accuracy for each in self.epochs], f"{state.accuracy:.2%}"),
        }
        for name in ("flips", "dead"):
            shares = [max(getattr(each, name), default=0.0) for each in self.epochs]
            curves[name] = shares, f"{shares[-1]:.1%}"
        return [
            f"epoch {state.epoch}/{state.epochs}: validation {state.accuracy:.2%}",
            self.best.removeprefix(", "),
            *(f"  {name:11}{spark(values, 16):16} {last}" for name, (values, last) in curves.items()),
        ]

    def step(self, epoch: int, done: int, total: int) -> None:
        """Show where in an epoch training is, on a terminal."""
        if sys.stderr.isatty() and not (self.live and self.epochs):
            self.console.count(f"epoch {epoch}{self.best}; batch", done, total)

    def end(self) -> None:
        """Leave the last state standing."""
        if self.live and self.epochs:
            self.console.say("\n".join(self._curves()))
