"""Shells: the core with what connects it to the world around, a wire or a system of one's own."""
