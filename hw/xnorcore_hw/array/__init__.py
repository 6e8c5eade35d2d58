"""The systolic array and its processing elements."""
