"""What a network gives: `golden`, the living definition, and `fast`, the bit-packed one."""
