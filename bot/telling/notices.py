"""The messages that a ledger event causes. Pure, except that it reads what waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from pathlib import Path

from bot import words
from bot.cards import Action, Card, Tone, line, one_line
from bot.telling import asks, causes, chained, locked
from bot.telling.answers import answer_cards
from bot.telling.outcome_cards import failed_card, landed_card, moved_card, setup_card, subject
from bot.telling.progress import Progress, footer
from bot.telling.sounds import Sound
from fleet.agent_events import TurnOutcome
from fleet.events import (
    SPOOL_STALLED,
    AgentContinued,
    AgentSaid,
    AgentSilent,
    Event,
    GateClosed,
    GateOpened,
    HoldReleased,
    LandingDone,
    LandingIntended,
    LandingQueued,
    LeftProcessEnded,
    LinkChanged,
    LocksGranted,
    LocksRefused,
    LocksReleased,
    PermissionAsked,
    PermissionDecided,
    PersonSaid,
    PipeEnded,
    PipeStarted,
    ReceiptIssued,
    Recorded,
    RootPosted,
    SessionEnded,
    SessionMoves,
    SessionPlaced,
    SetupBroke,
    SnapshotMade,
    Taken,
    TaskMoved,
    TaskRequested,
    ToolCallEnded,
    ToolCallStarted,
    TurnClosed,
    TurnClosedV1,
    TurnStarted,
    UsageReported,
    VerdictGiven,
)
from fleet.locks import HoldEnd
from fleet.model import AIRBOSS, ENDS, Isolation, Task, TaskState
from fleet.setup.site import SETUP_FAILED
from fleet.store import approvals, ledger, overrides, recent, refusals, sessions, stalls, tasks, tree
from fleet.store.approvals import Approval
from fleet.store.chat import cards as card_rows
from fleet.store.core import Tx
from fleet.store.states import ApprovalKind, ProcessKind
from fleet.verdict import Outcome
from gates.people import Right

_WAITING = (TaskState.STALLED, TaskState.PARKED)
_AT_WORK = (TaskState.QUEUED, TaskState.PREPARING, TaskState.RUNNING, TaskState.JUDGING, TaskState.LANDING)
#: Events that have no message: at most the task's card shows them.
_SILENT = (
    *(TaskRequested, SessionPlaced, PipeStarted, SnapshotMade, GateOpened, GateClosed, LandingIntended),
    *(AgentSaid, AgentContinued, ToolCallStarted, ToolCallEnded, UsageReported),
    *(LocksGranted, RootPosted, ReceiptIssued, SessionEnded),
)
_NOT_LANDED = ENDS - {TaskState.LANDED, TaskState.ANSWERED}


@dataclass(frozen=True, slots=True)
class Notice:
    """A message, or (``edits``) a change of the one that was posted under ``key``.

    ``approval``: the question that it asks a person; ``right``: everyone with this right is asked in their own chat
    too. ``soon``: a change that answers somebody's press. ``joined``: a question that joins that of ``approval``.
    ``task``: whose message it is, if not the event's.
    """

    card: Card
    key: str = ""
    sound: Sound = Sound.NONE
    edits: bool = False
    approval: str = ""
    right: Right | None = None
    soon: bool = False
    joined: str = ""
    task: Task | None = None


@dataclass(frozen=True, slots=True)
class NoticeContext:
    """What a notice needs besides its event: ``name`` gives a person's name for their id, ``zone`` their time zone;
    ``files`` is where documents are written (``None``: nowhere)."""

    isolation: Isolation
    name: Callable[[str], str]
    zone: Callable[[str], tzinfo] = lambda _: UTC
    files: Path | None = None

    def of_ask(self, task: Task, progress: Progress) -> asks.AskContext:
        """Where a question of this task comes from."""
        base = footer(task, progress, self.isolation)
        person = task.requester
        return asks.AskContext(base, progress.machine, self.name(person), self.files, self.zone(person))


def may_tell(event: Event) -> bool:
    """Whether :func:`of` may have a message for such an event, or a person waits for what it changes."""
    match event:
        case TaskMoved(old=old, new=new):
            return old not in _AT_WORK or new not in _AT_WORK
        case TurnStarted(cause="request"):
            return False
        case VerdictGiven(outcome=outcome):
            return not Outcome(outcome).opens
        case _:
            return not isinstance(event, _SILENT)


def of(tx: Tx, task: Task, recorded: Recorded, progress: Progress, context: NoticeContext) -> list[Notice]:
    """The messages for this event. ``progress`` is folded up to and including it."""
    notices = _of(tx, task, recorded, progress, context)
    if isinstance(recorded.event, TurnClosed | TurnClosedV1 | TaskMoved | PipeEnded | AgentSilent):
        base = footer(task, progress, context.isolation)
        withdrawn = approvals.withdrawn_at(tx, task.id, recorded.time_us)
        for asked in withdrawn:
            notices += _closed(task, asked, context, base)
        if isinstance(recorded.event, TaskMoved) and recorded.event.new in _NOT_LANDED:
            notices += [_missed(waiting, task, context) for waiting in chained.chained_to(tx, task)]
        if isinstance(recorded.event, TaskMoved) and _goes_on(recorded.event):
            by_itself = any(asked.decided_by == AIRBOSS for asked in withdrawn)
            reset = by_itself and recorded.event.new == TaskState.RUNNING
            notices += _left_behind(tx, context, reset=reset)
    return notices


def _missed(waiting: Task, first: Task, context: NoticeContext) -> Notice:
    card = chained.missed_card(waiting, first, footer(waiting, Progress(), context.isolation))
    return Notice(card, key=chained.key(waiting, first), sound=Sound.WAITS, task=waiting)


def _goes_on(moved: TaskMoved) -> bool:
    """Whether a task no longer waits for a person after a turn that stopped early."""
    return moved.old in _WAITING and moved.new not in _WAITING


def _of(tx: Tx, task: Task, recorded: Recorded, progress: Progress, context: NoticeContext) -> list[Notice]:
    base = footer(task, progress, context.isolation)
    match recorded.event:
        case VerdictGiven() as verdict:
            return _verdict(tx, task, verdict, progress, base)
        case TurnStarted(cause="rework" | "merge", number=number):
            return _sent_back(tx, task, number)
        case SessionMoves() as moves:
            return [Notice(moved_card(task, moves, base), key=f"moved:{task.id}", edits=progress.moves > 1)]
        case TurnStarted(cause="retry", number=number):
            return _tried_again(tx, task, recorded.refs.session, number, base)
        case TaskMoved() as moved:
            return _moved(tx, task, moved, progress, context)
        case LandingDone() as landed:
            card = landed_card(task, landed, progress, base, tree.frontier(tx))
            return [Notice(card, sound=Sound.GOOD_END)]
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
        case LocksReleased(end=HoldEnd.BROKEN) as ended:
            who = context.name(recorded.actor)
            mine = who == context.name(task.requester)
            return [] if mine else [Notice(locked.broken_card(task, ended, who, base))]
        case LinkChanged(up=False, why=why):
            return [Notice(_away(task, why, progress, base))]
        case LeftProcessEnded() as ended:
            return [Notice(_ended_late(task, ended, progress.machine, context.zone(task.requester), base))]
        case _:
            return []


def _tried_again(tx: Tx, task: Task, session: str, number: int, base: str) -> list[Notice]:
    """A turn that stopped early for a reason that passes is tried again without a person. When a usage limit was
    reset, its card says so."""
    before = {turn.number: turn.outcome for turn in sessions.turns(tx, session)}.get(number - 1)
    if before is TurnOutcome.LIMITED:
        return []
    why = "The model did not answer."
    if before is TurnOutcome.CONVERSATION_LOST:
        why = "The conversation was lost. A new one has the task and the work so far."
    lines = (line(why), line(f"Turn {number} started."))
    title = line(f"↻ {task.id} · {task.agent} tries again")
    return [Notice(Card(title, lines, footer=base, tone=Tone.WORKING))]


def _away(task: Task, why: str, progress: Progress, base: str) -> Card:
    """A machine that does not respond, or whose disk has no room for the agent's output."""
    title = f"{task.id} · no link to {progress.machine}"
    then = "The agent keeps working there. Its output arrives when the link is back."
    if why.startswith(SPOOL_STALLED):
        why = why.removeprefix(SPOOL_STALLED)
        title = f"{task.id} · {progress.machine} cannot write to its disk"
        then = "The agent waits; nothing is lost. Free some disk space there, and it continues."
    return Card(line(title), (line(one_line(why, 120)), line(then)), footer=base, tone=Tone.BAD)


