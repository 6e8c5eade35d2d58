"""The commands ``build``, ``program`` and ``boards``. Amaranth is imported when one of them runs."""

from .boards import add_boards
from .build import add_build
from .program import add_program

__all__ = ["add_boards", "add_build", "add_program"]
