"""Commands that report what happened: diffs, digests, receipts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bot import words
from bot.cards import Action, Card, Line, Tone, capped, field, footed, line, one_line
from bot.commands.common import (
    FILE_LIMIT,
    file_if_long,
    isolation_of,
    last_session,
    reply,
    task_meant,
    zone_of_caller,
)
from bot.commands.daily import DATE, daily_digest, issued_on
from bot.digest import before, in_period, make_digest, over, parse_days, parse_span
from bot.digest_card import digest_card
from bot.doctor.bypass import said
from bot.look import look_at
from bot.outbox.posting import Posts
from bot.parse import tidy
from bot.parse import words as split
from bot.pictures import drawn
from bot.registry import Call, Command, Context, Effect, Group
from bot.telling.log_card import SHOWN_CHARACTERS, SHOWN_LINES
from fleet.errors import Refused, Unavailable
from fleet.events import ReceiptIssued
from fleet.git.patches import FileChanged, files_changed
from fleet.model import Isolation, Session, Task
from fleet.range_figures import Period
from fleet.schedule.times import local_time
from fleet.store import ledger, sessions
from fleet.store.core import Tx
from fleet.store.recent import last_events
from fleet.untrusted import Untrusted
from gates.people import Right
from gates.receipts import day as days
from gates.receipts import verify as receipts
from gates.receipts.day import note_beside
from gates.receipts.issue import issue
from gates.receipts.sshsig import PublicKey
from gates.receipts.verify import Check

_MORE = "more"
"""The last word of ``/digest``: everything, also what a phone does not need at once."""

_EVENTS = re.compile(r"(\d{1,15})-(\d{1,15})")


async def diff(context: Context, call: Call) -> Effect:
    """What a task changed, against the commit it started from."""
    task = await task_meant(context, call, newest=True)

    def read(tx: Tx) -> tuple[Session | None, str]:
        session = last_session(tx, task)
        made = [turn.snapshot for turn in sessions.turns(tx, session.id) if turn.snapshot] if session else []
        return session, made[-1] if made else ""

    session, snapshot = await context.store.read(read)
    if session is None or not snapshot:
        raise Refused(attempted=f"show what {task.id} changed", cause="it has no snapshot yet")
    patch = await context.control.diff(task.repo, session.base, snapshot, FILE_LIMIT)
    text, changed = patch.text, files_changed(patch)
    path = await file_if_long(context, f"{task.id}.diff", text)
    data = {
        "task": task.id,
        "base": session.base,
        "snapshot": snapshot,
        "files": [{"path": name, "added": each.added, "removed": each.removed} for name, each in changed.items()],
        "document": path,
    }
    title = line(f"{task.id} · {words.short(session.base)} → {words.short(snapshot)}")
    card = Card(
        title,
        capped(_files(changed), "and {n} more files", limit=8),
        body=Untrusted(text if not path else "\n".join(text.splitlines()[:SHOWN_LINES])[:SHOWN_CHARACTERS]),
        footer=footed(session.isolation),
        document=path,
    )
    return reply(call, card, task=task.id, data=data)


def _files(changed: Mapping[str, FileChanged]) -> list[Line]:
    """One line for each changed file, with what became of it: the part of a diff that fits a phone."""
    return [line(one_line(file, 60), one_line(_became(each), 90)) for file, each in changed.items()]


def _became(each: FileChanged) -> str:
    counted = each.added or each.removed or not each.also
    lines = f" +{each.added} −{each.removed}" if counted else ""
    return lines + (f"{',' if counted else ':'} {', '.join(each.also)}" if each.also else "")


async def digest(context: Context, call: Call) -> Effect:
    """What the fleet did in a period, as figures that anyone can recompute, and a picture."""
    if split(call.args.lower())[:1] == ["daily"]:
        return await daily_digest(context, call)
    *period_words, last = tidy(call.args).split() or [""]
    more = f"/digest {' '.join(tidy(call.args).split()) or '24h'} {_MORE}"
    if last.lower() == _MORE:
        call, more = replace(call, args=" ".join(period_words)), ""
    zone = await zone_of_caller(context, call)
    today = local_time(context.clock.now_us(), zone).date()
    if (period := parse_days(call.args, zone.key, today)) is not None:
        made = await in_period(context.store, period, zone)
        made.before = await before(context.store, period, zone)
    elif (events := _EVENTS.fullmatch(tidy(call.args))) is not None:
        more = ""
        begin, end, size = int(events.group(1)), int(events.group(2)), await context.store.read(ledger.size)
        if not 1 <= begin <= end <= size:
            raise DIGEST.misused(f"there are no events {begin:,} to {end:,}: the ledger has {size:,}")
        made = await over(context.store, begin, end, zone)
        if made.upto_us:
            made.before = await before(context.store, Period(made.from_us, made.upto_us), zone)
    elif (span := parse_span(call.args)) is not None:
        made = await make_digest(context.store, span, zone)
    else:
        raise DIGEST.misused(f"{call.args[:20]!r} is not a time span")
    try:
        picture, why = await asyncio.to_thread(drawn, context.home / "files", made), ""
    except Unavailable as error:  # the figures are worth more than their picture
        picture, why = "", str(error)
    isolation, look = context.config().isolation, await context.store.read(look_at)
    card = digest_card(made, isolation, picture, zone, look=look, more=more, asked=period)
    notes = [why] if why else []
    if not more and (bypassable := await asyncio.to_thread(said, context.home, context.config())):
        notes.append(bypassable)
    return reply(call, replace(card, lines=(*card.lines, *map(line, notes))), data=made.to_json())


async def receipt(context: Context, call: Call) -> Effect:
    """A landed task's receipt, as a file."""
    if (given := split(call.args)) and DATE.fullmatch(given[0]):
        return await _day_receipt(context, call, given[0])
    task = await task_meant(context, call, newest=True)
    issued = await _issued(context, task)
    data = {"task": task.id, "commit": issued.commit, "sha256": issued.sha256, "path": issued.path}
    card = Card(
        line(f"{task.id} · receipt"),
        fields=(field("Commit", words.short(issued.commit)), field("SHA-256", issued.sha256[:16] + "…")),
        actions=(Action("Verify", f"/verify {task.id}", once=False),),
        footer=footed(await isolation_of(context, task), "unwitnessed"),
        document=issued.path,
        tone=Tone.GOOD,
    )
    return reply(call, card, task=task.id, data=data)


