"""FPGA families: parts, PLL, block RAM, tools."""
