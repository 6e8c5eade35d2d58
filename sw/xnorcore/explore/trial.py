"""What a worker does for a search: where a network would run, and a short training. The same anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from typing import Any

from ..boards import find_device
from ..datasets import Dataset
from ..files import xnorfile
from ..model.network import Network
from ..train.automatic import untrained
from ..train.loop import train
from ..train.recipe import Recipe
from .point import Place, own_place

__all__ = ["PLACES", "place", "trial", "work"]

PLACES = "xnorcore.places"
"""Entry-point group of searches for configurations; each takes (board, network) and returns places."""


def place(board: str, recipe: Recipe, data: Dataset, search: bool) -> list[dict[str, Any]]:
    """Return the devices of a board that run a network of a recipe, plain; the board's own one first.

    Parameters
    ----------
    board : str
    recipe : Recipe
    data : Dataset
    search : bool
        Other configurations than the board's own, too. They are searched for in any case if that one
        does not run the network in one pass.
    """
    network = untrained(recipe, data)
    own = own_place(board, find_device(board), network)
    found = [own] if own else []
    if search or own is None or own.passes > 1:
        found += [each for each in _others(board, network) if own is None or each.config != own.config]
    return [each.plain() for each in found]


def _others(board: str, network: Network) -> list[Place]:
    searches: list[Callable[[str, Network], list[Place]]]
    searches = [entry.load() for entry in metadata.entry_points(group=PLACES)]
    return [each for search in searches for each in search(board, network)]


def trial(recipe: Recipe, data: Dataset, epochs: int, seed: int) -> bytes:
    """Train by a recipe for some epochs, with one thread, and return the network's file."""
    return xnorfile.dumps(train(replace(recipe, epochs=epochs), data, seed=seed, threads=1))


def work(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call one of these functions: pieces of both kinds are done side by side."""
    return call(*arguments)
