"""The search for a board's best configuration: what can be ruled out at little cost is, the rest is exact."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.transport import BITS_PER_BYTE
from xnorcore.model.network import Network
from xnorcore.runtime.bound import most_rates
from xnorcore.runtime.rates import CALL, Rates

from ..board import Board
from .choose import Choice, chosen, judge, reached
from .estimate import estimate_area
from .inventory import config_blocks
from .needs import Need, needs
from .space import arrays, cells_limit, depths

__all__ = ["Search"]

_SEVERAL = 2
"""Passes of a network whose number is not known yet."""


@dataclass(order=True)
class _Candidate:
    """A configuration of which is known what it does not exceed: the best one first."""

    order: tuple[float, ...]
    number: int
    choice: Choice = field(compare=False)
    needed: Mapping[str, Need] = field(compare=False)
    level: int = field(compare=False)
    """How much is known: 0, by what the networks need; 1, by their programs; 2, all."""


class Search:
    """Find the configurations of a board that are the best for some networks.

    Each is first bounded by what the networks need of its array. The one with the highest bound is looked at
    again, first by its programs, then exactly; one that a better one beats already is not.

    Parameters
    ----------
    board : Board
    networks : mapping of str to Network
    images : int
        Of a call, which share the weights where they come in passes.
    geometry : Geometry, optional
        The only one to search.

    Attributes
    ----------
    frontier : list of Choice
        Those of which no other one runs as many networks as fast with as few logic cells, best first.
    done, total : int
        Arrays.
    candidates, weighed : int
        Configurations, and how many of them are on the frontier or ruled out.
    judged : int
        Those that were looked at exactly.
    """

    def __init__(
        self,
        board: Board,
        networks: Mapping[str, Network],
        images: int = CALL,
        geometry: Geometry | None = None,
    ) -> None:
        self.board, self.networks, self.images = board, networks, images
        self._own = geometry in (None, board.config.geometry)
        self._arrays = arrays(board, networks.values(), geometry)
        self.done, self.total = 0, len(self._arrays)
        self.candidates = self.weighed = self.judged = 0
        self.frontier: list[Choice] = []
        self._open: list[_Candidate] = []
        self._numbers = count()
        self._needs: dict[Hashable, Need | None] = {}
        self._bounds: dict[Hashable, tuple[int, Rates | None]] = {}

    def run(
        self,
        arrays: Callable[[int, int], None] = lambda done, total: None,
        configurations: Callable[[int, int], None] = lambda done, total: None,
        *,
        any_: bool = False,
    ) -> None:
        """Search what is left; with `any_` only until something runs.

        Parameters
        ----------
        arrays, configurations : callable
            Are told how many were looked at, and how many there are.
        any_ : bool
        """
        own = self.board.config
        if not self.candidates and self._holds_own():
            self._add(judge(self.board, own, self.networks, self.images), {}, 2)
        for array in self._arrays[self.done :]:
            needed = needs(self.networks, array, self._needs)
            for config in depths(self.board, array, needed, spare=len(self.networks) > 1):
                if config == own:
                    continue
                self._add(chosen(self.board, config, self._at_most(config, needed)), needed)
            self.done += 1
            arrays(self.done, self.total)
            if any_ and self._next():
                return
        while self._next() and not any_:
            configurations(self.weighed, self.candidates)

    @property
    def best(self) -> Choice | None:
        """The one that `RULE` proposes; None if nothing runs."""
        return self.frontier[0] if self.frontier else None

    def _holds_own(self) -> bool:
        """Tell whether the board's own configuration, which may have a store, fits the part."""
        board, part = self.board, self.board.part
        if not self._own:
            return False
        cells = estimate_area(part.family.name, board.config)
        return cells <= cells_limit(board) and config_blocks(board.config, part.family) <= part.bram

    def _add(self, choice: Choice, needed: Mapping[str, Need], level: int = 0) -> None:
        self.candidates += not level or not needed
        order = tuple(-value for value in choice.key)
        heappush(self._open, _Candidate(order, next(self._numbers), choice, needed, level))

    def _next(self) -> bool:
        """Put the next best configuration on the frontier; return False if there is none."""
        while self._open:
            best = heappop(self._open)
            choice, needed = best.choice, best.needed
            if not choice.rates or any(one.beats(choice) for one in self.frontier):
                self.weighed += 1
            elif best.level == 0:
                bounds = {name: self._bound(name, choice.config, needed.get(name)) for name in self.networks}
                self._add(chosen(self.board, choice.config, bounds), needed, 1)
            elif best.level == 1:
                self.judged += 1
                self._add(judge(self.board, choice.config, self.networks, self.images), needed, 2)
            else:
                self.weighed += 1
                self.frontier.append(choice)
                return True
        return False

    def _at_most(
        self, config: DeviceConfig, needed: Mapping[str, Need]
    ) -> dict[str, tuple[int, Rates | None]]:
        """Return what the networks do not exceed on a configuration, without compiling them for it."""
        device = self.board.device
        byte_s = BITS_PER_BYTE * device.clocks_per_bit[device.baud] / device.clock_hz
        found: dict[str, tuple[int, Rates | None]] = dict.fromkeys(self.networks, (0, None))
        for name, need in needed.items():
            if not need.runs(config):
                continue
            passes, size = 1, need.image_bytes
            if not need.fits(config):
                passes, size = _SEVERAL, need.weight_bytes / self.images + need.image_bytes
            array_s, wire_s = need.beats / device.clock_hz, size * byte_s
            found[name] = passes, Rates(1 / array_s, 1 / wire_s, 1 / max(array_s, wire_s), 0)
        return found

    def _bound(self, name: str, config: DeviceConfig, need: Need | None) -> tuple[int, Rates | None]:
        """Return what a network does not exceed on a configuration, by its program there."""
        if need is None or not need.runs(config):
            return 0, None
        key: tuple[Hashable, ...] = (
            name, config.geometry, config.acc_width, config.threshold_share,
            config.act_ports, config.column_align, config.offset_bits, config.whole_windows,
            config.row_sums, config.result_lanes,
        )  # fmt: skip
        if not need.fits(config) or config.store_words:
            key += config.weight_depth, config.threshold_depth, config.store_kind
        if key not in self._bounds:
            device = replace(self.board.device, config=config)
            self._bounds[key] = reached(self.networks[name], device, self.images, most_rates)
        return self._bounds[key]
