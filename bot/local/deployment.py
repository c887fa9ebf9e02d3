"""The options of ``airboss service`` and ``airboss uninstall``. Quick to import: every command loads it."""

from __future__ import annotations

import argparse

from bot.local.options import home_path


def add_deployment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands."""
    verbs = commands.add_parser("service", help="start the controller with the machine").add_subparsers(
        metavar="COMMAND", required=True
    )
    add = verbs.add_parser("install", help="write this login's own service file")
    add.set_defaults(run=_install)
    add = verbs.add_parser("show", help="print it")
    add.add_argument("--system", default="", metavar="LOGIN", help="for /etc/systemd/system: run as this login")
    add.set_defaults(run=_show)
    add = commands.add_parser("uninstall", help="remove worktrees, keys, hooks and the service; keep the record")
    add.add_argument("--yes", action="store_true", help="do not ask")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_uninstall)


def _install(options: argparse.Namespace) -> int:
    from bot.local import service

    return service.install(options, home_path(options))


def _show(options: argparse.Namespace) -> int:
    from bot.local import service

    return service.show(options, home_path(options))


def _uninstall(options: argparse.Namespace) -> int:
    from bot.local.owner import as_owner
    from bot.local.uninstalling import uninstall

    as_owner(home_path(options))
    return uninstall(options, home_path(options))
