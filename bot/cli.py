"""The ``airboss`` command. Each module is imported only when it is needed: a person waits for this.

Exit statuses: 0 yes, 1 no, 2 misused or refused, 3 unavailable or lost, 4 waiting for a person.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper

from bot.local.attach_cli import add_attaching
from bot.local.evidence import add_evidence
from bot.local.options import (
    Later,
    admin,
    home_path,
    open_what_is_closed,
    seconds,
    with_fleet,
    word,
)
from bot.local.setting_up import add_setting_up
from bot.local.talking import add_keeping, add_talking, command
from bot.local.versions import add_version

UNAVAILABLE = 3
_STARTS = "\nStart it: systemctl start airboss, or airboss serve in another terminal"

Run = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, runs the command, and returns the exit status."""
    open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        write_what_it_can(stream)
    words = sys.argv[1:] if argv is None else argv
    options = _parser(words).parse_args(words)
    run: Run = options.run
    try:
        status = run(options)
        _write_out()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explained(error)
    return status


def _write_out() -> None:
    """What cannot be written is said here, not by the interpreter as it ends."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from fleet.errors import Unavailable

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Unavailable(attempted="write the output", cause=error.strerror or str(error)) from error


def write_what_it_can(stream: object) -> None:
    """A terminal that is not UTF-8 shows ``?`` for what it does not know."""
    if isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
        stream.reconfigure(errors="replace")


def _not_served(error: Exception) -> bool:
    """Whether no controller answers; then this says so, and how to start one."""
    from bot.local.client import ControllerFrozen, ControllerGone, NotServed

    if isinstance(error, ControllerFrozen):
        sys.stderr.write(f"🔌 {error}\n")
    elif isinstance(error, NotServed):
        sys.stderr.write(f"🔌 {error.there or f'No controller is running: {error}.{_STARTS}'}\n")
    else:
        return False
    if isinstance(error, ControllerGone | ControllerFrozen) and error.key:
        sys.stderr.write(
            "If it received your message, it handles it after its start. "
            f"To send it again safely, add --key {error.key}\n"
        )
    return True


def _explained(error: Exception) -> int:
    if _not_served(error):
        return UNAVAILABLE
    from bot.explain import explain

    explanation = explain(error)
    sys.stderr.write(explanation.text() + "\n")
    if os.environ.get("AIRBOSS_DEBUG"):
        raise error
    return explanation.status


_LISTS = {
    "agents": "agents: where they are installed, versions, logins, models",
    "schedules": "schedules, their next times and last results",
    "unlanded": "changes that did not land, and where they are",
}


def _parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """What reads the command line. ``words``: what it is; of a controller's nothing but ``serve`` is needed."""
    parser = argparse.ArgumentParser(
        prog="airboss",
        description="Run coding agents on your machines from a chat. Only changes that pass your gates land.",
    )
    parser.add_argument("--home", type=word, help="the controller's directory (default: AIRBOSS_HOME)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    _add_serving(commands)
    if words[:1] == ["serve"]:
        add_version(parser, commands)
        return parser
    add_talking(commands)
    add = commands.add_parser("demo", help="run one task from chat to receipt in a temporary directory")
    add.add_argument(
        "--agent", default="demo", choices=("demo", "claude", "codex"), help="which agent does the work"
    )
    add.set_defaults(run=_demo)

    add_attaching(commands)
    _gates(commands)
    _reviews(commands)

    slack = commands.add_parser("slack", help="the Slack app").add_subparsers(metavar="COMMAND", required=True)
    add = slack.add_parser("manifest", help="print the manifest that creates the app")
    add.add_argument("--prefix", default="", help="put this before each command, as in /PREFIX-run")
    add.add_argument(
        "--url", default="", help="address that Slack sends to by HTTP (default: Socket Mode, no address)"
    )
    add.set_defaults(run=_slack_manifest)

    add = commands.add_parser("doctor", help="check isolation, machines and configuration")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=admin("doctor"))
    add_keeping(commands)
    add_evidence(commands)

    _locks(commands)
    add_setting_up(commands)
    for name, about in _LISTS.items():
        add = commands.add_parser(name, help=about)
        add.add_argument("--json", action="store_true")
        add.set_defaults(run=_list_of(name))
    add = commands.add_parser("digest", help="figures for a period")
    add.add_argument("span", nargs="?", default="", metavar="24h|7d|all", help="up to now (default: 24h)")
    add.add_argument("--json", action="store_true")
    add.add_argument("--csv", action="store_true", help="a table of the days: --from and --to")
    add.add_argument("--from", default="", metavar="DATE", dest="first", help="the first day, as 2026-11-01")
    add.add_argument("--to", default="", metavar="DATE", dest="last", help="the last day, included")
    add.add_argument("--tz", default="", metavar="ZONE", help="whose days --from and --to are (default: UTC)")
    add.set_defaults(run=_digest)
    add = commands.add_parser("receipt", help="where a landed task's receipt is")
    add.add_argument("task", metavar="TASK")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_receipt)
    add_version(parser, commands)
    return parser


