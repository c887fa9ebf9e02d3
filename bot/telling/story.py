"""A task's ledger as a log that a person reads: one event, one line or a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import tzinfo

from bot import words
from fleet import events as e
from fleet.agent_events import ToolOutcome
from fleet.events import Recorded
from fleet.landing.task_branch import landed
from fleet.store import ledger
from fleet.store.core import Tx
from fleet.store.recent import last_events

_ROWS, _ROW = 4, 200
_LAST_EVENTS = 60


def story(tx: Tx, task_id: str, zone: tzinfo, named: Callable[[str], str] = str) -> str:
    """The whole log of a task, in the times of ``zone``. All of it is untrusted. ``named`` puts people's names into
    our own text."""
    lines: list[str] = []
    after, calls = 0, Counter[str]()
    while batch := ledger.read(tx, after=after, task=task_id):
        _told(batch, lines, zone, named, calls)
        after = batch[-1].seq
    return "\n".join(lines)


def last_lines(tx: Tx, task_id: str, zone: tzinfo, named: Callable[[str], str] = str) -> list[str]:
    """The end of the log of a task, however long it is."""
    lines: list[str] = []
    _told(last_events(tx, _LAST_EVENTS, task=task_id), lines, zone, named, Counter())
    return lines


def _told(
    batch: Iterable[Recorded],
    lines: list[str],
    zone: tzinfo,
    named: Callable[[str], str],
    calls: Counter[str],
) -> None:
    """Adds the lines of these events. ``calls``: how many a subagent made, for each call whose start was told."""
    for recorded in batch:
        if isinstance(recorded.event, e.AgentContinued) and lines:
            first, *others = recorded.event.text.split("\n")
            lines[-1] += first
            lines += [f"{words.clock(recorded.time_us, zone)[:5]} {text}" for text in others]
        else:
            lines += _lines(recorded, zone, named)
            at = words.clock(recorded.time_us, zone)[:5]
            lines += [f"{at} {row}" for row in _of_subagent(recorded.event, calls)]


def _lines(recorded: Recorded, zone: tzinfo, named: Callable[[str], str]) -> list[str]:
    at = words.clock(recorded.time_us, zone)[:5]
    event = recorded.event
    if isinstance(event, e.TaskMoved):
        event = replace(event, why=named(event.why))
    return [f"{at} {text}" for text in _text(event)]


def _of_subagent(event: e.Event, calls: Counter[str]) -> list[str]:
    """When the call that started a subagent has ended: how many calls that one made."""
    if isinstance(event, e.ToolCallStarted):
        calls[event.call] = 0
    match event:
        case e.ToolCallStartedV2(parent=parent) if parent in calls:
            calls[parent] += 1
        case e.ToolCallEnded(call=call) if made := calls.pop(call, 0):
            return [f"  ↳ {words.count(made, 'call')} of its subagent"]
    return []


def _end_of(output: str) -> list[str]:
    """The last lines of a tool's output."""
    rows = [row for row in output.splitlines() if row.strip()]
    return [f"  │ {row[:_ROW]}" for row in rows[-_ROWS:]]


def _text(event: e.Event) -> list[str]:
    match event:
        case e.TaskMoved(new=new, why=why):
            return [f"— {new}" + (f": {why}" if why else "")]
        case e.SessionPlaced(machine=machine, passed_over=passed_over):
            return [f"— on {machine}", *(f"   not {other}" for other in passed_over)]
        case e.SessionMoves(new=new, why=why):
            return [f"— moved onto {words.short(new)}: {why}"]
        case e.TurnStarted(number=number, cause=cause):
            return [f"— turn {number} ({cause})"]
        case e.AgentSaid(text=text):
            return text.splitlines()
        case e.ToolCallStartedV2(tool=tool, summary=summary, parent=parent) if parent:
            return [f"  ↳ {tool} {summary}"]
        case e.ToolCallStarted(tool=tool, summary=summary):
            return [f"$ {tool} {summary}"]
        case e.ToolCallEnded(outcome=outcome, exit_code=code, detail=detail):
            how = f"  {outcome}" + (f" (exit {code})" if code is not None else "")
            return [*([] if outcome == ToolOutcome.OK else [how]), *_end_of(detail)]
        case e.PermissionDecided(tool=tool, decision=decision, reason=reason):
            return [f"  {tool}: {decision}" + (f", {reason}" if reason else "")]
        case e.PersonSaid(text=text, taken=taken):
            return [f"> {text} ({taken})"]
        case e.SnapshotMade(commit=commit, files=files, insertions=plus, deletions=minus):
            return [f"— snapshot {words.short(commit)}: {words.change(files, plus, minus)}"]
        case e.GateOpened(gate=gate, argv=argv):
            return [f"— gate {gate}: {' '.join(argv)}"]
        case e.GateClosed(gate=gate, outcome=outcome, reason=reason, exit=exit_):
            return [f"— gate {gate} {outcome}: {exit_ or reason}"]
        case e.VerdictGiven(outcome=outcome, tail=tail):
            return [f"— verdict {outcome}", *tail.splitlines()]
        case e.LeftProcessEnded(what=what):
            return [f"— the {what}, which could not be ended before, has ended"]
        case e.LinkChanged(up=up, why=why):
            return ["— link is back" if up else f"— no link: {why}"]
        case e.LandingQueued(place=place, behind=behind, without=without):
            onto = f", judged on top of {', '.join(behind)}" if behind else ""
            return [f"— number {place} in line to land{onto}", *(f"   without {out}" for out in without)]
        case e.LandingLeft(why=why):
            return [f"— left the line to land: {why}"]
        case e.LandingDone(ref=ref, new=new):
            return [f"— {landed(ref, words.short(new))}"]
        case _:
            return []
