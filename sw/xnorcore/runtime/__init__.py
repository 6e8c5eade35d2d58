"""The driver: load a network, infer, read back, measure."""
