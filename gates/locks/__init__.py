"""Locks on paths and named things: what overlaps, who holds what, who waits, and where that is enforced."""
