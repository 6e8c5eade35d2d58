"""Look-up tables that a configuration takes, from a model fitted to finished builds."""

from __future__ import annotations

from dataclasses import dataclass

from xnorcore.geometry import DeviceConfig

__all__ = ["Model", "estimate_lut4"]


@dataclass(frozen=True)
class Model:
    """Linear model of one family.

    Attributes
    ----------
    fixed : float
        Link, sequencer, and everything else that does not depend on the array.
    convolution : float
        Added by a line buffer and operands that start inside a word.
    per_bit : float
        For each XNOR and its part of the popcount.
    per_pe : float
        For each PE: accumulator and control.
    per_column : float
        For each column: buffers' ports and start value.
    per_row_bit : float
        For each bit of the rows' activation words.
    """

    fixed: float
    convolution: float
    per_bit: float
    per_pe: float
    per_column: float
    per_row_bit: float

    def lut4(self, config: DeviceConfig) -> int:
        """Return the estimate for a configuration."""
        g = config.geometry
        convolution = self.convolution if config.line_bytes else 0
        row_bits = g.rows * g.width * (2 if config.offset_bits else 1)
        return round(
            self.fixed
            + convolution
            + self.per_bit * g.peak
            + self.per_pe * g.rows * g.columns
            + self.per_column * g.columns
            + self.per_row_bit * row_bits
        )


MODELS = {
    "ice40": Model(3900, 1800, 2.0, 20, 45, 4),
    "ecp5": Model(3500, 1800, 2.0, 20, 45, 4),
    "gowin": Model(3500, 1800, 2.0, 20, 45, 4),
}


def estimate_lut4(family: str, config: DeviceConfig) -> int:
    """Return the look-up tables that a configuration takes in a family."""
    return MODELS[family].lut4(config)
