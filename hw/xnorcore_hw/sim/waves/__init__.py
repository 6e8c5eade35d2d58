"""Waveforms of the compiled simulator: which signals, how their changes are found, and the files."""
