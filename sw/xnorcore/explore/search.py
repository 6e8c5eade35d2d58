"""The search: where candidates run, then rounds of trainings, each longer and with fewer candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import xnorfile
from ..files.userfile import write_file
from ..train.recipes.writing import dumps
from ..workers import Pool
from .frontier import fronts
from .point import Place, Point
from .record import Record
from .trial import place, trial, work

__all__ = ["FACTOR", "Found", "Search", "rounds"]

FACTOR = 3
"""Of a round's candidates one in so many goes on, with so many times the epochs."""
LEAST = 4
"""Candidates that go on, if there are as many."""
ROUNDS = 3


@dataclass(frozen=True)
class Found:
    """A trained network on one device.

    Attributes
    ----------
    point : Point
    place : Place
    validation, accuracy : float
        Of the part that chose, and of the held-out images, which choose nothing.
    """

    point: Point
    place: Place
    validation: float
    accuracy: float

    @property
    def goals(self) -> tuple[float, ...]:
        """What a search wants to be large."""
        return self.validation, self.place.images_per_s, -float(self.place.logic_cells or 0)


@dataclass(frozen=True)
class _Piece:
    """Work for a worker: whose, what becomes of the result, and a function with its arguments."""

    point: Point
    ready: Callable[[Any], None]
    arguments: tuple[Any, ...]


