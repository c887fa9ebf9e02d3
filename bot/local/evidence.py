"""The commands about figures and their proof that need no controller: import and export. Quick to import."""

from __future__ import annotations

import argparse

from bot.local.options import Later, word


def add_evidence(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the commands."""
    verbs = commands.add_parser("import", help="an agent's own session files, as figures").add_subparsers(
        metavar="AGENT", required=True, dest="agent"
    )
    for agent, folder in (("claude", "~/.claude/projects"), ("codex", "~/.codex/sessions")):
        add = verbs.add_parser(agent, help=f"the session files in {folder}")
        add.add_argument(
            "directory", type=word, metavar="DIR", help=f"usually {folder}; a second time adds what is new"
        )
        add.add_argument("--machine", default="", metavar="NAME", help="where they ran (default: this machine)")
        add.add_argument("--json", action="store_true")
        add.set_defaults(run=Later("local.importing", "run"))

    add = commands.add_parser("export", help="the events of some days in one file that anybody can check")
    add.add_argument("--from", required=True, metavar="DATE", dest="first", help="the first day, as 2026-11-01")
    add.add_argument("--to", required=True, metavar="DATE", dest="last", help="the last day, included")
    add.add_argument("--tz", default="UTC", metavar="ZONE", help="whose days these are (default: UTC)")
    add.add_argument("-o", "--output", required=True, type=word, metavar="FILE")
    add.add_argument(
        "--as",
        dest="form",
        default="bundle",
        choices=("bundle", "csv", "otlp", "parquet"),
        help="a signed bundle (default), or each tool call: as a table, or as OpenTelemetry's spans",
    )
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("local.exporting", "run", owner=True))

    add = commands.add_parser(
        "prove", help="that a receipt's event is in the ledger of a checkpoint that somebody has"
    )
    add.add_argument("receipt", type=word, metavar="FILE", help="a receipt (RECEIPT.json)")
    add.add_argument(
        "--checkpoint",
        type=word,
        metavar="NOTE",
        help="theirs (default: the last that witnesses signed too, or the ledger's end)",
    )
    add.add_argument(
        "-o", "--output", type=word, metavar="PROOF", help="where to write it (default: beside the receipt)"
    )
    add.set_defaults(run=Later("local.proving", "run", owner=True))

    add = commands.add_parser("verify", help="check a receipt or an export against a pinned key")
    add.add_argument("receipt", type=word, metavar="FILE", help="a receipt (RECEIPT.json), or an export")
    pinned = "the pinned public key: 'ssh-ed25519 AAAA…'; again for one after a rotation"
    add.add_argument("--key", action="append", default=[], metavar="LINE", help=pinned)
    add.add_argument("--allowed-signers", type=word, metavar="FILE", help="pinned keys, in ssh-keygen's format")
    add.add_argument("--repo", type=word, metavar="DIR", help="also check the landed commit in this repository")
    add.add_argument("--ledger", default="", metavar="STORE", help="also recompute it from this store")
    add.add_argument("--proof", type=word, metavar="PROOF", help="what `airboss prove` wrote for this receipt")
    add.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="COPY",
        help="also compare it with checkpoints that somebody else has: a witness's, or another export",
    )
    add.add_argument(
        "--witness",
        action="append",
        default=[],
        metavar="KEY",
        help="a witness's key, for an export or a proof: NAME+ID+KEY",
    )
    add.add_argument(
        "--witnesses-needed", type=int, default=0, metavar="K", help="so many of them must have signed (default: 0)"
    )
    add.add_argument("--json", action="store_true")
    add.set_defaults(run=Later("local.verify", "run"))

    _add_keys(commands)
    add = commands.add_parser("witness", help="sign other people's checkpoints, if each continues the one before")
    add.add_argument("directory", type=word, metavar="DIR", help="its key, the logs it knows, what it signed")
    add.add_argument("--listen", default="127.0.0.1:8099", metavar="HOST:PORT")
    add.add_argument("--name", default="airboss-witness", help="how its signatures name it")
    add.add_argument("--log", action="append", default=[], metavar="LINE", help="a log's key: airboss keys publish")
    add.set_defaults(run=_witness)


def _add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verbs = commands.add_parser("keys", help="the key that signs receipts").add_subparsers(
        metavar="COMMAND", required=True
    )
    for name, function, about in (
        ("list", "listed", "the key that signs, and those before it"),
        ("make", "make", "make the key, where there is none"),
        ("rotate", "rotate", "a new key signs from now on; old receipts still verify"),
        ("adopt", "adopt", "this home's keys are the fleet's from now on: the ones before are lost"),
        ("publish", "publish", "what others need to verify, and to witness"),
    ):
        add = verbs.add_parser(name, help=about)
        add.add_argument("--json", action="store_true")
        add.set_defaults(run=Later("local.keys", function, owner=True))


def _witness(options: argparse.Namespace) -> int:
    from bot.local.witnessing import run

    return run(options)
