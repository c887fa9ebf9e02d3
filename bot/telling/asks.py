"""The cards of what waits for a person: an agent's request, its question, a held change, a stalled turn; and how
each was decided.

An approval binds to exactly what the card shows. A request that is too long to show is attached as a document;
without one, the card has no button to approve it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from hashlib import sha256
from pathlib import Path
from typing import Final

from bot import words
from bot.cards import Action, Card, Field, Line, Tone, field, line, one_line
from bot.telling import documents, halted, leak_card
from fleet import questions
from fleet.agent_events import TurnOutcome
from fleet.agents.resets import clock_of, limit_ends_us
from fleet.model import Task, TaskMode, TaskState, Turn
from fleet.questions import Option, Question
from fleet.store import halts, sessions
from fleet.store.approvals import EXPIRED, Approval, ApprovalDecision
from fleet.store.core import Tx
from fleet.store.states import ApprovalKind, ApprovalScope
from fleet.untrusted import Untrusted, clean

APPROVES: Final = "Approving covers this command line, not the files it reads"
FIXES: Final = "Reply to this card, and the agent fixes it in the same conversation."
ANSWERS: Final = "Reply to this card, and the agent goes on in the same conversation."
SHOWN_CHARACTERS: Final = 2_400
SHOWN_LINES: Final = 24
REMIND_US: Final = 30 * 60_000_000
_OPTIONS_EXPLAINED: Final = 6
_OPTIONS_SHOWN: Final = 12
_VERBS: Final = {
    "allow": "approved",
    "deny": "denied",
    "answer": "answered",
    "go-on": "continues",
    "judge": "judged as it is",
}
_YES: Final = ("allow", "answer", "go-on", "judge")
_SHORT: Final[dict[TurnOutcome | None, str]] = {
    TurnOutcome.FAILED: "the agent failed",
    TurnOutcome.LIMITED: "usage limit reached",
    TurnOutcome.NOT_LOGGED_IN: "the agent is not logged in",
    TurnOutcome.OVERLOADED: "the model did not answer",
    TurnOutcome.CONVERSATION_LOST: "the conversation is lost",
    TurnOutcome.CONTEXT_FULL: "the context is full",
}
_GO_ON: Final = "A person is back. If you still need what expired without an answer, ask again."


@dataclass(frozen=True, slots=True)
class AskContext:
    """Where a question comes from and for whom: ``base`` is the card's footer, ``machine`` where the agent runs,
    ``person`` the name of the task's requester, ``files`` a directory for documents (``None``: there is none),
    ``zone`` the one whose times the card shows. ``others``: more tasks that the card asks for."""

    base: str
    machine: str = ""
    person: str = ""
    files: Path | None = None
    zone: tzinfo = UTC
    others: tuple[str, ...] = ()


def key(asked: Approval) -> str:
    """The card key of the message that asks."""
    return f"ask:{asked.id}"


def reminder_key(asked: Approval) -> str:
    """The card key of the reminder."""
    return f"remind:{asked.id}"


def keys(asked: Approval) -> tuple[str, str]:
    """The card keys of every message that shows it."""
    return key(asked), reminder_key(asked)


def go_on(task: Task) -> str:
    """The command that tells an agent to ask again."""
    return f"/say {task.id} {_GO_ON}"


def binding(asked: Approval) -> str:
    """What an approval binds to: the whole request and its directory, or the commit and tree that are held."""
    parts = (asked.id, asked.request, asked.directory, asked.commit, asked.tree)
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def ask_card(tx: Tx, task: Task, asked: Approval, context: AskContext) -> Card:
    """What waits, as a message with buttons."""
    if asked.kind is ApprovalKind.HOLD:
        return _hold_card(task, asked, context)
    if asked.kind is ApprovalKind.STALL:
        return _stall_card(tx, task, asked, context)
    if asked.questions:
        return _question_card(task, asked, context)
    return _permission_card(tx, task, asked, context)


def reminder_card(tx: Tx, task: Task, asked: Approval, context: AskContext, person: str) -> Card:
    """The same card again, for ``person``: it still waits."""
    card = ask_card(tx, task, asked, context)
    left = words.duration(asked.expires_us - tx.now_us()) if asked.expires_us else ""
    title = line(f"⏳ {task.id} · {asked.id} is still waiting for you", f": {left} left" if left else "")
    return replace(card, title=title, lines=(card.title, *card.lines), mention=person)


def decided_by(task: Task, asked: Approval, name: Callable[[str], str]) -> str:
    """Who decided, marked where it was about a change that they asked for."""
    by = name(asked.decided_by)
    held = asked.kind is ApprovalKind.HOLD and asked.decision is ApprovalDecision.ALLOW
    return f"{by} (self-approved)" if held and by == name(task.requester) else by


def decided_card(task: Task, asked: Approval, by: str, base: str, zone: tzinfo) -> Card:
    """A question's card after the decision: without buttons, with who answered and when."""
    if asked.decision is ApprovalDecision.DENY and asked.decided_why == EXPIRED:
        expired = _expired_hold_card if asked.kind is ApprovalKind.HOLD else _expired_card
        return expired(task, asked, base, zone)
    verb = _VERBS.get(asked.decision, asked.decision)
    scope = " for this session" if asked.scope is ApprovalScope.SESSION else ""
    said = "“{}”" if asked.decision == "answer" else "{}"
    before, _, after = said.partition("{}")
    why: tuple[Line, ...] = (line(before, one_line(asked.decided_why, 300), after),) if asked.decided_why else ()
    if asked.kind is ApprovalKind.HOLD and asked.decision is ApprovalDecision.DENY:
        why = (*why, line(FIXES))
    return Card(
        title=line(f"{task.id} · {asked.id} · {verb}{scope}"),
        lines=(line(one_line(what(asked), 120)), line(f"by {by} at {words.clock(asked.decided_us, zone)}"), *why),
        footer=base,
        tone=Tone.GOOD if asked.decision in _YES else Tone.BAD,
    )


