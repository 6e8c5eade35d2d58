"""Faults planted in the gateware by seed: does `verify` lay them at its door, and name the place?

``python -m tests.faults`` is a campaign; the suite runs a few of its faults.
"""