def _ended_late(task: Task, ended: LeftProcessEnded, machine: str, zone: tzinfo, base: str) -> Card:
    """What a machine that was away still ran of an ended task has ended."""
    its = "the interface opened by hand" if ended.what == ProcessKind.INTERFACE else "its agent"
    told = f"{machine} was away when the task ended, at {words.clock(ended.since_us, zone)}, and answers again."
    return Card(line(f"{task.id} · {its} has ended on {machine}"), (line(told),), footer=base)


def _asking(tx: Tx, task: Task, asked: Approval, progress: Progress, context: NoticeContext) -> Notice:
    card = asks.ask_card(tx, task, asked, context.of_ask(task, progress))
    right = Right.RELEASE if asked.kind is ApprovalKind.HOLD else None
    return Notice(card, key=asks.key(asked), sound=Sound.WAITS, approval=asked.id, right=right)


def _stalled(tx: Tx, stall: Approval, context: NoticeContext) -> Notice:
    """A turn that stopped early asks, or joins the card of others that stopped for the same cause."""
    head = causes.head(tx, causes.together(tx, stall))
    task, session = tasks.task(tx, head.task), sessions.session(tx, head.session)
    where = context.of_ask(task, Progress(machine=session.machine, isolation=session.isolation))
    card = asks.ask_card(tx, task, head, replace(where, others=causes.others(tx, head)))
    if card_rows.by_key(tx, asks.key(head)):
        return Notice(card, key=asks.key(head), edits=True, approval=head.id, joined=stall.id, task=task)
    sound = Sound.NONE if head.pinged_us else Sound.WAITS
    return Notice(card, key=asks.key(head), sound=sound, approval=head.id, task=task)


