"""The configurations of a board that suit a network, as a search for networks asks for them."""

from __future__ import annotations

from xnorcore.explore.point import Place
from xnorcore.isa.device import DeviceConfig, options
from xnorcore.model.network import Network

from ..board import Board, find_board
from .search import Search

__all__ = ["build_command", "places"]

_SIZES = ("rows", "columns", "width")


def places(board: str, network: Network) -> list[Place]:
    """Return the frontier of a board for one network; entry point of ``xnorcore.places``.

    Parameters
    ----------
    board : str
        Its name.
    network : Network
        Weights do not matter.
    """
    found = find_board(board)
    search = Search(found, {network.name: network})
    search.run()
    return [
        Place(
            choice.config,
            build_command(found, choice.config),
            choice.passes[network.name],
            choice.cells,
            round(rate.images_per_s, 1),
            round(rate.latency_us, 1),
        )
        for choice in search.frontier
        for rate in (choice.rates[network.name],)
    ]


def build_command(board: Board, config: DeviceConfig) -> str:
    """Return the command that builds a configuration."""
    own, wanted = options(board.config), options(config)
    words = [f"xnorcore build {board.name}"]
    if any(own[size] != wanted[size] for size in _SIZES):
        words.append(f"--geometry {config.geometry}")
    words += [
        f"--set {field}={wanted[field]}"
        for field in own
        if field not in _SIZES and own[field] != wanted[field]
    ]
    return " ".join(words)
