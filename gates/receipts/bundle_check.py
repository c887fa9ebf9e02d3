"""Checks a bundle against a pinned key, from the file alone: signatures, every event, the root, the figures.

Every check is reported. The first event that differs is named.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final
from zoneinfo import ZoneInfo

from fleet.errors import Malformed
from fleet.events import GateClosed, GateWitnessed
from fleet.events.counted import (
    IMPORTED,
    NOT_COUNTED,
    NOTHING,
    CountedLine,
    NumberedLine,
    decode_counted,
    numbered,
)
from fleet.events.merkle import Frontier
from fleet.range_figures import KINDS, Period, RangeFigures
from gates.receipts import bundle, cosigned, sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.cosigned import Contents, Demand, OpeningsSeen
from gates.receipts.verify import Check

HEADER_LIMIT: Final = 4 << 20
LINE_LIMIT: Final = 16 << 20
LEAVES_LIMIT: Final = 1 << 30  # of 24 million events
SIGNATURES_LIMIT: Final = 64 << 10
_ATTEMPT: Final = re.compile(r"-(\d{1,9})\d*", re.ASCII)
_COUNTED: Final = frozenset((*KINDS, *cosigned.KINDS))
_NOBODY: Final = Demand()
_RUN: Final = 256


@dataclass(frozen=True, slots=True)
class Checked:
    """The checks, and the header where all of them hold."""

    checks: tuple[Check, ...]
    header: dict[str, Any]


@dataclass(slots=True)
class Attempts:
    """Runs of gates: numbered without gaps, and each opening with its close."""

    last: dict[str, int] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)
    open_runs: dict[str, int] = field(default_factory=dict)
    gap: str = ""

    def add(self, said: CountedLine, *, whole: bool) -> None:
        """``whole``: the ledger is there from its start, so the first attempt must be too."""
        run = said.gate_run
        if said.kind == GateClosed.KIND:
            self.open_runs.pop(run, None)
            return
        name = f"{said.turn}-{said.body.gate}"
        rest = run.removeprefix(name)
        named = _ATTEMPT.fullmatch(rest)
        number = int(named[1]) if named else 1
        if not self._follows(name, number) and (whole or name in self.last) and not self.gap:
            self.gap = f"event {said.seq}: an attempt before {run} is missing"
        self.last[name] = number
        self.runs.add(run)
        self.open_runs[run] = said.seq

    def _follows(self, name: str, number: int) -> bool:
        """Whether this attempt is the next one. A number is left out when another gate's run has that name."""
        before = self.last.get(name, 0)
        between = (f"{name}-{left_out}" if left_out > 1 else name for left_out in range(before + 1, number))
        return number > before and all(run in self.runs for run in between)


def is_bundle(path: Path) -> bool:
    """Whether the file says that it is a bundle."""
    try:
        with path.open("rb") as file:
            return file.read(len(bundle.START)) == bundle.START
    except OSError:
        return False


