"""Work in pieces that do not need each other: one after the other here, or on a cluster of workers.

The results are the same either way, and in the order of the pieces.
"""

from __future__ import annotations

from .pool import Pool, Serial, open_pool

__all__ = ["Pool", "Serial", "open_pool"]
