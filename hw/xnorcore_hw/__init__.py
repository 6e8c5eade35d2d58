"""Gateware of the xnorcore accelerator, in Amaranth, and its simulated device."""
