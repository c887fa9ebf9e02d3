"""The command line of ``airboss init``. Quick to import."""

from __future__ import annotations

import argparse
import os

from bot.local.options import home_path, word


def add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    add = commands.add_parser("init", help="write a repository's airboss.toml, and try it")
    add.add_argument("repo", nargs="?", default=".", type=word, metavar="DIR", help="default: this directory")
    add.add_argument("--force", action="store_true", help="overwrite an airboss.toml")
    add.add_argument("--dry-run", action="store_true", help="show it; write and try nothing")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_init)


def _init(options: argparse.Namespace) -> int:
    import asyncio
    from pathlib import Path

    from bot.init.command import init

    home = home_path(options)
    at = home if os.access(home / "fleet.toml", os.R_OK) else None
    return asyncio.run(
        init(Path(options.repo), force=options.force, dry_run=options.dry_run, as_json=options.json, home=at)
    )