def leaves_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the leaf hashes of an export that was checked."""
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.readline(HEADER_LIMIT))
        return header, base64.b64decode(json.loads(file.readline(LEAVES_LIMIT))["leaves"])


def check(path: Path, pinned: Sequence[sshsig.PublicKey], demand: Demand = _NOBODY) -> Checked:
    """All checks of a bundle; with a ``demand``, of who outside signed it too. Raises ``OSError`` when it cannot be
    read."""
    with path.open("rb") as file:
        raw = file.readline(HEADER_LIMIT)
        try:
            header = json.loads(raw)
            problem = bundle.problem(header)
        except (ValueError, RecursionError) as error:
            problem = f"it is no JSON: {error}"
        if problem:
            return Checked((Check("header", False, problem),), {})
        try:
            leaves = base64.b64decode(json.loads(file.readline(LEAVES_LIMIT))["leaves"], validate=True)
        except (ValueError, TypeError, KeyError, RecursionError):
            leaves = b""
        trusted = hashlib.sha256(leaves).hexdigest() == header["leaves_sha256"]
        reading = _Reading(header, leaves if trusted else b"")
        damage = reading.read(file)
        given = _signatures_of(file, damaged=bool(damage))
        found = [
            Check("header", True, f"{header['from']} to {header['to']}, {header['tz']}"),
            *_signatures(given, raw.rstrip(b"\n"), header["checkpoint"], pinned),
            Check("leaves", trusted, "the hash in the header" if trusted else "the list of hashes was changed"),
            Check("events", not damage, damage or _events(header)),
        ]
    found += reading.checks() if not damage else ()
    if demand.witnesses and all(each.ok for each in found):
        has = Contents(header, leaves, given.get("witnessed"), reading.openings)
        found.append(_witnessed(demand, pinned, has))
    return Checked(tuple(found), header if all(each.ok for each in found) else {})


def _events(header: Mapping[str, Any]) -> str:
    first, last = header["first_seq"], header["size"]
    return f"{first} to {last}" if first <= last else f"none of these days, up to event {last}"


class _Reading:
    """Folds the events of one file."""

    def __init__(self, header: dict[str, Any], leaves: bytes) -> None:
        self._header, self._leaves = header, leaves
        self._first, self._size = header["first_seq"], header["size"]
        self._tree = Frontier(self._first - 1, [bytes.fromhex(found) for found in header["before"]])
        self._figures = RangeFigures(ZoneInfo(header["tz"]), Period(header["from_us"], header["upto_us"]))
        self._attempts = Attempts()
        self.openings = OpeningsSeen()

    def read(self, file: IO[bytes]) -> str:
        """What is wrong with the first event that differs; empty: nothing."""
        run: list[bytes] = []
        leaves, sha256, readline, add = self._leaves, hashlib.sha256, file.readline, self._figures.add
        for seq in range(self._first, self._size + 1):
            line = readline(LINE_LIMIT)
            leaf = sha256(b"\x00" + line[:-1]).digest()
            at = (seq - self._first) * 32
            if leaves and leaf != leaves[at : at + 32]:
                return _difference(seq, line)
            try:
                said: NumberedLine = decode_counted(line)
            except NOT_COUNTED:
                said = numbered(line)
                if said.kind in _COUNTED:  # a kind that figures are made of, with a body of another form
                    said = NOTHING
            if said.seq != seq or line[-1:] != b"\n":
                return _difference(seq, line)
            kind = said.kind
            if kind in _COUNTED and isinstance(said, CountedLine):
                imported = said.source == IMPORTED
                add(kind, said.body, said.time_us, said.session, said.machine, imported=imported, run=said.gate_run)
                if kind in cosigned.KINDS:
                    self.openings.add(line)
                    if kind != GateWitnessed.KIND:
                        self._attempts.add(said, whole=self._first == 1)
            run.append(leaf)
            if len(run) == _RUN:
                self._tree.add_all(run)
                run.clear()
        self._tree.add_all(run)
        return ""

    def checks(self) -> Iterator[Check]:
        """What the events give together."""
        root, point = self._tree.root(), Checkpoint.parse(self._header["checkpoint"])
        ok = root == point.root
        where = f"{root.hex()[:16]}… of {self._size:,} events"
        yield Check("root", ok, where if ok else f"the events give the root {where}, not the checkpoint's")
        still_open = ", ".join(f"{run} (event {seq})" for run, seq in list(self._attempts.open_runs.items())[:10])
        fine = "numbered without gaps" + (f"; opened and never closed: {still_open}" if still_open else "")
        yield Check("attempts", not self._attempts.gap, self._attempts.gap or fine)
        figures, said = self._figures.plain(), self._header["figures"]
        wrong = next((name for name in sorted({*figures, *said}) if figures.get(name) != said.get(name)), "")
        detail = f"{wrong} is {figures.get(wrong)}, not {said.get(wrong)}" if wrong else "all of them, again"
        yield Check("figures", not wrong, detail)


def _witnessed(demand: Demand, pinned: Sequence[sshsig.PublicKey], has: Contents) -> Check:
    try:
        wrong, said = cosigned.problem(demand, pinned, has)
    except Malformed as error:
        wrong, said = error.cause, ""
    return Check("witnesses", not wrong, wrong or said)


def _signatures_of(file: IO[bytes], *, damaged: bool) -> dict[str, Any]:
    """The last line; empty where it is none. Behind a damaged event it is looked for."""
    if damaged:
        file.seek(max(file.tell(), file.seek(0, os.SEEK_END) - SIGNATURES_LIMIT))
    left = file.read(SIGNATURES_LIMIT + 1)
    rest = left.splitlines()
    last = rest[-1:] if damaged else rest
    if not left.endswith(b"\n"):
        return {}
    try:
        (line,) = last
        given = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return given if isinstance(given, dict) else {}


def _signatures(
    given: dict[str, Any], header: bytes, point: str, pinned: Sequence[sshsig.PublicKey]
) -> Iterator[Check]:
    """Both signatures."""
    try:
        signed = [
            ("header", header, str(given["bundle_sig"]), bundle.HEADER_SIGNATURE),
            ("checkpoint", point.encode(), str(given["checkpoint_sig"]), bundle.CHECKPOINT_SIGNATURE),
        ]
    except KeyError:
        yield Check("signature", False, "the file does not end with its signatures")
        return
    for name, message, armoured, namespace in signed:
        reasons = []
        for key in pinned:
            reason = sshsig.verify(armoured, message, key, namespace)
            if not reason:
                yield Check("signature", True, f"of the {name}, by the pinned key {key.fingerprint}")
                break
            reasons.append(reason)
        else:
            yield Check("signature", False, f"of the {name}: {'; '.join(dict.fromkeys(reasons))}")


def _difference(seq: int, line: bytes) -> str:
    if not line:
        return f"event {seq} is missing: the file ends before it"
    if not line.endswith(b"\n"):
        return f"event {seq} is cut off"
    said = numbered(line).seq
    if not said:
        return f"event {seq} is missing, or its bytes were changed"
    if said > seq:
        return f"event {seq} is missing: event {said} is in its place"
    if said < seq:
        return f"event {seq}: event {said} is in its place, which was inserted or moved"
    return f"event {seq}: its bytes were changed"
