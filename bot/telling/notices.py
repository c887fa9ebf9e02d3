"""The messages that a ledger event causes. Pure, except that it reads what waits for a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bot import words
from bot.cards import Action, Card, Tone, capped, field, line, one_line
from bot.telling import asks, locked
from bot.telling.answers import answer_cards
from bot.telling.progress import GateSeen, Progress, footer
from bot.telling.sounds import Sound
from fleet.agent_events import TurnOutcome
from fleet.events import (
    SPOOL_STALLED,
    AgentSilent,
    HoldReleased,
    LandingDone,
    LinkChanged,
    LocksRefused,
    LocksReleased,
    PermissionAsked,
    PermissionDecided,
    PersonSaid,
    PipeEnded,
    ReceiptIssued,
    Recorded,
    SetupBroke,
    Taken,
    TaskMoved,
    TurnClosed,
    TurnClosedV1,
    TurnStarted,
    VerdictGiven,
)
from fleet.locks import HoldEnd
from fleet.model import Isolation, Task, TaskState
from fleet.setup.site import SETUP_FAILED
from fleet.store import approvals, ledger, recent, refusals, sessions, stalls, tasks
from fleet.store.approvals import Approval
from fleet.store.core import Tx
from fleet.store.states import ApprovalKind
from fleet.untrusted import Untrusted, tail_that_matters
from fleet.verdict import GateOutcome, Outcome
from gates.people import Right

_COMMAND_WIDTH = 34
_MARGIN = re.compile(r"^([E>]) {2,}")
CARD_LINES, _TAIL_WIDTH = 14, 84


@dataclass(frozen=True, slots=True)
class Notice:
    """A message, or (``edits``) a change of the one that was posted under ``key``.

    ``approval``: the question that it asks a person; ``right``: everyone with this right is asked in their own chat
    too. ``soon``: a change that answers somebody's press.
    """

    card: Card
    key: str = ""
    sound: Sound = Sound.NONE
    edits: bool = False
    approval: str = ""
    right: Right | None = None
    soon: bool = False


@dataclass(frozen=True, slots=True)
class NoticeContext:
    """What a notice needs besides its event: ``name`` gives a person's name for their id, ``files`` is where
    documents are written (``None``: nowhere)."""

    isolation: Isolation
    name: Callable[[str], str]
    files: Path | None = None

    def of_ask(self, task: Task, progress: Progress) -> asks.AskContext:
        """Where a question of this task comes from."""
        base = footer(task, progress, self.isolation)
        return asks.AskContext(base, progress.machine, self.name(task.requester), self.files)


def of(tx: Tx, task: Task, recorded: Recorded, progress: Progress, context: NoticeContext) -> list[Notice]:
    """The messages for this event. ``progress`` is folded up to and including it."""
    notices = _of(tx, task, recorded, progress, context)
    if isinstance(recorded.event, TurnClosed | TurnClosedV1 | TaskMoved | PipeEnded | AgentSilent):
        base = footer(task, progress, context.isolation)
        for asked in approvals.withdrawn_at(tx, task.id, recorded.time_us):
            notices += _closed(task, asked, context, base)
    return notices


def _of(tx: Tx, task: Task, recorded: Recorded, progress: Progress, context: NoticeContext) -> list[Notice]:
    base = footer(task, progress, context.isolation)
    match recorded.event:
        case VerdictGiven() as verdict:
            return _verdict(tx, task, verdict, progress, base)
        case TurnStarted(cause="rework", number=number):
            title = line(f"↩ {task.id} · sent back to {task.agent} with the output")
            return [Notice(Card(title, (line(f"Turn {number} started."),), footer=base, tone=Tone.WORKING))]
        case TurnStarted(cause="retry", number=number):
            return [Notice(_tried_again(tx, task, recorded.refs.session, number, base))]
        case TaskMoved() as moved:
            return _moved(tx, task, moved, progress, context)
        case LandingDone() as landed:
            return [Notice(_landed(task, landed, progress, base), sound=Sound.GOOD_END)]
        case ReceiptIssued() as receipt:
            return [Notice(receipt_card(task, receipt, base))]
        case PermissionAsked(ask=ask):
            asked = recent.approval_of_ask(tx, recorded.refs.session, ask)
            if asked is None or asked.decision:
                return []
            return [_asking(tx, task, asked, progress, context)]
        case PermissionDecided(ask=ask):
            asked = recent.approval_of_ask(tx, recorded.refs.session, ask)
            return _closed(task, asked, context, base) if asked is not None else []
        case HoldReleased():
            held = recent.last_hold(tx, task.id)
            return _closed(task, held, context, base) if held is not None else []
        case PersonSaid(taken=taken, text=text):
            how = "reached the running turn" if taken is Taken.STEERED else "starts the agent's next turn"
            title = line(f"{task.id} · your message {how}")
            return [Notice(Card(title, (line(one_line(text, 120)),), footer=base))]
        case LocksRefused() as refused:
            card = locked.refused_card(tx, task, refused, context.name, base)
            return [Notice(card, key=locked.key(task.id, refused), edits=not locked.is_first(tx, recorded))]
        case AgentSilent(silent=True):
            silent = stalls.waiting(tx, task.id)
            return [_asking(tx, task, silent, progress, context)] if silent is not None else []
        case LocksReleased(end=HoldEnd.WAITED) as ended:
            return [Notice(locked.waited_card(task, ended, base))]
        case LinkChanged(up=False, why=why):
            return [Notice(_away(task, why, progress, base))]
        case _:
            return []


def _tried_again(tx: Tx, task: Task, session: str, number: int, base: str) -> Card:
    """A turn that stopped early for a reason that passes is tried again without a person."""
    before = {turn.number: turn.outcome for turn in sessions.turns(tx, session)}.get(number - 1)
    why = {
        TurnOutcome.CONVERSATION_LOST: "The conversation was lost. A new one has the task and the work so far.",
        TurnOutcome.LIMITED: "The usage limit was reset.",
    }.get(before or TurnOutcome.FAILED, "The model was overloaded.")
    lines = (line(why), line(f"Turn {number} started."))
    return Card(line(f"↻ {task.id} · {task.agent} tries again"), lines, footer=base, tone=Tone.WORKING)


def _away(task: Task, why: str, progress: Progress, base: str) -> Card:
    """A machine that does not respond, or whose disk has no room for the agent's output."""
    title = f"{task.id} · no link to {progress.machine}"
    then = "The agent keeps working there. Its output arrives when the link is back."
    if why.startswith(SPOOL_STALLED):
        why = why.removeprefix(SPOOL_STALLED)
        title = f"{task.id} · {progress.machine} cannot write to its disk"
        then = "The agent waits; nothing is lost. Free some disk space there, and it continues."
    return Card(line(title), (line(one_line(why, 120)), line(then)), footer=base, tone=Tone.BAD)


