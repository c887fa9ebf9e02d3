"""Turns the ledger into cards for people, and decides what makes a sound for whom."""