def _expired_card(task: Task, asked: Approval, base: str, zone: tzinfo) -> Card:
    return Card(
        title=line(f"{task.id} · {asked.id} · expired, denied"),
        lines=(
            line(one_line(what(asked), 120)),
            line(f"No answer by {words.clock(asked.expires_us, zone)}. The request was denied."),
        ),
        actions=(
            Action("Go on", go_on(task)),
            Action("Retry", f"/retry {task.id}"),
        ),
        footer=base,
        tone=Tone.BAD,
        mention=task.requester,
    )


def _expired_hold_card(task: Task, held: Approval, base: str, zone: tzinfo) -> Card:
    return Card(
        title=line(f"{task.id} · {held.id} · expired, not released"),
        lines=(
            line(one_line(what(held), 120)),
            line(f"No answer by {words.day(held.expires_us, zone)}. The work is kept."),
            line(FIXES),
        ),
        actions=(Action("Retry", f"/retry {task.id}"),),
        footer=base,
        tone=Tone.BAD,
        mention=task.requester,
    )


def _hold_card(task: Task, held: Approval, context: AskContext) -> Card:
    digest, leaks = binding(held), bool(held.request)
    usual = (
        Action("Approve", f"/approve {held.id}", digest=digest),
        Action("Deny", f"/deny {held.id}", digest=digest),
    )
    return Card(
        title=line(f"{task.id} · {held.id} · ", leak_card.title(held) if leaks else "held for a person"),
        lines=leak_card.lines(held) if leaks else (line(one_line(held.reason, 300)),),
        fields=(field("Commit", words.short(held.commit)), field("For", context.person or task.requester)),
        actions=(
            *(leak_card.actions(task, held, digest) if leaks else usual),
            Action("Diff", f"/diff {task.id}", once=False),
        ),
        footer=context.base,
        tone=Tone.WAITING,
        mention=task.requester,
    )


