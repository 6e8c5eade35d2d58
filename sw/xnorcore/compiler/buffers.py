"""What the buffers of the columns hold for the layers of a pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..isa.device import DeviceConfig
from ..isa.program import Block
from ..isa.protocol import Space
from .split import Piece

__all__ = ["buffer_blocks"]


def buffer_blocks(pieces: Sequence[Piece], config: DeviceConfig) -> Iterator[Block]:
    """Return weights, start values and words of the results unit of all columns, from address 0 on."""
    weights = np.concatenate([piece.layer.weights[:, piece.weight_words] for piece in pieces], axis=1)
    starts = np.concatenate(
        [piece.layer.stored_starts(config.acc_width)[:, piece.start_words] for piece in pieces], axis=1
    )
    for column in range(config.geometry.columns):
        yield Block(Space.WEIGHTS, column, 0, weights[column].tobytes())
        yield Block(Space.THRESHOLDS, column, 0, starts[column].astype("<i4").tobytes())
    if any(piece.layer.scales is not None for piece in pieces):
        scales = np.concatenate([piece.scales for piece in pieces], axis=1)
        for column, words in enumerate(scales, start=config.geometry.columns):
            yield Block(Space.THRESHOLDS, column, 0, words.astype("<u4").tobytes())
