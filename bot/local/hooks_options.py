"""The options of ``airboss hooks``. Quick to import: every command loads it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bot.local.options import home_path


def add_hooks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The options of ``airboss hooks``."""
    verbs = commands.add_parser("hooks", help="hooks for agents that you start by hand").add_subparsers(
        metavar="COMMAND", required=True
    )
    for name, about in (
        ("install", "add them to Claude Code and Codex of this login"),
        ("uninstall", "take them away"),
    ):
        add = verbs.add_parser(name, help=about)
        scope = add.add_mutually_exclusive_group()
        scope.add_argument("--user", action="store_const", const="user", dest="scope", default="user")
        scope.add_argument(
            "--repo", action="store_const", const="repo", dest="scope", help="in this working copy only"
        )
        if name == "install":
            add.add_argument("--agent", choices=("claude", "codex"), default="")
            add.add_argument("--socket", default="", metavar="PATH", help="the controller's socket on this machine")
        add.set_defaults(run=_command(name))
    add = verbs.add_parser("off", help="edit without Airboss for up to 8 hours")
    add.set_defaults(run=_command("off"))
    add = verbs.add_parser("on", help="use the hooks again")
    add.set_defaults(run=_command("on"))
    add = verbs.add_parser("show", help="whether they are on, and who answers them")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_command("show"))


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        from bot.local import hooks_cli

        chosen: dict[str, Callable[..., int]] = {
            "install": hooks_cli.install,
            "uninstall": hooks_cli.uninstall,
            "off": hooks_cli.off,
            "on": hooks_cli.on,
            "show": hooks_cli.show,
        }
        return chosen[name](options, home_path(options))

    return run
