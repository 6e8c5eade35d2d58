"""Runs the campaign: ``python -m tests.mutants``."""

from .run import main

main()