def _stall_card(tx: Tx, task: Task, stall: Approval, context: AskContext) -> Card:
    """How the turn ended, in the vendor's words, and what a person can do about it."""
    turn = sessions.turns(tx, stall.session)[-1]
    digest = binding(stall)
    if not turn.ended_us:
        return _silent_card(task, stall, turn, context)
    halt = halts.of_turn(tx, stall.session, turn.id)
    if halt is not None:
        where = [field("Turn", str(turn.number)), field("For", context.person or task.requester)]
        where += [field("On", context.machine)] if context.machine else []
        return halted.card(task, stall, halt, digest=digest, fields=where, base=context.base)
    lines = [line("“", one_line(turn.error, 300), "”")] if turn.error else []
    if turn.claim and turn.claim != turn.error:
        lines.append(line("Last message: “", one_line(turn.claim, 120), "”"))
    if "SIGKILL" in turn.exit:
        lines.append(line("SIGKILL often means that the machine ran out of memory."))
    if stall.request:
        lines.append(line("The work is kept, without a snapshot: ", one_line(stall.request, 160)))
    elif task.mode is TaskMode.CHANGE:
        lines.append(line("Nothing was judged. The work is kept." if stall.commit else "No file was changed."))
    fields = [field("Turn", str(turn.number)), field("For", context.person or task.requester)]
    if turn.exit:
        fields.insert(0, field("Exit", turn.exit))
    if context.machine:
        fields.append(field("On", context.machine))
    if stall.commit:
        fields.append(field("Commit", words.short(stall.commit)))
    until = limit_ends_us(turn) if task.state is TaskState.PARKED else 0
    if context.others:
        lines.append(line("Also waiting: ", one_line(", ".join(context.others), 100)))
    every, go_on = (" all", f"Go on with all {len(context.others) + 1}") if context.others else ("", "Go on")
    if until:
        lines.insert(0, line(f"Parked until {clock_of(until, context.zone)}."))
    judge = (Action("Judge as it is", f"/judge {task.id}", digest=digest),) if stall.commit else ()
    diff = (Action("Diff", f"/diff {task.id}", once=False),) if stall.commit else ()
    log_in: tuple[Action, ...] = ()
    if turn.outcome is TurnOutcome.NOT_LOGGED_IN and context.machine:
        lines.append(line(f"Log in on {context.machine}, then Go on."))
        log_in = (Action("How to log in", f"/login {context.machine} {task.agent}", once=False),)
    return Card(
        title=line(f"{task.id} · {stall.id} · {_SHORT.get(turn.outcome, 'stalled')}"),
        lines=tuple(lines),
        fields=tuple(fields),
        actions=(
            Action(go_on, f"/go {task.id}{every}", digest=digest),
            *(_when_reset(task, every, digest, until, context) if until else ()),
            *judge,
            *(() if until else (Action("Stop", f"/stop {task.id}"),)),
            *diff,
            *log_in,
        ),
        footer=context.base,
        tone=Tone.WAITING,
        mention=task.requester,
    )


def _when_reset(task: Task, every: str, digest: str, until: int, context: AskContext) -> tuple[Action, ...]:
    """What a person can do about the tasks of an account whose usage limit is reached."""
    account = f"{task.agent}@{context.machine}" if context.machine else task.agent
    return (
        Action(f"Resume {clock_of(until, context.zone)}", f"/go {task.id}{every} later", digest=digest),
        Action("Resume in my hours", f"/go {task.id}{every} hours", digest=digest),
        Action("Other agent", f"/parked agent {account}", once=False),
        Action("Drop", f"/parked drop {account}"),
    )


def _silent_card(task: Task, silent: Approval, turn: Turn, context: AskContext) -> Card:
    """A running agent that may hang: what it did last, and what a person can do about it."""
    last = (line("Last: ", one_line(silent.request, 160)),) if silent.request else ()
    where = [field("On", context.machine)] if context.machine else []
    return Card(
        title=line(f"{task.id} · {silent.id} · {task.agent} may hang: {silent.reason}"),
        lines=(*last, line("Go on ends its process and continues the conversation in a new one.")),
        fields=(field("Turn", str(turn.number)), *where, field("For", context.person or task.requester)),
        actions=(
            Action("Go on", f"/go {task.id}", digest=binding(silent)),
            Action("Log", f"/logs {task.id}", once=False),
            Action("Stop", f"/stop {task.id}"),
        ),
        footer=context.base,
        tone=Tone.WAITING,
        mention=task.requester,
    )


def _question_card(task: Task, asked: Approval, context: AskContext) -> Card:
    digest = binding(asked)
    every = questions.from_json(asked.questions)
    lines: list[Line] = []
    for question in every:
        lines.append(line(one_line(question.text, 300)))
        lines += _option_lines(question.options)
    lines.append(line(_how_to_answer(every)))
    offered = every[0].options[:_OPTIONS_SHOWN] if _by_button(every) else ()
    buttons = [
        Action(f"{number} · {Untrusted(option.label).one_line(28)}", f"/approve {asked.id} {number}", digest=digest)
        for number, option in enumerate(offered, 1)
    ]
    return Card(
        title=line(f"{task.id} · {asked.id} · the agent asks you"),
        lines=tuple(lines),
        fields=_where(task, asked, context),
        actions=(*buttons, Action("No answer", f"/deny {asked.id}", digest=digest)),
        footer=context.base,
        tone=Tone.WAITING,
        mention=task.requester,
    )


