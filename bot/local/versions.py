"""``airboss version`` and ``airboss --version``. The version is looked up only when it is asked for."""

from __future__ import annotations

import argparse

from bot.local.options import tell


def add_version(
    parser: argparse.ArgumentParser, commands: argparse._SubParsersAction[argparse.ArgumentParser]
) -> None:
    """Both ways to ask."""
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show this version")
    add = commands.add_parser("version", help="this version")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_version)


class _ShowVersion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.exit(_version(argparse.Namespace(json=False)))


def _version(options: argparse.Namespace) -> int:
    from importlib.metadata import version

    return tell(options, {"version": version("airboss")}, (f"airboss {version('airboss')}",))
