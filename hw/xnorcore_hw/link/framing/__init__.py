"""Frames: COBS, CRC."""
