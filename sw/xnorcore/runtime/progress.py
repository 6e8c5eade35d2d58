"""What long work says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Callback", "Progress"]


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told.

    Attributes
    ----------
    stage : str
        ``"build"``, ``"load"``, ``"verify"`` or ``"infer"``.
    done, total : int
        Bytes (load, verify) or images (infer); both 0 for messages. Images that are through some of several
        passes count in part.
    message : str
        Text, for stages without a count.
    part : str
        Where the work is beside that, as ``pass 2 of 6``.
    """

    stage: str
    done: int = 0
    total: int = 0
    message: str = ""
    part: str = ""


Callback = Callable[[Progress], None]
