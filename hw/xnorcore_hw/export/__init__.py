"""The core as Verilog, for designs that are not in Amaranth."""
