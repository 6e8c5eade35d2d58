"""A page in which people use the accelerator: its gateware as WebAssembly, or a board by Web Serial."""
