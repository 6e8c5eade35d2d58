"""The compiled simulator: an Amaranth design as C++."""
