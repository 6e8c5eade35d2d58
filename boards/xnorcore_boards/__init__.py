"""Board targets of the xnorcore accelerator: clocks, pins, build, program.

Adding a board is one file in `targets`; docs/boards.md shows how.
"""
