"""One module for each board, or for boards that differ in their FPGA alone."""
