"""From a design to its bitstream, and onto the board."""
