"""What commands of the command line need: the home, seconds, and JSON for scripts. Quick to import."""

from __future__ import annotations

import argparse
import json
import os
import sys
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


def word(text: str) -> str:
    """A path or name as an option gives it. An empty one is a shell's variable that is not set: it is not taken for
    this directory."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def print_json(data: Any) -> None:
    """Prints what ``--json`` promises."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


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