def _option_lines(options: Sequence[Option]) -> list[Line]:
    """Each option with its number; of many only what they are called."""
    brief = len(options) > _OPTIONS_EXPLAINED
    shown = [
        line(f"{number} · ", one_line(option.label, 60),
             *((" — ", one_line(option.description, 120)) if option.description and not brief else ()))
        for number, option in enumerate(options[:_OPTIONS_SHOWN], 1)
    ]  # fmt: skip
    left = len(options) - len(shown)
    return [*shown, *([line(f"and {left} more that are not shown")] if left > 0 else [])]


def _by_button(every: tuple[Question, ...]) -> bool:
    """Whether one press can be the whole answer."""
    return len(every) == 1 and bool(every[0].options)


def _how_to_answer(every: tuple[Question, ...]) -> str:
    if len(every) > 1:
        return "Reply to this message: one line for each, an option's number or your own words."
    if not _by_button(every):
        return "Reply to this message in your own words."
    several = " with several numbers (1, 2), or" if every[0].many else ""
    return f"Press a button, or reply to this message{several} in your own words."


def chosen(asked: Approval, said: str) -> str:
    """The answer: the options of the numbers that were given, or the words themselves."""
    return questions.meant(questions.from_json(asked.questions), said)


def _permission_card(tx: Tx, task: Task, asked: Approval, context: AskContext) -> Card:
    digest = binding(asked)
    text = what(asked)
    redacted = tx.store.redact(text) if tx.store.redact else text
    visible = "".join(ch if ch in "\n\t" or clean(ch) == ch else f"\\u{ord(ch):04x}" for ch in redacted)
    lines = [line(one_line(asked.reason, 120)), line(f"{APPROVES}.")]
    if redacted != text:
        lines.append(line("A secret is hidden."))
    if visible != redacted:
        lines.append(line("Invisible characters are shown as \\uXXXX."))
    whole = len(visible) <= SHOWN_CHARACTERS and visible.count("\n") < SHOWN_LINES
    document = ""
    if not whole and context.files is not None:
        document = documents.kept(context.files, f"{asked.id}-{digest[:12]}.txt", visible)
    if not whole:
        head = "\n".join(visible[: SHOWN_CHARACTERS // 2].split("\n")[: SHOWN_LINES // 2])
        lines.append(
            line("Too long to show: the document has all of it, and the buttons apply to the document.")
            if document
            else line("Too long to show here. Here you can only deny it.")
        )
    else:
        head = visible
    allow = (
        Action("Allow once", f"/approve {asked.id}", digest=digest),
        Action("Allow for this session", f"/approve {asked.id} session", digest=digest),
    )
    return Card(
        title=line(
            f"{task.id} · {asked.id} · ",
            one_line(asked.tool, 40),
            " asks to run" if asked.command else " asks to act",
        ),
        lines=tuple(lines),
        fields=_where(task, asked, context),
        body=Untrusted(head),
        actions=(*(allow if whole or document else ()), Action("Deny", f"/deny {asked.id}", digest=digest)),
        footer=context.base,
        tone=Tone.WAITING,
        mention=task.requester,
        document=document,
    )


def _where(task: Task, asked: Approval, context: AskContext) -> tuple[Field, ...]:
    fields = [field("For", context.person or task.requester)]
    if context.machine:
        fields.append(field("On", context.machine))
    if asked.directory:
        fields.append(field("In", one_line(asked.directory, 160)))
    return (*fields, field("Waits until", words.clock(asked.expires_us, context.zone)))


def what(asked: Approval) -> str:
    """Exactly what would be done."""
    if asked.kind is ApprovalKind.HOLD:
        return f"the change {words.short(asked.commit)}"
    if asked.kind is ApprovalKind.STALL:
        return asked.reason
    if asked.questions:
        return " / ".join(question.text for question in questions.from_json(asked.questions))
    return asked.command or "\n".join(asked.paths) or asked.request
