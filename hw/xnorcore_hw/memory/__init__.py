"""Activation memory and what writes into it."""
