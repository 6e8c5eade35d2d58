"""Binarized neural networks on small FPGAs: numerics, compiler, link and driver."""

__version__ = "0.1.0"
