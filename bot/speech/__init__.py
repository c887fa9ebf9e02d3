"""Turns voice messages into text, by what ``[speech]`` in fleet.toml names."""
