"""``airboss verify``: whether the pinned key signed a receipt, and whether the repository and the ledger agree."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fleet.errors import Misused, Unavailable
from fleet.store import ledger as events
from fleet.store.core import Store
from fleet.untrusted import clean
from gates.receipts import against as copies
from gates.receipts import bundle_check, dsse
from gates.receipts import proof as proofs
from gates.receipts import verify as checks
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.cosigned import Demand
from gates.receipts.note import KeyType, NoteKey
from gates.receipts.sshsig import BUNDLE_NAMESPACES, NAMESPACE, PublicKey
from gates.receipts.statement import UNWITNESSED
from gates.receipts.verify import Check


def run(options: argparse.Namespace, home: Path) -> int:
    """The command."""
    return asyncio.run(
        verify(
            Path(options.receipt),
            home=home,
            allowed_signers=_path(options.allowed_signers),
            keys=options.key,
            repo=_path(options.repo),
            ledger=options.ledger,
            proof=_path(options.proof),
            against=[Path(each) for each in options.against],
            witnesses=options.witness,
            needed=options.witnesses_needed,
            as_json=options.json,
        )
    )


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None


async def verify(
    receipt: Path,
    *,
    home: Path,
    allowed_signers: Path | None = None,
    keys: Sequence[str] = (),
    repo: Path | None = None,
    ledger: str = "",
    proof: Path | None = None,
    against: Sequence[Path] = (),
    witnesses: Sequence[str] = (),
    needed: int = 0,
    as_json: bool = False,
) -> int:
    """Prints each check. Returns 0 if all of them hold, else 1.

    ``ledger`` is a store's URL or the path of an SQLite file, ``proof`` what ``airboss prove`` wrote, ``against``
    are checkpoints that somebody else has. ``needed`` of the ``witnesses``, which are keys, must have signed an
    export, or the proof's checkpoint.
    Raises ``Misused`` (2) without a pinned key or a receipt, and ``Unavailable`` (3) when the repository or the
    ledger cannot be read.
    """
    exported = bundle_check.is_bundle(receipt)
    namespaces = BUNDLE_NAMESPACES if exported else (NAMESPACE,)
    pinned = checks.pinned_keys(home, allowed_signers, keys, receipt, namespaces)
    others = [point for path in against for point in copies.read(path, pinned)]
    demand = _demand(witnesses, needed)
    if exported:
        _demand_none({"--repo": repo, "--ledger": ledger, "--proof": proof}, receipt, "an export")
        return await _verify_bundle(receipt, pinned, others, demand, as_json)
    if (witnesses or needed) and proof is None:
        raise Misused(
            attempted="check the witnesses of a receipt",
            on=str(receipt),
            cause="their signatures are in the ledger, not in a receipt",
            hint="Check an export of its day (airboss export --from DATE --to DATE -o FILE), or give --proof.",
        )
    if others and not ledger and proof is None:
        raise Misused(
            attempted="compare a receipt with another copy",
            on=str(receipt),
            cause="a receipt alone does not have the events",
            hint="Name the ledger too (--ledger airboss.db), or a proof (--proof). An export needs none.",
        )
    data = read_receipt(receipt)
    if dsse.is_envelope(data):
        envelope = dsse.Envelope.parse(data)
        data, signed = envelope.payload, checks.check_envelope(envelope, pinned)
    else:
        beside = receipt.with_name(receipt.name + ".sig")
        if await asyncio.to_thread(beside.exists):
            signed = checks.check_signature(data, read_receipt(beside).decode("ascii", "replace"), pinned)
        else:
            signed = Check("signature", False, f"there is no {beside.name} beside it, and it is no whole export")
    shape, statement = checks.check_shape(data)
    found = [signed, shape]
    if shape.ok and not checks.lands(statement):
        _demand_none({"--repo": repo}, receipt, "a receipt that is of no landing")
    if shape.ok and repo is not None:
        found.append(await checks.check_repository(statement, repo))
    if shape.ok and ledger:
        with Store.open(_url(ledger), create=False) as store:
            found.append(await checks.check_ledger(data, statement, store))
            if others:
                size = await store.read(events.size)
                found.append(await copies.compare(others, partial(copies.roots_of_store, store), 1, size))
    if shape.ok and proof is not None:
        entry, shown = proofs.check(proofs.Proof.parse(read_receipt(proof)), statement, pinned, demand)
        found += entry
        if shown and others and not ledger:
            first, size = min(shown), max(shown)
            known = [point for point in others if point.size <= size]
            found.append(await copies.compare(known, partial(_among, shown), first, size))
    verified = all(check.ok for check in found)
    said = as_plain(receipt, found, statement if verified else {})
    name = _named(statement) if verified else ""
    sys.stdout.write(json.dumps(said, indent=2) + "\n" if as_json else _lines(found, name))
    return 0 if verified else 1


def _demand_none(given: dict[str, object], receipt: Path, what: str) -> None:
    """Raises ``Misused`` where something is asked for that would not be checked."""
    if asked := " and ".join(name for name, value in given.items() if value):
        raise Misused(
            attempted=f"check {what} with {asked}",
            on=str(receipt),
            cause="it has nothing that could be compared with that",
            hint="Leave it out. Whether an export fits another one, --against COPY says.",
        )


async def _among(shown: dict[int, bytes], sizes: Sequence[int]) -> dict[int, bytes]:
    return {size: shown[size] for size in sizes if size in shown}


async def _verify_bundle(
    path: Path, pinned: Sequence[PublicKey], others: Sequence[Checkpoint], demand: Demand, as_json: bool
) -> int:
    try:
        checked = await asyncio.to_thread(bundle_check.check, path, pinned, demand)
    except OSError as error:
        raise Unavailable(attempted="read the export", on=str(path), cause=error.strerror or str(error)) from error
    header, found = checked.header, list(checked.checks)
    if header and others:
        first, size = max(1, header["first_seq"] - 1), header["size"]
        found.append(await copies.compare(others, partial(copies.roots_of_bundle, path), first, size))
        header = header if found[-1].ok else {}
    said = {
        **as_plain(path, found, {}),
        "from": header.get("from"),
        "to": header.get("to"),
        "witness": header.get("witness"),
        "figures": header.get("figures"),
    }
    witness = header["witness"] if header else ""
    if header and header["witness"] != UNWITNESSED and not demand.witnesses:
        witness = f"says that it is {witness}: check that with --witness"
    name = f"{header['from']} to {header['to']} ({witness})" if header else ""
    sys.stdout.write(json.dumps(said, indent=2) + "\n" if as_json else _lines(found, name))
    return 0 if header else 1


def _demand(lines: Sequence[str], needed: int) -> Demand:
    keys = tuple(NoteKey.parse(line) for line in lines)
    if len({key.raw for key in keys}) < needed:
        raise Misused(
            attempted="check the witnesses",
            cause=f"{needed} must have signed, and fewer keys are given",
            hint="Give the key of each witness: --witness NAME+ID+KEY.",
        )
    if any(key.type is not KeyType.WITNESS for key in keys):
        raise Misused(attempted="check the witnesses", cause="a key is a log's", hint="A witness prints its own.")
    return Demand(keys, needed)


def _url(ledger: str) -> str:
    return ledger if "://" in ledger else f"sqlite:///{Path(ledger).resolve()}"


def read_receipt(path: Path) -> bytes:
    """The bytes of a receipt or of what lies beside it. Raises ``Misused``."""
    try:
        with path.open("rb") as file:
            data = file.read(checks.SIZE_LIMIT + 1)
    except OSError as error:
        raise Misused(
            attempted="read the receipt",
            on=str(path),
            cause=error.strerror or str(error),
            hint="A receipt is TASK.json, with TASK.json.sig in the same directory.",
        ) from error
    if len(data) > checks.SIZE_LIMIT:
        raise Misused(attempted="read the receipt", on=str(path), cause=f"it is over {checks.SIZE_LIMIT >> 20} MiB")
    return data


def as_plain(receipt: Path, found: list[Check], statement: dict[str, Any]) -> dict[str, Any]:
    """The result as JSON of the shape in ``docs/schema/verify.json``, without any content of an unverified
    receipt."""
    said = statement.get("predicate", {})
    return {
        "v": 1,
        "receipt": str(receipt),
        "verified": all(check.ok for check in found),
        "checks": [{"name": check.name, "ok": check.ok, "detail": clean(check.detail)} for check in found],
        "commit": checks.commit_of(statement) or None,
        "day": said.get("day"),
        "isolation": said["isolation"] if isinstance(said.get("isolation"), str) else None,
        "witness": said.get("witness"),
    }


def _named(statement: dict[str, Any]) -> str:
    """What was verified, with what a reader must know about it."""
    said = statement["predicate"]
    known = [said.get("outcome"), said.get("result"), said.get("isolation"), said.get("witness")]
    about = ", ".join(each for each in known if isinstance(each, str))
    return f"{checks.commit_of(statement) or said['day']} ({about})"


def _lines(found: list[Check], verified: str) -> str:
    lines = [f"{'ok ' if check.ok else 'NO '} {check.name}: {clean(check.detail)}" for check in found]
    return "\n".join([*lines, f"verified: {verified}" if verified else "NOT verified"]) + "\n"
