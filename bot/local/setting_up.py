"""The commands that set Airboss up on machines and in repositories, and take it away. Quick to import."""

from __future__ import annotations

import argparse

from bot.local.options import Later, admin, word


def add_setting_up(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``init``, ``machines``, ``people``, ``hook``, ``hooks``, ``service`` and ``uninstall``."""
    _init(commands)
    _fleet(commands)
    _hooks(commands)
    _agent_hooks(commands)
    _deployment(commands)


def _init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("init", help="write a repository's airboss.toml, and try it")
    add.add_argument("repo", nargs="?", default=".", type=word, metavar="DIR", help="default: this directory")
    add.add_argument("--force", action="store_true", help="overwrite an airboss.toml")
    add.add_argument("--dry-run", action="store_true", help="show it; write and try nothing")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("init.command", "run"))


def _fleet(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    machines = commands.add_parser("machines", help="the machines in fleet.toml")
    verbs = machines.add_subparsers(metavar="COMMAND", required=True)
    add = verbs.add_parser("list", help="list what fleet.toml contains")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=admin("list_machines"))
    add = verbs.add_parser("add", help="add a machine to fleet.toml")
    add.add_argument("name")
    add.add_argument("--ssh", default="", metavar="USER@HOST[:PORT]", help="reached by SSH (default: this machine)")
    add.add_argument("--host-key", default="", metavar="LINE", help="its public host key, which you have compared")
    add.add_argument("--identity", default="", metavar="FILE", help="the controller's private key for it")
    add.add_argument("--label", action="append", default=[], metavar="LABEL")
    add.add_argument("--slots", type=int, default=2)
    add.add_argument("--run-as", default="", metavar="LOGIN", help="login that agents run as on this machine")
    add.add_argument("--gate-as", default="", metavar="LOGIN", help="login that gates run as")
    add.set_defaults(run=admin("add_machine"))

    add = verbs.add_parser("setup", help="print the script that makes a machine's logins, for its root to run")
    add.add_argument("name", nargs="?", default="")
    add.add_argument("--apply", action="store_true", help="show the script, ask, and run it as root there")
    add.add_argument("--through", default="", metavar="LOGIN", help="--apply over SSH: a login that may use sudo")
    add.set_defaults(run=Later("local.machine_setup", "setup_machine"))

    people = commands.add_parser("people", help="who may do what")
    verbs = people.add_subparsers(metavar="COMMAND", required=True)
    add = verbs.add_parser("list", help="list what fleet.toml contains")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=admin("list_people"))
    add = verbs.add_parser("add", help="add a person")
    add.add_argument("name")
    add.add_argument("--role", required=True, choices=("viewer", "operator", "admin"))
    add.add_argument("--id", action="append", required=True, metavar="PLATFORM:WORKSPACE:USER", dest="ids")
    add.set_defaults(run=admin("add_person"))
    add = verbs.add_parser("revoke", help="end all rights of an id: the phone was lost")
    add.add_argument("id", metavar="PLATFORM:WORKSPACE:USER")
    add.set_defaults(run=admin("revoke_person"))


def _hooks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verbs = commands.add_parser("hook", help="the hook that checks fencing tokens").add_subparsers(
        metavar="COMMAND", required=True
    )
    add = verbs.add_parser("install", help="write it into a bare repository on this machine")
    add.add_argument("repo", type=word, metavar="REPO")
    add.add_argument("--reset", action="store_true", help="forget the tokens it saw, after the store was restored")
    add.set_defaults(run=Later("local.hooking", "install"))
    add = verbs.add_parser("show", help="print it, for a bare repository on another host")
    add.set_defaults(run=Later("local.hooking", "show"))


def _agent_hooks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        add.set_defaults(run=Later("local.hooks_cli", name))
    add = verbs.add_parser("off", help="edit without Airboss for up to 8 hours")
    add.set_defaults(run=Later("local.hooks_cli", "off"))
    add = verbs.add_parser("on", help="use the hooks again")
    add.set_defaults(run=Later("local.hooks_cli", "on"))
    add = verbs.add_parser("show", help="whether they are on, and who answers them")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("local.hooks_cli", "show"))


def _deployment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verbs = commands.add_parser("service", help="start the controller with the machine").add_subparsers(
        metavar="COMMAND", required=True
    )
    add = verbs.add_parser("install", help="write this login's own service file")
    add.set_defaults(run=Later("local.service", "install"))
    add = verbs.add_parser("show", help="print it")
    add.add_argument("--system", default="", metavar="LOGIN", help="for /etc/systemd/system: run as this login")
    add.set_defaults(run=Later("local.service", "show"))
    add = commands.add_parser("uninstall", help="remove worktrees, keys, hooks and the service; keep the record")
    add.add_argument("--yes", action="store_true", help="do not ask")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("local.uninstalling", "uninstall", owner=True))
