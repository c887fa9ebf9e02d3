"""Slots of pools: who makes them, and when."""
