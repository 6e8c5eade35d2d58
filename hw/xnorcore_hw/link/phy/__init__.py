"""Wires: the UART."""
