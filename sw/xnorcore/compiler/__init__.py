"""From a network to a device's program."""