async def _issued(context: Context, task: Task) -> ReceiptIssued:
    found = await context.store.read(lambda tx: last_events(tx, 1, kinds=(ReceiptIssued.KIND,), task=task.id))
    for recorded in found:
        if isinstance(recorded.event, ReceiptIssued):
            return await _here(context, task, recorded.event)
    raise Refused(
        attempted=f"show the receipt of {task.id}",
        cause=f"there is none: the task is {task.state}",
        hint="A task gets a receipt when it lands.",
    )


async def _here(context: Context, task: Task, issued: ReceiptIssued) -> ReceiptIssued:
    """The receipt in this home: another controller may have written it into its own. Made again it is the same,
    since it follows from the ledger and the fleet's key. Raises ``Refused`` where it is not."""
    if not context.store.can_be_shared or await asyncio.to_thread(Path(issued.path).exists):
        return issued
    again = await issue(context.store, context.home, task.id)
    if again.sha256 != issued.sha256:
        raise Refused(
            attempted=f"show the receipt of {task.id}",
            on=issued.path,
            cause="it is in another controller's home, and made again from the ledger it differs",
            hint="airboss verify --ledger there says why.",
        )
    return replace(issued, path=str(again.path))


async def verify(context: Context, call: Call) -> Effect:
    """Checks a receipt: its signature with the pinned key, the repository, and the ledger."""
    if (given := split(call.args)) and DATE.fullmatch(given[0]):
        issued_day = await context.store.read(lambda tx: issued_on(tx, given[0]))
        checks = await _checked(context, await days.here(context.store, context.home, issued_day), None)
        return _verified(call, issued_day.day, checks, context.config().isolation)
    task = await task_meant(context, call, newest=True)
    issued = await _issued(context, task)
    checks = await _checked(context, Path(issued.path), context.home / "repos" / f"{task.repo}.git")
    return _verified(call, task.id, checks, await isolation_of(context, task), task=task.id)