def _add_serving(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("serve", help="run the controller")
    add.add_argument("--standby", action="store_true", help="wait while another controller leads, then take over")
    add.add_argument(
        "--join", action="store_true", help="the same, and lead tasks of the fleet meanwhile (PostgreSQL)"
    )
    add.set_defaults(run=_serve)
    add = commands.add_parser("controllers", help="which controller leads, and which stand by")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=admin("show_controllers"))


def _gates(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    gate = commands.add_parser("gate", help="run gates by hand").add_subparsers(metavar="COMMAND", required=True)
    add = gate.add_parser("try", help="run the gates of the base on a commit")
    add.add_argument("--repo", required=True, type=word, metavar="DIR")
    add.add_argument("--base", required=True, type=word, metavar="REF")
    add.add_argument("--head", required=True, type=word, metavar="REF")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=_gate_try)

    add = gate.add_parser("log", help="print what a gate run wrote, from this home or from the store")
    add.add_argument("gate_run", type=word, metavar="RUN")
    add.set_defaults(run=Later("local.gate_log", "run"))


def _locks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("locks", help="who holds which lock, and who waits")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("local.lock_cli", "show"))
    verbs = commands.add_parser("lock", help="take and release locks by hand").add_subparsers(
        metavar="COMMAND", required=True
    )
    for verb, text in (
        ("acquire", "take all of these, or none"),
        ("renew", "make them last from now"),
        ("release", "give them back"),
    ):
        add = verbs.add_parser(verb, help=text)
        add.add_argument("resources", nargs="+", metavar="RESOURCE", help="path:REPO:PATTERN, or a name: deploy")
        add.add_argument("--repo", default="", help="the repository of paths that name none")
        add.add_argument("--holder", required=verb == "acquire", default="", help="who holds them")
        last = "how long they last" if verb != "release" else "ignored"
        add.add_argument("--ttl", type=seconds, required=verb != "release", metavar="SECONDS", help=last)
        if verb == "acquire":
            add.add_argument("--shared", action="store_true", help="beside other shared locks")
            add.add_argument("--wait", type=seconds, default=0.0, metavar="SECONDS", help="wait in line so long")
        else:
            add.add_argument("--secret-file", type=word, metavar="FILE", help="the secret; - reads standard input")
        add.add_argument("--json", action="store_true")
        add.set_defaults(run=Later("local.lock_cli", verb))


def _reviews(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    review = commands.add_parser("review", help="the independent reviewers")
    verbs = review.add_subparsers(metavar="COMMAND", required=True)
    add = verbs.add_parser("try", help="ask a reviewer of fleet.toml about a change with planted defects")
    add.add_argument("name", nargs="?", default="", metavar="REVIEWER")
    add.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="1-20")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("local.reviews", "try_each", owner=True))
    add = verbs.add_parser("ask", help="ask a reviewer about any branch; it decides nothing")
    add.add_argument("name", nargs="?", default="", metavar="REVIEWER")
    add.add_argument("--repo", required=True, type=word, metavar="DIR")
    add.add_argument("--base", required=True, type=word, metavar="REF")
    add.add_argument("--head", required=True, type=word, metavar="REF")
    add.add_argument("--author", default="", metavar="FAMILY", help="who wrote it, as in anthropic or openai")
    add.add_argument("--about", default="", metavar="TEXT", help="what the change is for")
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("local.reviews", "ask", owner=True))


def _list_of(name: str) -> Run:
    return lambda options: _called(options, f"/{name}", name)


def _digest(options: argparse.Namespace) -> int:
    if options.first or options.last or options.csv or options.tz:
        return admin("digest_days")(options)
    return _called(options, f"/digest {options.span}", "digest")


def _receipt(options: argparse.Namespace) -> int:
    return _called(options, f"/receipt {options.task}", "receipt")


def _called(options: argparse.Namespace, text: str, offline: str) -> int:
    """Through the controller if it answers, else directly from the store."""
    from bot.local import client

    try:
        return command(options, text)
    except client.NotServed:
        return admin(offline)(options)


def _serve(options: argparse.Namespace) -> int:
    from bot.local.loading import load_controller

    load_controller()
    from bot.local.owner import as_owner
    from bot.local.serving import serve

    as_owner(home_path(options))  # root's controller would own files that the home's login cannot change
    return serve(home_path(options), standby=options.standby, join=options.join)


def _demo(options: argparse.Namespace) -> int:
    from bot.demo.fly import demo

    return demo(options.agent)


def _gate_try(options: argparse.Namespace) -> int:
    gc.disable()  # as in _serve; the try enables it
    from pathlib import Path

    from bot.local.gate_try import run

    return run(Path(options.repo), options.base, options.head, options.json, with_fleet(home_path(options)))


def _slack_manifest(options: argparse.Namespace) -> int:
    from bot.chats.slack.manifest import as_yaml, manifest
    from bot.commands import every_command

    sys.stdout.write(as_yaml(manifest(every_command(), prefix=options.prefix, url=options.url)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
