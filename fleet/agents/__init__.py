"""Translators between agents' wire formats and our events. Pure: no I/O, no clock, no randomness."""
