"""Memories of one port, by family of FPGAs."""
