"""Programs with a descriptor that is not as the compiler made it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Space


def words(program: Program, number: int, **changes: Any) -> list[int]:
    """Return program memory with one descriptor changed."""
    section = program.sections[0]
    list_ = list(section.descriptors)
    list_[number] = replace(list_[number], **changes)
    behind, _ = replace(section, descriptors=tuple(list_)).encoded(
        program.regions, program.config.geometry.width
    )
    whole = program.contents(Space.PROGRAM, 0)
    return [*whole[: len(whole) - len(behind)], *behind]
