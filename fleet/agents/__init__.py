"""Translators between agents' wire formats and the house's words. Pure: no I/O, no clock, no randomness."""
