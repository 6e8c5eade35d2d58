"""How families of FPGAs add."""
