"""The messages that a ledger event is worth: pure but for reading what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from bot import words
from bot.cards import Action, Card, Tone, capped, field, line, one_line
from bot.progress import GateSeen, Progress, footer
from fleet.events import (
    HoldReleased,
    LandingDone,
    LinkChanged,
    PermissionAsked,
    PermissionDecided,
    PersonSaid,
    ReceiptIssued,
    Recorded,
    TaskMoved,
    TurnStarted,
    VerdictGiven,
)
from fleet.model import Isolation, Task, TaskState
from fleet.store import approvals, lately
from fleet.store.core import Tx
from fleet.untrusted import Untrusted
from fleet.verdict import GateOutcome, Outcome

APPROVES = "approves this command line, not the files it reads"


@dataclass(frozen=True, slots=True)
class Notice:
    """A message, or (``edits``) a change of the one that was posted under ``key``."""

    card: Card
    key: str = ""
    ping: bool = False
    edits: bool = False


def of(tx: Tx, task: Task, recorded: Recorded, progress: Progress, isolation: Isolation) -> list[Notice]:
    """What to tell of this event. ``progress`` is folded up to and including it."""
    base = footer(task, progress, isolation)
    match recorded.event:
        case VerdictGiven() as verdict:
            return _verdict(task, verdict, progress, base)
        case TurnStarted(cause="rework", number=number):
            title = line(f"↩ {task.id} · sent back to {task.agent} with the output")
            return [Notice(Card(title, (line(f"Turn {number} begins."),), footer=base, tone=Tone.WORKING))]
        case TaskMoved() as moved:
            return _moved(tx, task, moved, progress, base)
        case LandingDone() as landed:
            return [Notice(_landed(task, landed, progress, base))]
        case ReceiptIssued() as receipt:
            return [Notice(receipt_card(task, receipt, base))]
        case PermissionAsked(ask=ask):
            asked = lately.approval_of_ask(tx, recorded.refs.session, ask)
            if asked is None or asked.decision:
                return []
            return [Notice(permission_card(task, asked, base), key=f"ask:{asked.id}", ping=True)]
        case PermissionDecided(ask=ask):
            return _answered(task, lately.approval_of_ask(tx, recorded.refs.session, ask), base)
        case HoldReleased():
            return _answered(task, lately.last_hold(tx, task.id), base)
        case PersonSaid(taken=taken, text=text):
            how = "reached the running turn" if taken == "steered" else "are the agent's next turn"
            return [Notice(Card(line(f"{task.id} · your words {how}"), (line(one_line(text, 120)),), footer=base))]
        case LinkChanged(up=False, why=why):
            lines = (line(one_line(why, 120)), line("What runs there goes on; it is read when the link is back."))
            return [
                Notice(Card(line(f"{task.id} · no link to {progress.machine}"), lines, footer=base, tone=Tone.BAD))
            ]
        case _:
            return []


def _answered(task: Task, asked: approvals.Approval | None, base: str) -> list[Notice]:
    if asked is None or not asked.decision:
        return []
    return [Notice(decided_card(task, asked, asked.decided_by, base), key=f"ask:{asked.id}", edits=True)]


def _gates(verdict: VerdictGiven, progress: Progress) -> list[GateSeen]:
    return [progress.gates[run] for run in verdict.gate_runs if run in progress.gates]


def _verdict(task: Task, verdict: VerdictGiven, progress: Progress, base: str) -> list[Notice]:
    if verdict.outcome == Outcome.PASSED:
        gates = tuple(line(seen.summary() + _tests(seen)) for seen in _gates(verdict, progress))
        title = line(f"{task.id} · passed at {words.short(verdict.commit)}")
        return [Notice(Card(title, capped(gates, "and {n} more gates"), footer=base, tone=Tone.GOOD))]
    if verdict.outcome != Outcome.FAILED:
        return []  # the task moves to held, refused, unavailable or lost, and that is told
    first = progress.reds == 1
    card = failed_card(task, verdict, progress, base)
    return [Notice(card, key=f"red:{task.id}", ping=first, edits=not first)]


def _tests(seen: GateSeen) -> str:
    return f" · {seen.tests()}" if seen.tests() else ""


def failed_card(task: Task, verdict: VerdictGiven, progress: Progress, base: str) -> Card:
    """A gate said no: what ran, how it really ended, where, on what, and the lines that matter."""
    red = [seen for seen in _gates(verdict, progress) if seen.outcome != GateOutcome.PASSED]
    title, fields, lines = line(f"{task.id} · the gates said no"), [], verdict.reasons
    if red:
        title = line(f"{task.id} · gate {red[0].gate} failed: {red[0].exit or red[0].reason}")
        fields = [field("Ran", one_line(" ".join(red[0].argv), 200)), field("On", red[0].machine)]
        if red[0].tests():
            fields.append(field("JUnit", red[0].tests()))
        lines = verdict.reasons if len(red) > 1 else ()
    fields += [field("Commit", words.short(verdict.commit)), field("Turn", f"{progress.turn}")]
    actions = (
        Action("Retry", f"/retry {task.id}"),
        Action("Log", f"/logs {task.id}", once=False),
        Action("Diff", f"/diff {task.id}", once=False),
        Action("Stop", f"/stop {task.id}"),
    )
    return Card(
        title=title,
        lines=tuple(line(one_line(reason, 140)) for reason in lines[:4]),
        fields=tuple(fields),
        body=Untrusted(verdict.tail) if verdict.tail else None,
        actions=actions,
        footer=base,
        tone=Tone.BAD,
        mention=task.requester,
    )


def _moved(tx: Tx, task: Task, moved: TaskMoved, progress: Progress, base: str) -> list[Notice]:
    retry = (Action("Retry", f"/retry {task.id}"), Action("Log", f"/logs {task.id}", once=False))
    why = (line(one_line(moved.why, 300)),) if moved.why else ()
    match moved.new:
        case TaskState.HELD:
            holds = [one for one in approvals.waiting(tx, task.id) if one.kind == "hold"]
            return [Notice(hold_card(task, one, base), key=f"ask:{one.id}", ping=True) for one in holds]
        case TaskState.FAILED | TaskState.REFUSED | TaskState.UNAVAILABLE | TaskState.LOST:
            title = line(f"{task.id} · {moved.new}")
            card = Card(title, why, actions=retry, footer=base, tone=Tone.BAD, mention=task.requester)
            return [Notice(card, ping=True)]
        case TaskState.STOPPED:
            return [Notice(Card(line(f"{task.id} · stopped"), why, actions=retry, footer=base))]
        case TaskState.ANSWERED:
            title = line(f"{task.id} · answered")
            body = Untrusted(progress.claim or progress.said)
            return [Notice(Card(title, body=body, footer=base, tone=Tone.GOOD))]
        case _:
            return []


def _landed(task: Task, landed: LandingDone, progress: Progress, base: str) -> Card:
    branch = landed.ref.removeprefix("refs/heads/")
    fields = [field("Commit", words.short(landed.new)), field("Turns", f"{progress.turn}")]
    if progress.snapshot:
        made = progress.snapshot
        fields.append(field("Change", f"{words.count(made.files, 'file')} +{made.insertions} −{made.deletions}"))
    if progress.cost_udollar:
        fields.append(field("Cost", words.money(progress.cost_udollar)))
    return Card(
        title=line(f"{task.id} · landed on {branch}"),
        lines=(line(one_line(task.prompt, 80)),),
        fields=tuple(fields),
        actions=(
            Action("Diff", f"/diff {task.id}", once=False),
            Action("Receipt", f"/receipt {task.id}", once=False),
        ),
        footer=base,
        tone=Tone.GOOD,
    )


def receipt_card(task: Task, receipt: ReceiptIssued, base: str) -> Card:
    """A receipt, with its file."""
    return Card(
        title=line(f"{task.id} · receipt"),
        fields=(field("Commit", words.short(receipt.commit)), field("SHA-256", receipt.sha256[:16] + "…")),
        lines=(line("Signed by this controller; unwitnessed."),),
        actions=(Action("Verify", f"/verify {task.id}", once=False),),
        footer=base,
        tone=Tone.GOOD,
        document=receipt.path,
    )


def permission_card(task: Task, asked: approvals.Approval, base: str) -> Card:
    """An agent's question before it acts: exactly what will run, and until when it waits."""
    title = line(f"{task.id} · ", one_line(asked.tool, 40), " asks to run" if asked.command else " asks to act")
    return Card(
        title=title,
        lines=(line(one_line(asked.reason, 120)), line(f"A yes {APPROVES}.")),
        fields=(field("Waits until", words.clock(asked.expires_us)),),
        body=Untrusted(_what(asked)),
        actions=_decide(asked),
        footer=base,
        tone=Tone.WAITING,
        mention=task.requester,
    )