def _asking(tx: Tx, task: Task, asked: Approval, progress: Progress, context: NoticeContext) -> Notice:
    card = asks.ask_card(tx, task, asked, context.of_ask(task, progress))
    right = Right.RELEASE if asked.kind is ApprovalKind.HOLD else None
    return Notice(card, key=asks.key(asked), sound=Sound.WAITS, approval=asked.id, right=right)


def _closed(task: Task, asked: Approval, context: NoticeContext, base: str) -> list[Notice]:
    if not asked.decision:
        return []
    card = asks.decided_card(task, asked, context.name(asked.decided_by), base)
    return [Notice(card, key=key, edits=True, soon=True) for key in (asks.key(asked), asks.reminder_key(asked))]


def _gates(verdict: VerdictGiven, progress: Progress) -> list[GateSeen]:
    return [progress.gates[run] for run in verdict.gate_runs if run in progress.gates]


def _verdict(tx: Tx, task: Task, verdict: VerdictGiven, progress: Progress, base: str) -> list[Notice]:
    if verdict.outcome == Outcome.PASSED:
        gates = tuple(line(seen.summary() + _tests(seen)) for seen in _gates(verdict, progress))
        title = line(f"{task.id} · passed at {words.short(verdict.commit)}")
        more = tuple(line(one_line(reason, 140)) for reason in verdict.reasons[len(verdict.gate_runs) :])
        lines = (*capped(gates, "and {n} more gates"), *capped(more, "and {n} more remarks"))
        return [Notice(Card(title, lines, footer=base, tone=Tone.GOOD))]
    if verdict.outcome != Outcome.FAILED:
        return []  # the task moves to held, refused, unavailable or lost, which has its own notice
    if tasks.stop_requested(tx, task.id):
        return []  # nobody waits for the result of a task that is being stopped
    first = progress.reds == 1
    card = failed_card(task, verdict, progress, base)
    return [Notice(card, key=f"red:{task.id}", sound=Sound.RED if first else Sound.NONE, edits=not first)]


def _tests(seen: GateSeen) -> str:
    return f" · {seen.tests()}" if seen.tests() else ""


def failed_card(task: Task, verdict: VerdictGiven, progress: Progress, base: str) -> Card:
    """A gate failed: what ran, its exit, where, on which commit, and the lines that matter."""
    red = [seen for seen in _gates(verdict, progress) if seen.outcome != GateOutcome.PASSED]
    title, fields, lines = line(f"{task.id} · gates failed"), [], verdict.reasons
    if red:
        title = line(f"{task.id} · gate {red[0].gate} failed: {red[0].exit or red[0].reason}")
        fields = [field("Ran", _command(red[0].argv))]
        lines = verdict.reasons if len(red) > 1 else ()
    where = f"{red[0].machine} · " if red else ""
    fields.append(field("On", where, f"{words.short(verdict.commit)} · turn {progress.turn}"))
    if red and red[0].tests():
        fields.append(field("JUnit", red[0].tests()))
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
        body=_tail(verdict.tail) if verdict.tail else None,
        actions=actions,
        footer=base,
        tone=Tone.BAD,
        mention=task.requester,
    )


