"""``python -m xnorcore.train RECIPE -o NETWORK.xnor``: train, export and measure one network."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from .. import xnorfile
from ..datasets import DATASETS, Dataset
from ..errors import UsageError, XnorcoreError
from .recipe import RECIPES

if TYPE_CHECKING:
    from .loop import Progress


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 2 user error, 130 interrupted."""
    parser = _Parser(prog="python -m xnorcore.train", description="Train a network and export it.")
    parser.add_argument("recipe", help=f"one of: {', '.join(sorted(RECIPES))}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .xnor file to write")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the data set is")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; default: 1")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--images", type=Path, help="also write the first held-out images to this .npz file")
    parser.add_argument("--count", type=int, default=200, help="how many of them; default: 200")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    try:
        return _run(parser.parse_args(argv))
    except XnorcoreError as error:
        print(f"xnorcore: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nxnorcore: interrupted; --resume goes on after the last whole epoch", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    if options.recipe not in RECIPES:
        raise UsageError(f"unknown recipe {options.recipe!r}; known: {', '.join(sorted(RECIPES))}")
    for key, least in (("threads", 1), ("count", 1)):
        if getattr(options, key) < least:
            raise UsageError(f"--{key} is {getattr(options, key)}, but must be at least {least}")
    for path in (options.output, options.images):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"no directory {str(path.parent)!r}; make it first")
        if path is not None and path.is_dir():
            raise UsageError(f"{str(path)!r} is a directory; name a file")
    recipe = RECIPES[options.recipe]
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    data = DATASETS[recipe.dataset](options.data)
    from .loop import train

    start = time.monotonic()
    network = train(
        recipe, data, seed=options.seed, device=options.device, threads=options.threads,
        checkpoint=options.output.with_name(options.output.name + ".checkpoint"),
        resume=options.resume, progress=_Show(),
    )  # fmt: skip
    seconds = time.monotonic() - start
    xnorfile.save(network, options.output)
    if options.images is not None:
        xnorfile.atomic_write(options.images, held_out(data, options.count))
    result = {"network": network.name, "file": str(options.output), "wall_s": round(seconds, 1)}
    result |= {key: network.metadata[key] for key in ("accuracy", "held_out_images", "seed", "best_epoch")}
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{network.name}: the integer network gets {network.metadata['accuracy']:.2%} of "
            f"{network.metadata['held_out_images']} held-out images right; {options.output} written"
        )
    return 0


def held_out(data: Dataset, count: int) -> bytes:
    """Return the first `count` held-out images and labels as an .npz file: ``images`` and ``labels``."""
    file = io.BytesIO()
    np.savez_compressed(file, images=data.test_images[:count], labels=data.test_labels[:count])
    return file.getvalue()


class _Show:
    """Progress on stderr: one line that changes, or in a log one per ten epochs or ten seconds."""

    def __init__(self) -> None:
        self.shown = time.monotonic()

    def __call__(self, state: Progress) -> None:
        line = (
            f"epoch {state.epoch}/{state.epochs}: loss {state.loss:.4f}, validation {state.accuracy:.2%}, "
            f"best {state.best_accuracy:.2%} in epoch {state.best_epoch}"
        )
        last = state.epoch == state.epochs
        if sys.stderr.isatty():
            print(f"\r{line}\033[K", end="\n" if last else "", file=sys.stderr, flush=True)
        elif state.epoch % 10 == 0 or last or time.monotonic() - self.shown > 10:
            self.shown = time.monotonic()
            print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