def _left_behind(tx: Tx, context: NoticeContext, *, reset: bool) -> list[Notice]:
    """A task no longer waits for a cause that it shared: the card of the others changes, or they get one.
    ``reset``: the cause is over, so the others go on too."""
    heads = {}
    for asked in approvals.waiting(tx):
        if asked.kind is ApprovalKind.STALL and causes.shared(tx, asked):
            head = causes.head(tx, causes.together(tx, asked))
            heads[head.id] = head
    notices = [_stalled(tx, head, context) for head in heads.values()]
    return [notice for notice in notices if notice.edits or not reset]


def _closed(task: Task, asked: Approval, context: NoticeContext, base: str) -> list[Notice]:
    if not asked.decision:
        return []
    zone = context.zone(task.requester)
    card = asks.decided_card(task, asked, asks.decided_by(task, asked, context.name), base, zone)
    return [Notice(card, key=key, edits=True, soon=True) for key in asks.keys(asked)]


def _verdict(tx: Tx, task: Task, verdict: VerdictGiven, progress: Progress, base: str) -> list[Notice]:
    """Only a failed gate has a message. After a pass the task lands, or ends otherwise, which has its own."""
    if not Outcome(verdict.outcome).red or tasks.stop_requested(tx, task.id) or _behind_others(tx, task, verdict):
        return []
    first = progress.reds == 1
    card = failed_card(task, verdict, progress, base)
    return [Notice(card, key=red_key(task), sound=Sound.RED if first else Sound.NONE, edits=not first)]


def _behind_others(tx: Tx, task: Task, verdict: VerdictGiven) -> bool:
    """Whether it was judged on top of changes that have not landed: where it is red because of those, that is no
    news. What becomes of it once they have landed, or left, has a message of its own."""
    found = recent.last_events(tx, 1, kinds=(LandingQueued.KIND,), task=task.id)
    event = found[0].event if found else None
    return isinstance(event, LandingQueued) and event.commit == verdict.commit and bool(event.behind)


def red_key(task: Task) -> str:
    """The card key of the message that a gate failed."""
    return f"red:{task.id}"


def _sent_back(tx: Tx, task: Task, number: int) -> list[Notice]:
    """The agent has the failed gate's output: its card says so."""
    posted = card_rows.by_key(tx, red_key(task))
    if not posted or not posted[0].card_json:
        return []
    card = Card.from_json(posted[0].card_json)
    footed = replace(card, footer=f"↩ sent back, turn {number} · {card.footer}", tone=Tone.WORKING)
    return [Notice(footed, key=red_key(task), edits=True)]


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
            return [_stalled(tx, stalled, context)] if stalled is not None else []
        case TaskState.UNAVAILABLE if (broke := _setup_that_failed(tx, task, moved)) is not None:
            return [Notice(setup_card(task, broke, base), sound=Sound.BAD_END)]
        case TaskState.FAILED | TaskState.REFUSED | TaskState.UNAVAILABLE | TaskState.LOST:
            title, why = line(f"{task.id} · {moved.new}"), (subject(task), *why)
            refused = locked.last_refusal(tx, task.id) if moved.new == TaskState.REFUSED else None
            if refused is not None and refused.by in moved.why:
                retry = (*locked.ways_out(tx, task, refused, context.name), *retry)
            if refusals.denied(tx, task) is not None:
                why = (*why, line(asks.FIXES))
            if refusals.unchanged(tx, task):
                why = (*why, line(asks.ANSWERS))
            if failing := overrides.failing(tx, task.id):
                retry = (*retry, Action("Override…", f"/override {task.id} {min(failing)}", once=False))
            card = Card(title, why, actions=retry, footer=base, tone=Tone.BAD, mention=task.requester)
            own = by and context.name(by) == context.name(task.requester)
            known = moved.new == TaskState.FAILED and card_rows.pinged(tx, red_key(task), task.origin)
            return [Notice(card, sound=Sound.NONE if own or known else Sound.BAD_END)]
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


def _decided_by(tx: Tx, task: Task, moved: TaskMoved) -> str:
    """The person who decided this move; empty when nobody did."""
    if moved.new == TaskState.STOPPED:
        return tasks.stopped_by(tx, task.id)
    held = recent.last_hold(tx, task.id) if (moved.old, moved.new) == (TaskState.HELD, TaskState.REFUSED) else None
    return held.decided_by if held is not None and held.decision == "deny" else ""
