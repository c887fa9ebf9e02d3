"""The commands about figures and their proof that need no controller: import and export. Quick to import."""

from __future__ import annotations

import argparse

from bot.local.options import home_path, word


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
        add.set_defaults(run=_import)

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
    add.set_defaults(run=_export)

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
    add.set_defaults(run=_prove)

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
    add.set_defaults(run=_verify)

    _add_keys(commands)
    add = commands.add_parser("witness", help="sign other people's checkpoints, if each continues the one before")
    add.add_argument("directory", type=word, metavar="DIR", help="its key, the logs it knows, what it signed")
    add.add_argument("--listen", default="127.0.0.1:8099", metavar="HOST:PORT")
    add.add_argument("--name", default="airboss-witness", help="how its signatures name it")
    add.add_argument("--log", action="append", default=[], metavar="LINE", help="a log's key: airboss keys publish")
    add.set_defaults(run=_witness)


def _add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verbs = commands.add_parser("keys", help="the key that signs receipts").add_subparsers(
        metavar="COMMAND", required=True, dest="verb"
    )
    for name, about in (
        ("list", "the key that signs, and those before it"),
        ("make", "make the key, where there is none"),
        ("rotate", "a new key signs from now on; old receipts still verify"),
        ("adopt", "this home's keys are the fleet's from now on: the ones before are lost"),
        ("publish", "what others need to verify, and to witness"),
    ):
        add = verbs.add_parser(name, help=about)
        add.add_argument("--json", action="store_true")
        add.set_defaults(run=_keys)


def _keys(options: argparse.Namespace) -> int:
    from bot.local import keys
    from bot.local.owner import as_owner

    as_owner(home_path(options))
    verbs = {
        "list": keys.listed, "make": keys.make, "rotate": keys.rotate, "adopt": keys.adopt, "publish": keys.publish,
    }  # fmt: skip
    return verbs[options.verb](options, home_path(options))


def _witness(options: argparse.Namespace) -> int:
    from bot.local.witnessing import run

    return run(options)


def _import(options: argparse.Namespace) -> int:
    from bot.local.importing import run

    return run(options, home_path(options))


def _export(options: argparse.Namespace) -> int:
    from bot.local.exporting import run
    from bot.local.owner import as_owner

    as_owner(home_path(options))
    return run(options, home_path(options))


def _prove(options: argparse.Namespace) -> int:
    from bot.local.owner import as_owner
    from bot.local.proving import run

    as_owner(home_path(options))
    return run(options, home_path(options))


def _verify(options: argparse.Namespace) -> int:
    import asyncio
    from pathlib import Path

    from bot.local.verify import verify

    return asyncio.run(
        verify(
            Path(options.receipt),
            home=home_path(options),
            allowed_signers=Path(options.allowed_signers) if options.allowed_signers else None,
            keys=options.key,
            repo=Path(options.repo) if options.repo else None,
            ledger=options.ledger,
            proof=Path(options.proof) if options.proof else None,
            against=[Path(each) for each in options.against],
            witnesses=options.witness,
            needed=options.witnesses_needed,
            as_json=options.json,
        )
    )
