"""``boards --choose`` and ``build --for``: the configuration that a search finds, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from xnorcore import zoo
from xnorcore.cli.console import Console, table
from xnorcore.errors import BuildError, UsageError

if TYPE_CHECKING:
    from xnorcore.isa.device import DeviceConfig, Geometry
    from xnorcore.model.network import Network

    from ..board import Board
    from ..measure.choose import Choice
    from ..measure.search import Search

__all__ = ["choose", "for_network"]

_SHOWN = 12


def choose(name: str, networks: str | None, images: int | None, console: Console) -> int:
    """Search a board's configurations for some networks, print the frontier, and propose one."""
    from ..board import find_board
    from ..measure.choose import CALL, judge
    from ..measure.search import Search

    board, images = find_board(name, sim=False), images or CALL
    names = (
        zoo.names() if networks is None else [name.strip() for name in networks.split(",") if name.strip()]
    )
    if not names:
        raise UsageError("--networks names none; for instance --networks digits,fashion")
    found = {name: zoo.load(name) for name in names}
    search = Search(board, found, images)
    interrupted = False
    try:
        search.run(*_counting(board, console))
    except KeyboardInterrupt:
        interrupted = True
    now = judge(board, board.config, found, images)
    value = {
        "command": "boards",
        "board": board.name,
        "networks": names,
        "call_images": images,
        "arrays": {"searched": search.done, "all": search.total},
        "configurations": search.candidates,
        "judged": search.judged,
        "proposed": search.best.as_dict() if search.best else None,
        "now": now.as_dict(),
        "frontier": [choice.as_dict() for choice in search.frontier],
    }
    console.result(value, _lines(search, now, interrupted))
    if interrupted:
        raise KeyboardInterrupt
    return 0 if search.best else 1


def for_network(board: Board, name: str, console: Console, geometry: Geometry | None = None) -> DeviceConfig:
    """Return the best configuration of a board for one network, which is said.

    Parameters
    ----------
    board : Board
    name : str
        Of a packaged network, or of a file.
    console : Console
    geometry : Geometry, optional
        The only one to choose from.

    Raises
    ------
    BuildError
        If none runs it: what is missing, and which boards could.
    UsageError
        If none of that geometry does.
    """
    from ..measure.choose import obstacle
    from ..measure.search import Search

    network = zoo.load(name)
    search = Search(board, {name: network}, geometry=geometry)
    search.run(*_counting(board, console))
    best = search.best
    if best is None and geometry:
        raise UsageError(
            f"no configuration of {board.name} with an array of {geometry} runs {name}; leave --geometry out"
        )
    if best is None:
        raise BuildError(
            f"no configuration of {board.name} runs {name}: {obstacle(board, network)}; "
            f"{_others(board, name, network)}"
        )
    rate, passes = best.rates[name], best.passes[name]
    console.say(
        f"{board.name}, for {name}: {_described(best.config)}; estimated {best.cells:,} logic cells of "
        f"{board.part.lut4:,}, {best.blocks} of {board.part.bram} memory blocks; "
        f"{'one pass' if passes == 1 else f'{passes} passes'}, {_figure(rate.images_per_s)} images/s "
        f"({_figure(rate.device_images_per_s)} of the array)"
    )
    return best.config


def _counting(board: Board, console: Console) -> tuple[Callable[[int, int], None], ...]:
    """Return what shows how far a search is."""
    return tuple(console.counting(f"{board.name}: {what}") for what in ("arrays", "configurations"))


def _others(board: Board, name: str, network: Network) -> str:
    from ..board import all_boards
    from ..measure.search import Search

    able = []
    for other in all_boards().values():
        search = Search(other, {name: network})
        if other is not board:
            search.run(any_=True)
        if search.best:
            able.append(other.name)
    return f"boards that could: {', '.join(able)}" if able else "no other board could"