def _command(argv: tuple[str, ...]) -> Untrusted:
    """A command's first words, its program without directories. The log has all of it."""
    program = argv[0].rsplit("/", 1)[-1] if argv else ""
    return one_line(" ".join([program, *argv[1:]]), _COMMAND_WIDTH)


def _tail(text: str) -> Untrusted:
    """The lines that matter, each at most two lines on a phone, without the margin that pytest leaves after its
    marks."""
    rows = [_MARGIN.sub(r"\1 ", row) for row in tail_that_matters(text, CARD_LINES).splitlines()]
    return Untrusted("\n".join(row if len(row) <= _TAIL_WIDTH else row[: _TAIL_WIDTH - 1] + "…" for row in rows))


def _moved(tx: Tx, task: Task, moved: TaskMoved, progress: Progress, context: NoticeContext) -> list[Notice]:
    base = footer(task, progress, context.isolation)
    retry: tuple[Action, ...] = (
        Action("Retry", f"/retry {task.id}"),
        Action("Log", f"/logs {task.id}", once=False),
    )
    by = _decided_by(tx, task, moved)
    reason = moved.why.replace(by, context.name(by)) if by else moved.why
    why = (line(one_line(reason, 300)),) if reason else ()
    match moved.new:
        case TaskState.HELD:
            holds = [approval for approval in approvals.waiting(tx, task.id) if approval.kind is ApprovalKind.HOLD]
            return [_asking(tx, task, hold, progress, context) for hold in holds]
        case TaskState.STALLED | TaskState.PARKED:
            stalled = stalls.waiting(tx, task.id)
            return [_asking(tx, task, stalled, progress, context)] if stalled is not None else []
        case TaskState.UNAVAILABLE if (broke := _setup_that_failed(tx, task, moved)) is not None:
            return [Notice(setup_card(task, broke, base), sound=Sound.BAD_END)]
        case TaskState.FAILED | TaskState.REFUSED | TaskState.UNAVAILABLE | TaskState.LOST:
            title = line(f"{task.id} · {moved.new}")
            refused = locked.last_refusal(tx, task.id) if moved.new == TaskState.REFUSED else None
            if refused is not None and refused.by in moved.why:
                retry = (*locked.ways_out(tx, task, refused, context.name), *retry)
            if refusals.may_continue(tx, task):
                why = (*why, line(asks.FIXES))
            card = Card(title, why, actions=retry, footer=base, tone=Tone.BAD, mention=task.requester)
            own = by and context.name(by) == context.name(task.requester)
            return [Notice(card, sound=Sound.NONE if own else Sound.BAD_END)]
        case TaskState.STOPPED:
            return [Notice(Card(line(f"{task.id} · stopped"), why, actions=retry, footer=base))]
        case TaskState.ANSWERED:
            first, *others = answer_cards(tx, task, base, context.files)
            return [Notice(first, sound=Sound.GOOD_END), *map(Notice, others)]
        case _:
            return []


def _setup_that_failed(tx: Tx, task: Task, moved: TaskMoved) -> Recorded | None:
    """The setup because of which a task became unavailable."""
    found = ledger.read(tx, kinds=(SetupBroke.KIND,), task=task.id) if SETUP_FAILED in moved.why else []
    return found[-1] if found else None


def setup_card(task: Task, recorded: Recorded, base: str) -> Card:
    """A setup failed: which one, where, how it ended, and the lines that matter."""
    broke = recorded.event
    assert isinstance(broke, SetupBroke)
    return Card(
        title=line(f"{task.id} · setup failed: {broke.setup}"),
        lines=(line(one_line(broke.reason, 140)),),
        fields=(field("On", f"{broke.login}@{recorded.refs.machine} · ", words.short(broke.commit)),),
        body=_tail(broke.tail) if broke.tail else None,
        actions=(Action("Retry", f"/retry {task.id}"),),
        footer=base,
        tone=Tone.BAD,
        mention=task.requester,
    )


def _decided_by(tx: Tx, task: Task, moved: TaskMoved) -> str:
    """The person who decided this move; empty when nobody did."""
    if moved.new == TaskState.STOPPED:
        return tasks.stopped_by(tx, task.id)
    held = recent.last_hold(tx, task.id) if (moved.old, moved.new) == (TaskState.HELD, TaskState.REFUSED) else None
    return held.decided_by if held is not None and held.decision == "deny" else ""


def _landed(task: Task, landed: LandingDone, progress: Progress, base: str) -> Card:
    branch = landed.ref.removeprefix("refs/heads/")
    fields = [field("Commit", words.short(landed.new)), field("Turns", f"{progress.turn}")]
    if progress.snapshot:
        made = progress.snapshot
        fields.append(field("Change", f"{words.count(made.files, 'file')} +{made.insertions} −{made.deletions}"))
    if progress.left_out:
        fields.append(field("Left out", progress.left_out))
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
        lines=(line("Signed by this controller. No witness signed it: unwitnessed."),),
        actions=(Action("Verify", f"/verify {task.id}", once=False),),
        footer=base,
        tone=Tone.GOOD,
        document=receipt.path,
    )
