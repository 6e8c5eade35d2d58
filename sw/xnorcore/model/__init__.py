"""What a network is: layers, their checks, bit order, pixels and classes."""