def rounds(epochs: int) -> list[int]:
    """Return the epochs of each round; the last one has all of them."""
    return sorted({max(1, epochs // FACTOR**step) for step in range(ROUNDS)})


class Search:
    """A search, which goes on where its record ends.

    Parameters
    ----------
    points : sequence of Point
    board : str
    folder : pathlib.Path
        Takes record, recipes and networks.
    record : Record
    pool : Pool
        Does the work.
    rate : float
        Images/s that a device must reach.
    seed : int
        Of the trainings.
    progress : callable
        Called with (what is done, pieces done, pieces in all).

    Attributes
    ----------
    tried : list of (int, int)
        Epochs and candidates of each round.
    """

    def __init__(
        self,
        points: Sequence[Point],
        board: str,
        folder: Path,
        record: Record,
        pool: Pool,
        *,
        rate: float = 0,
        seed: int = 0,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        self.points, self.board, self.folder, self.record = points, board, folder, record
        self.pool, self.rate, self.seed, self.progress = pool, rate, seed, progress
        self.tried: list[tuple[int, int]] = []
        self._data: dict[str, Any] = {}

    def run(self, epochs: int) -> list[Found]:
        """Search, and return what no other one beats, the most accurate first.

        Raises
        ------
        UsageError
            If no candidate runs on the board at the wanted rate, or a file cannot be written.
        ClusterError
            If the workers are gone; the record holds what was done.
        """
        self._run("configurations", self._places_of(self.points, False))
        left = [point for point in self.points if self._places(point)]
        if not left:
            raise UsageError(
                f"no network of {len(self.points)} that were tried runs on {self.board} at that rate; take "
                "another board, or lower --rate"
            )
        steps = rounds(epochs)
        for number, step in enumerate(steps):
            what = f"trainings of {step} epochs"
            if number == len(steps) - 1:
                # Neither waits for the other.
                self._run(
                    f"{what}, and configurations",
                    self._trials(left, step, True) + self._places_of(left, True),
                )
            else:
                self._run(what, self._trials(left, step, False))
            self.tried.append((step, len(left)))
            if number < len(steps) - 1:
                left = self._best(left, step)
        found = self._found(left, epochs)
        front = fronts([each.goals for each in found])
        kept = [each for each, number in zip(found, front, strict=True) if number == 0]
        return sorted(kept, key=lambda each: (*(-goal for goal in each.goals), each.point.name))

    def _places_of(self, points: Sequence[Point], searched: bool) -> list[_Piece]:
        """Find the devices of points, unless they are known."""

        def piece(point: Point) -> _Piece:
            key = _place_key(point, searched)

            def ready(found: list[dict[str, Any]]) -> None:
                self.record.places[key] = list(map(Place.parse, found))

            return _Piece(point, ready, (place, self.board, point.recipe, self._kept(point), searched))

        return [piece(point) for point in points if _place_key(point, searched) not in self.record.places]

    def _trials(self, points: Sequence[Point], epochs: int, last: bool) -> list[_Piece]:
        """Train points, unless their networks are known; of the last round they are written."""

        def known(point: Point) -> bool:
            there = not last or self.file(point, ".xnor").exists()
            return _trial_key(point, epochs) in self.record.trials and there

        def piece(point: Point) -> _Piece:
            def ready(content: bytes) -> None:
                network = xnorfile.loads(content)
                if last:
                    write_file(self.file(point, ".toml"), dumps(point.recipe).encode())
                    write_file(self.file(point, ".xnor"), content)
                said = network.metadata
                self.record.trials[_trial_key(point, epochs)] = {
                    "validation": said["validation_accuracy"],
                    "accuracy": said["accuracy"],
                    "sha256": xnorfile.content_hash(network),
                }

            return _Piece(point, ready, (trial, point.recipe, self._kept(point), epochs, self.seed))

        return [piece(point) for point in points if not known(point)]

    def _run(self, what: str, pieces: Sequence[_Piece]) -> None:
        """Do pieces of work, those of the largest candidates first, and keep each as it is done."""
        # In this order no worker waits long for another one at the end.
        ordered = sorted(pieces, key=lambda piece: -self._weight(piece.point))
        done = 0

        def counted(index: int, result: Any) -> None:
            nonlocal done
            done += 1
            ordered[index].ready(result)
            self.record.save()
            self.progress(what, done, len(ordered))

        if ordered:
            self.progress(what, 0, len(ordered))
            self.pool.run(work, [piece.arguments for piece in ordered], counted)

    def _kept(self, point: Point) -> Any:
        form = point.form
        if form.dataset not in self._data:
            self._data[form.dataset] = self.pool.keep(form.data)
        return self._data[form.dataset]

    def _weight(self, point: Point) -> int:
        height, width, channels = point.form.data.train_images.shape[1:]
        weights = point.recipe.weights((height, width, channels), len(point.form.data.classes))
        return weights * (height * width if point.recipe.convs else 1)

    def _places(self, point: Point) -> list[Place]:
        found = self.record.places
        known = found.get(_place_key(point, True)) or found[_place_key(point, False)]
        return [each for each in known if each.images_per_s >= self.rate]

    def _found(self, points: Sequence[Point], epochs: int) -> list[Found]:
        return [
            Found(point, each, said["validation"], said["accuracy"])
            for point in points
            for said in (self.record.trials[_trial_key(point, epochs)],)
            for each in self._places(point)
        ]

    def _best(self, points: Sequence[Point], epochs: int) -> list[Point]:
        """Return the points that go on: those of the first fronts, of one the most accurate."""
        found = self._found(points, epochs)
        order: dict[str, tuple[float, ...]] = {}
        for each, front in zip(found, fronts([each.goals for each in found]), strict=True):
            rank = (front, *(-goal for goal in each.goals))
            order[each.point.name] = min(order.get(each.point.name, rank), rank)
        count = max(-(-len(points) // FACTOR), min(LEAST, len(points)))
        kept = sorted(order, key=lambda name: (order[name], name))[:count]
        return [point for point in points if point.name in kept]

    def file(self, point: Point, ending: str) -> Path:
        """Return the path of a file of a point."""
        return self.folder / f"{point.name}{ending}"


def _place_key(point: Point, searched: bool) -> str:
    return f"{point.name}{', searched' if searched else ''}"


def _trial_key(point: Point, epochs: int) -> str:
    return f"{point.name}, {epochs} epochs"