def hold_card(task: Task, held: approvals.Approval, base: str) -> Card:
    """A change that passed but waits for an admin."""
    diff = Action("Diff", f"/diff {task.id}", once=False)
    return Card(
        title=line(f"{task.id} · held for a person"),
        lines=(line(one_line(held.reason, 300)),),
        fields=(field("Commit", words.short(held.commit)),),
        actions=(*_decide(held), diff),
        footer=base,
        tone=Tone.WAITING,
        mention=task.requester,
    )


def _decide(asked: approvals.Approval) -> tuple[Action, ...]:
    digest = binding(asked)
    return (
        Action("Approve", f"/approve {asked.id}", digest=digest),
        Action("Deny", f"/deny {asked.id}", digest=digest),
    )


def _what(asked: approvals.Approval) -> str:
    """Exactly what would be done."""
    if asked.kind == "hold":
        return f"the change {words.short(asked.commit)}"
    return asked.command or "\n".join(asked.paths) or asked.request


def binding(asked: approvals.Approval) -> str:
    """What a yes binds to: the whole request, or the commit and tree that are held."""
    return sha256(f"{asked.id}\0{asked.request}\0{asked.commit}\0{asked.tree}".encode()).hexdigest()


def decided_card(task: Task, asked: approvals.Approval, by: str, base: str) -> Card:
    """What becomes of a question's card: its buttons go, and it says who answered and when."""
    verb = {"allow": "approved", "deny": "denied"}.get(asked.decision, asked.decision)
    why = (line(one_line(asked.decided_why, 160)),) if asked.decided_why else ()
    return Card(
        title=line(f"{task.id} · {verb}"),
        lines=(line(one_line(_what(asked), 120)), line(f"by {by} at {words.clock(asked.decided_us)}"), *why),
        footer=base,
        tone=Tone.GOOD if asked.decision == "allow" else Tone.BAD,
    )
