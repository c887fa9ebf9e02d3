"""Imports all of a controller, which is most of a start."""

from __future__ import annotations

import gc
from importlib import import_module

from fleet.kept_classes import kept_classes, place_of


def load_controller() -> None:
    """Nothing that imports make is garbage, and looking through it takes a seventh of that. Collecting is enabled
    by whoever serves; then nothing looks through what was there before."""
    gc.disable()
    with kept_classes(place_of("serve")):
        import_module("bot.local.serving")
        import_module("bot.commands").every_command()
    gc.freeze()
