"""What commands of the command line need: the home, seconds, and JSON for scripts. Quick to import."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def home_of(options: argparse.Namespace) -> str:
    """As ``fleet.config.airboss_home``, which a quick command need not load."""
    chosen = options.home or os.environ.get("AIRBOSS_HOME") or "~/.airboss-home"
    return os.path.abspath(os.path.expanduser(chosen))  # noqa: PTH100, PTH111 - pathlib costs its import


def home_path(options: argparse.Namespace) -> Path:
    """The home as a path."""
    from fleet.config.home import airboss_home

    return airboss_home(options.home or "")


class Later:
    """A command whose module is imported once it is given: a function of the options and the home. ``owner``: the
    login that owns the home carries it out."""

    def __init__(self, module: str, function: str, *, owner: bool = False) -> None:
        self._module, self._function, self._owner = f"bot.{module}", function, owner

    def __call__(self, options: argparse.Namespace) -> int:
        home = home_path(options)
        if self._owner:
            from bot.local.owner import as_owner

            as_owner(home)
        return self.function(options, home)

    @property
    def function(self) -> Callable[[argparse.Namespace, Path], int]:
        """What carries it out."""
        found: Callable[[argparse.Namespace, Path], int] = getattr(import_module(self._module), self._function)
        return found


def admin(function: str) -> Later:
    """A command of ``bot/local/admin.py``."""
    return Later("local.admin", function, owner=True)


def with_fleet(home: Path) -> Path | None:
    """The home, if its ``fleet.toml`` is there and this login may read it."""
    return home if os.access(home / "fleet.toml", os.R_OK) else None


def word(text: str) -> str:
    """A path or name as an option gives it. An empty one is a shell's variable that is not set: it is not taken for
    this directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def print_json(data: Any) -> None:
    """Prints what ``--json`` promises."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def tell(options: argparse.Namespace, data: Any, rows: Iterable[str]) -> int:
    """Prints the data with ``--json``, else the rows, each a line. Returns 0."""
    if options.json:
        print_json(data)
    else:
        sys.stdout.writelines(f"{row}\n" for row in rows)
    return 0


def seconds(text: str) -> float:
    """A number of seconds, as an option gives it."""
    given = float(text)
    if not 0 <= given < 1e9:  # nor is it no number
        raise ValueError(text)
    return given


def open_what_is_closed() -> None:
    """A script may close these (``>&-``): what is written there goes nowhere, and no file takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
