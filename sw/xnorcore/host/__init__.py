"""Real-valued layers at the beginning and the end of a network, computed by the host (docs/numerics.md)."""
