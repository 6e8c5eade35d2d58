"""Files: the `.xnor` container and its description, and arrays."""
