"""Chips beside the FPGA, as their datasheets describe them; what those forbid ends a simulation."""