def _described(config: DeviceConfig) -> str:
    fields = ("weight_depth", "threshold_depth", "act_depth", "program_depth", "line_bytes", "acc_width")
    values = [f"{field}={getattr(config, field)}" for field in fields if getattr(config, field)]
    return f"{config.geometry}, " + ", ".join([*values, *_kinds(config)])


def _kinds(config: DeviceConfig) -> list[str]:
    """Return the options that are numbers of something else than words."""
    found = [f"threshold_share={config.threshold_share}"]
    found += ["whole_windows=1"] if config.whole_windows else []
    return found + (["act_ports=1"] if config.act_ports == 1 else [])


def _lines(search: Search, now: Choice, interrupted: bool) -> list[str]:
    from ..measure.choose import RULE, obstacle
    from ..measure.places import build_command
    from ..measure.space import cells_limit

    board, best, frontier = search.board, search.best, search.frontier
    lines = [
        f"{board.title}, {board.part.name}: {search.candidates:,} configurations of {search.done} of "
        f"{search.total} arrays" + (", then interrupted" if interrupted else ""),
        f"up to {cells_limit(board):,} of {board.part.lut4:,} logic cells (estimated), "
        f"{board.part.bram} memory blocks, at {board.true_hz / 1e6:g} MHz and {board.baud:,} baud",
        "",
    ]
    if best is None:
        if not search.total:
            lines[0] = f"{board.title}, {board.part.name}: no array is small enough"
        if not interrupted:
            lines.append(f"none of them runs {', '.join(search.networks)}:")
            lines += [f"  {name}: {obstacle(board, network)}" for name, network in search.networks.items()]
        return lines
    rows = [_row("proposed" if choice is best else "", choice) for choice in frontier[:_SHOWN]]
    rows.append(_row("now", now))
    head = (
        "",
        "array",
        "weights",
        "starts",
        "maps",
        "kind",
        "cells",
        "blocks",
        "one pass",
        "in passes",
        "images/s",
        "of the array",
    )
    lines += table(rows, head, drop=("starts", "maps", "kind"))
    if len(frontier) > _SHOWN:
        lines.append(f"{len(frontier) - _SHOWN} more that are worse by the rule, but smaller: --json")
    lines += ["", f"rule: {RULE}"]
    if any(count > 1 for choice in (best, now) for count in choice.passes.values()):
        shared = f"{search.images:,} images, which share the weights" if search.images > 1 else "one image"
        lines.append(f"in passes: of a call of {shared}")
    if best.config == board.config:
        return [*lines, "the board's own configuration is the best one"]
    lines.append(f"proposed: {build_command(board, best.config)}")
    changes = [_change(name, now, best) for name in search.networks]
    return [*lines, *(f"  {change}" for change in changes)]


def _row(mark: str, choice: Choice) -> tuple[str, ...]:
    c, passes = choice.config, choice.passes
    kind = "" if c.convolution else "dense"
    kind = "windows" if c.whole_windows else f"columns at {c.column_align}" if c.column_align > 1 else kind
    kind += f"{', ' if kind else ''}SPRAM" if choice.single_blocks else ""
    one = [name for name, count in passes.items() if count == 1]
    more = [name for name, count in passes.items() if count > 1]
    return (
        mark,
        str(c.geometry),
        f"{c.weight_depth:,}",
        f"{c.threshold_depth:,}",
        f"{c.act_depth:,}",
        kind,
        f"{choice.cells:,}",
        str(choice.blocks),
        str(len(one)),
        str(len(more)),
        _figure(choice.images_per_s),
        _figure(choice.device_images_per_s),
    )


def _change(name: str, now: Choice, best: Choice) -> str:
    return f"{name}: {_said(name, now)} -> {_said(name, best)}"


def _said(name: str, choice: Choice) -> str:
    passes = choice.passes[name]
    if not passes:
        return "does not run"
    rate = f"{_figure(choice.rates[name].images_per_s)} images/s"
    return rate if passes == 1 else f"{rate} in {passes} passes"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
