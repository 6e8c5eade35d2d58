"""Small faults planted in the gateware's source, to see whether the tests notice.

``python -m tests.mutants --count 200 --seed 1 --out mutants.json``; docs/verification.md has the results.
"""