async def _checked(context: Context, path: Path, mirror: Path | None) -> list[Check]:
    """Every check of a receipt; ``mirror``: the repository where its task landed."""
    data, armoured, keys = await asyncio.to_thread(_read_receipt, context.home, path)
    checks = [receipts.check_signature(data, armoured, keys)]
    shape, statement = receipts.check_shape(data)
    checks.append(shape)
    if shape.ok:
        if mirror is not None:
            checks.append(await receipts.check_repository(statement, mirror))
        checks.append(await receipts.check_ledger(data, statement, context.store))
    return checks


def _verified(call: Call, what: str, checks: list[Check], isolation: Isolation, *, task: str = "") -> Effect:
    good = all(check.ok for check in checks)
    lines = [line("✓ " if check.ok else "✗ ", check.name, ": ", one_line(check.detail, 120)) for check in checks]
    card = Card(
        line(f"{what} · receipt {'verified' if good else 'NOT verified'}"),
        tuple(lines),
        footer=footed(isolation, "unwitnessed"),
        tone=Tone.GOOD if good else Tone.BAD,
    )

    def effect(posts: Posts) -> None:
        posts.data = {
            "verified": good,
            "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
            **({"task": task} if task else {}),
        }
        posts.post(call.message.chat, card, task=task)
        posts.conclude(status=0 if good else 1)

    return effect


async def _day_receipt(context: Context, call: Call, named: str) -> Effect:
    issued = await context.store.read(lambda tx: issued_on(tx, named))
    day = issued.day
    path = await days.here(context.store, context.home, issued)
    note = await asyncio.to_thread(_note_of, path)
    data = {
        "day": day,
        "root": issued.root_sha256,
        "sha256": issued.sha256,
        "path": str(path),
        "checkpoint": note,
    }
    card = Card(
        line(f"{day} · receipt"),
        fields=(
            field("Events", f"{issued.first_seq} to {issued.last_seq}"),
            field("Root", issued.root_sha256[:16] + "…"),
        ),
        body=Untrusted(note) if note else None,
        actions=(Action("Verify", f"/verify {day}-{issued.last_seq}", once=False),),
        footer=footed(context.config().isolation, "unwitnessed"),
        document=str(path),
        tone=Tone.GOOD,
    )
    return reply(call, card, data=data)


def _note_of(path: Path) -> str:
    """The signed note beside a day's receipt; empty where it has none."""
    try:
        return note_beside(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def _read_receipt(home: Path, path: Path) -> tuple[bytes, str, tuple[PublicKey, ...]]:
    keys = receipts.pinned_keys(home, None, (), path)
    try:
        return path.read_bytes(), path.with_name(path.name + ".sig").read_text(encoding="utf-8"), keys
    except OSError as error:
        raise Refused(
            attempted="verify the receipt",
            on=str(path),
            cause=str(error),
            hint="/receipt shows where it should be.",
        ) from error


DIGEST = Command(
    "digest",
    "figures",
    "figures for a day or another period",
    "[24h|7d|month|all|FROM..TO|daily 18:00 ZONE] [more]",
    Right.SEE,
    digest,
    Group.REPORTS,
)
COMMANDS = (
    Command("diff", "", "what a task changed", "[TASK]", Right.SEE, diff, Group.REPORTS),
    DIGEST,
    Command("receipt", "", "a landed task's signed receipt", "[TASK|DATE]", Right.SEE, receipt, Group.REPORTS),
    Command("verify", "", "check a receipt again", "[TASK|DATE]", Right.SEE, verify, Group.REPORTS),
)
