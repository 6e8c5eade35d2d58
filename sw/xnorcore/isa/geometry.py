"""The size of the array."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ..errors import GeometryError
from .ranges import fitting, in_range

__all__ = ["COLUMNS", "ROWS", "WIDTH", "Geometry"]

ROWS = (1, 8)
COLUMNS = (4, 128)
WIDTH = (8, 128)


@dataclass(frozen=True)
class Geometry:
    """Size of the processing-element array.

    Parameters
    ----------
    rows : int
        Images (or strips of one image) that share the weights, 1 to 8.
    columns : int
        Output channels computed at once, 4 to 128, a multiple of 4.
    width : int
        Bits of one activation word, 8 to 128, a multiple of 8. One of `columns` and `width`
        must divide the other, so that the result of a tile fills whole words or whole lanes.

    Raises
    ------
    GeometryError
        If a size is outside these limits.
    """

    rows: int = 1
    columns: int = 32
    width: int = 32

    def __post_init__(self) -> None:
        in_range("rows", self.rows, *ROWS)
        in_range("columns", self.columns, *COLUMNS, multiple=4)
        in_range("width", self.width, *WIDTH, multiple=8)
        if self.columns % self.width and self.width % self.columns:
            raise GeometryError(
                f"columns {self.columns} and width {self.width}: one must be a multiple of the other; "
                f"try {fitting(self.columns, self.width, *WIDTH)}"
            )

    @property
    def peak(self) -> int:
        """XNOR multiply-accumulates per cycle."""
        return self.rows * self.columns * self.width

    @property
    def words_per_tile(self) -> int:
        """Activation words that the result bits of one tile fill (1 if they fill part of a word)."""
        return max(1, self.columns // self.width)

    @property
    def tiles_per_word(self) -> int:
        """Tiles whose result bits share one activation word (1 if a tile fills it)."""
        return max(1, self.width // self.columns)

    @property
    def lane(self) -> int:
        """Bits of the smallest separately written part of an activation word."""
        return gcd(8, self.columns)

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}x{self.width}"

    @classmethod
    def parse(cls, text: str) -> Geometry:
        """Read ``ROWSxCOLUMNSxWIDTH``, as in ``1x32x32``.

        Raises
        ------
        GeometryError
            If the text has another form or a size is illegal.
        """
        parts = text.lower().split("x")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
            raise GeometryError(f"geometry {text!r} is not ROWSxCOLUMNSxWIDTH, for instance 1x32x32")
        return cls(*(int(part) for part in parts))
