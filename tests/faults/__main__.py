"""``python -m tests.faults``."""

from .campaign import main

main()
