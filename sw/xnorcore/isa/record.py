"""Named bit fields in words of 32 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import CompileError

__all__ = ["Field", "Record"]

_SIGNED = ("plane_stride", "out_delta", "out_tile_stride")


@dataclass(frozen=True)
class Field:
    """One field: bits ``low`` to ``low + width - 1`` of 32-bit word `word`."""

    word: int
    low: int
    width: int


class Record:
    """A fixed set of named bit fields in consecutive 32-bit words.

    Parameters
    ----------
    layout : sequence of sequences of (str, int)
        For each word, name and width of its fields, least significant first.
    also : mapping of int to the same, optional
        Further fields of a word, that are there instead of its others.
    """

    def __init__(
        self,
        *layout: tuple[tuple[str, int], ...],
        also: Mapping[int, tuple[tuple[str, int], ...]] = MappingProxyType({}),
    ) -> None:
        self.words = len(layout)
        self.fields: dict[str, Field] = {}
        for word, items in (*enumerate(layout), *also.items()):
            low = 0
            for name, width in items:
                self.fields[name] = Field(word, low, width)
                low += width
            assert low <= 32, f"word {word} holds {low} bits"

    def pack(self, values: Mapping[str, int]) -> list[int]:
        """Return the record's words; fields that are not named are 0, negative deltas wrap.

        Raises
        ------
        CompileError
            If a field is unknown or its value does not fit.
        """
        words = [0] * self.words
        for name, value in values.items():
            field = self.fields[name]
            signed = name.startswith("delta_") or name in _SIGNED
            low = -(1 << (field.width - 1)) if signed else 0
            if not low <= value < 1 << field.width:
                raise CompileError(f"program field {name} is {value}, but has only {field.width} bits")
            words[field.word] |= (value & ((1 << field.width) - 1)) << field.low
        return words

    def unpack(self, words: list[int]) -> dict[str, int]:
        """Return the fields of `words` by name, unsigned."""
        return {n: words[f.word] >> f.low & ((1 << f.width) - 1) for n, f in self.fields.items()}
