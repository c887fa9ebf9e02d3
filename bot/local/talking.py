"""Commands that speak to the controller: chat, run and status, and those that keep its home. Quick to import."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from bot.local.options import Later, home_of, home_path, print_json, word

_KEY = "a message with the key of an earlier one is the same message: it is handled once"


#: The chat's commands that are also commands of the command line: their arguments, and what they do.
_CHAT_COMMANDS: Final = {
    "status": ("TASK", "the fleet on one screen, or one task"),
    "sessions": ("PAGE", "agents at work, tasks that ended"),
    "queue": ("PAGE", "what waits for a slot"),
    "waiting": ("ID", "requests that wait for a person"),
    "gates": ("TASK", "gate runs and how they ended"),
    "logs": ("TASK", "what a task's agent did"),
    "diff": ("TASK", "what a task changed"),
    "history": ("REPO|PAGE", "all tasks, page by page"),
    "repos": ("PAGE", "repositories with their gates"),
    "cost": ("", "cost of today and of seven days, by agent"),
    "budget": ("TASK", "what is used and left today, or of a task"),
    "whoami": ("", "your id, role, rights and time zone"),
    "login": ("MACHINE|AGENT", "what to type to log an agent in with its vendor"),
    "undo": ("TASK", "a new task that takes back what a task landed"),
}


def add_talking(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``chat``, ``run``, and the chat's commands that are also commands here."""
    add = commands.add_parser("chat", help="talk to the fleet on this terminal")
    add.add_argument("--say", metavar="TEXT", help="send one message, print the answer, exit")
    add.add_argument(
        "--wait", action="store_true", help="with --say: wait until the task ends and exit with its status"
    )
    add.add_argument("--json", action="store_true", help="with --say: print the answer's data instead of cards")
    add.add_argument("--key", default="", help=_KEY)
    add.add_argument("--embedded", action="store_true", help="run a controller for as long as this chat is open")
    add.set_defaults(run=_chat)
    add = commands.add_parser("run", help="ask an agent for a change")
    add.add_argument("words", nargs="+", metavar="WORDS", help="what it should do")
    add.add_argument("--repo", default="", help="the repository (default: the only one)")
    add.add_argument("--on", default="", metavar="MACHINE", help="the machine (default: any that fits)")
    add.add_argument("--agent", default="", help="the agent (default: the repository's)")
    add.add_argument("--wait", action="store_true", help="wait until the task ends and exit with its status")
    add.add_argument("--json", action="store_true", help="print the task and its status instead of cards")
    add.add_argument("--key", default="", help=_KEY)
    add.set_defaults(run=_run)
    for verb, (metavar, text) in _CHAT_COMMANDS.items():
        add = commands.add_parser(verb, help=text)
        if metavar:
            add.add_argument("words", nargs="*", metavar=metavar)
        add.add_argument("--json", action="store_true", help="print the data instead of a card")
        add.add_argument("--key", default="", help=_KEY)
        add.set_defaults(run=_chat_command, verb=verb, words=[])


def add_keeping(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """``ledger reset``, ``backup``, ``restore``."""
    record = commands.add_parser("ledger", help="the record of everything")
    verbs = record.add_subparsers(metavar="COMMAND", required=True)
    add = verbs.add_parser("reset", help="let a store go on that was restored from a backup")
    add.add_argument("--reason", required=True, help="why, for the signed entry")
    add.set_defaults(run=_ledger_reset)
    add = commands.add_parser("backup", help="copy a home into one file, while it is served")
    add.add_argument("file", type=word, metavar="FILE", help="the new file (0600); it contains keys and tokens")
    add.set_defaults(run=Later("local.backup", "run", owner=True))
    add = commands.add_parser("restore", help="fill an empty home from a backup")
    add.add_argument("file", type=word, metavar="FILE")
    add.set_defaults(run=Later("local.restore", "run"))


def _chat(options: argparse.Namespace) -> int:
    from bot.local.client import PATIENCE_S

    home = home_of(options)
    if options.say is None and (options.wait or options.json or options.key):
        sys.stderr.write("airboss chat: --wait, --json and --key require --say TEXT\n")
        return 2
    if not options.embedded:
        return _converse(options, home, PATIENCE_S)
    from bot.local.loading import load_controller

    load_controller()
    from bot.local.owner import as_owner
    from bot.local.serving import embedded

    as_owner(home_path(options))
    return embedded(home_path(options), lambda: _converse(options, home, 0.0))


def _converse(options: argparse.Namespace, home: str, patience_s: float) -> int:
    """``patience_s``: how long a controller that goes away is waited for."""
    if options.say is None:
        from bot.local.terminal import chat

        return chat(home, patience_s)
    return _say(options, home, options.say, patience_s=patience_s)


def _say(options: argparse.Namespace, home: str, text: str, **more: float) -> int:
    """One message; with ``--json`` its task, status and data are printed instead of cards."""
    from bot.local import client

    do, quiet = "call" if options.json else "say", options.json
    last = client.ask(home, do, key=options.key, text=text, wait=options.wait, quiet=quiet, **more)
    if options.json:
        print_json({"task": last.get("task", ""), "status": last["end"], "data": last.get("data")})
    return int(last["end"])


def _run(options: argparse.Namespace) -> int:
    given = {"repo": options.repo, "on": options.on, "agent": options.agent}
    chosen = "".join(f"{name}={value} " for name, value in given.items() if value)
    return _say(options, home_of(options), f"/run {chosen}-- {' '.join(options.words)}")


def _chat_command(options: argparse.Namespace) -> int:
    return command(options, " ".join([f"/{options.verb}", *options.words]), options.key)


def command(options: argparse.Namespace, text: str, key: str = "") -> int:
    """A command of the chat; with ``--json`` its data alone is printed."""
    from bot.local import client

    last = client.ask(home_of(options), "call", key=key, text=text, quiet=options.json)
    if options.json:
        print_json(last.get("data"))
    return int(last["end"])


def _ledger_reset(options: argparse.Namespace) -> int:
    from bot.local import client

    return int(client.ask(home_of(options), "reset", reason=options.reason)["end"])
