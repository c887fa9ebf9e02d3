"""What a task has done so far, folded from its ledger events, and the card that shows it and is edited."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from bot import words
from bot.cards import Action, Card, Field, Line, Tone, footed, line, one_line
from bot.cards import field as card_field
from fleet.budgets import Count, Measure, Scope
from fleet.config import FleetConfig
from fleet.events import (
    AgentContinued,
    AgentSaid,
    BudgetGranted,
    BudgetNoted,
    BudgetReached,
    GateClosed,
    GateClosedV4,
    GateOpened,
    LinkChanged,
    PipeEndedV2,
    PipeEndedV3,
    Recorded,
    ScheduleDue,
    SessionEndedV2,
    SessionMoves,
    SessionPlaced,
    SessionPlacedV2,
    SnapshotMade,
    SnapshotMadeV2,
    ToolCallEnded,
    ToolCallStarted,
    TurnClosed,
    TurnClosedV1,
    TurnStarted,
    UsageReported,
    VerdictGiven,
)
from fleet.exits import succeeded
from fleet.flight.halting import whose
from fleet.flight.starting import SPENT
from fleet.isolation import EgressSeen, Sharing
from fleet.model import ENDS, Isolation, Task, TaskState, TurnCause
from fleet.verdict import JUnitCounts, Outcome

SHOWN_ACTIONS = 5
_SAID_LIMIT = 2_000  # characters: what the card's last lines can need
_TOOL_WIDTH = 40  # one line of a phone

_TONE = {
    TaskState.LANDED: Tone.GOOD,
    TaskState.PUSHED: Tone.GOOD,
    TaskState.ANSWERED: Tone.GOOD,
    TaskState.FAILED: Tone.BAD,
    TaskState.REFUSED: Tone.BAD,
    TaskState.UNAVAILABLE: Tone.BAD,
    TaskState.LOST: Tone.BAD,
    TaskState.STALLED: Tone.WAITING,
    TaskState.PARKED: Tone.WAITING,
    TaskState.ASKING: Tone.WAITING,
    TaskState.HELD: Tone.WAITING,
    TaskState.STOPPED: Tone.PLAIN,
}
NOTHING_REFUSED = EgressSeen(enforced=True, refused=0, hosts=()).words
_SIGN = {"": "…", "ok": "✓", "failed": "✗", "denied": "⊘"}
_GATE_SIGN = {"": "…", Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.TIMED_OUT: "✗"}


@dataclass(slots=True)
class GateSeen:
    """One gate run, as far as the ledger knows it."""

    gate: str
    argv: tuple[str, ...]
    machine: str
    commit: str
    outcome: str = ""
    reason: str = ""
    exit: str = ""
    took_us: int = 0
    junit: JUnitCounts | None = None

    def summary(self) -> str:
        """``✗ tests: exit status 1``."""
        sign = _GATE_SIGN.get(self.outcome, "?")
        return f"{sign} {self.gate}" + (f": {self.exit or self.reason}" if self.outcome else " is running")

    def tests(self) -> str:
        """JUnit counts as one line; empty without a report."""
        if not self.junit:
            return ""
        bad, skipped = self.junit.failures + self.junit.errors, self.junit.skipped
        ran = words.count(self.junit.tests, "test")
        return f"{ran}, {bad} failed" + (f", {skipped} skipped" if skipped else "")


@dataclass(slots=True)
class _Tool:
    tool: str
    summary: str
    outcome: str = ""


@dataclass(slots=True)
class Progress:
    """Folds a task's events in order; an event seen before changes nothing.

    ``said`` is the end of what the agent said in this turn since its last tool call.
    """

    seq: int = 0
    machine: str = ""
    isolation: Isolation | None = None
    turn: int = 0
    cost_udollar: int = 0
    said: str = ""
    claim: str = ""
    link_down: str = ""
    schedule: str = ""
    login: str = ""  # the one that the session has to itself, if any
    shares: str = ""  # what the last process of the session shared with others
    reached: str = ""  # the limits that it reached
    egress: str = ""  # what it was refused by its proxy, or that no proxy could stop it
    left: tuple[str, ...] = ()  # what its runs and its session left in their logins
    near: str = ""  # the limit that is nearly used up
    reds: int = 0
    moves: int = 0  # onto newer bases
    by_hand: bool = False  # whether a person worked in the agent's session
    snapshot: SnapshotMade | None = None
    gates: dict[str, GateSeen] = field(default_factory=dict)
    judged_by: tuple[str, ...] = ()  # the gate runs of the last verdict
    remarks: tuple[str, ...] = ()  # what else that verdict says
    gates_before: int = 0  # how many of them judged earlier turns
    tools: deque[tuple[str, _Tool]] = field(default_factory=lambda: deque(maxlen=SHOWN_ACTIONS))

    def fold(self, recorded: Recorded) -> None:
        """Takes in one event."""
        if recorded.seq <= self.seq:
            return
        self.seq = recorded.seq
        match recorded.event:
            case ScheduleDue() as due:
                self.schedule = due.schedule
            case SessionPlaced() as placed:
                self.login = placed.login if isinstance(placed, SessionPlacedV2) else ""
                self.machine, self.isolation = placed.machine, Isolation(placed.isolation)
            case TurnStarted() as started:
                self.turn, self.said = started.number, ""
                self.by_hand |= started.cause == TurnCause.BY_HAND
                self.gates_before = len(self.gates)
            case TurnClosed() | TurnClosedV1() as closed:
                self.claim = closed.claim or closed.error
            case AgentSaid() as said:
                self.said = f"{self.said}\n{said.text}".strip("\n")[-_SAID_LIMIT:]
            case AgentContinued() as more:
                self.said = f"{self.said}{more.text}"[-_SAID_LIMIT:]
            case ToolCallStarted() as tool:
                self.said = ""
                self.tools.append((tool.call, _Tool(tool.tool, tool.summary)))
            case ToolCallEnded() as ended:
                self._end_tool(ended)
            case UsageReported() as used:
                self.cost_udollar += used.cost_udollar
            case BudgetNoted() | BudgetReached() | BudgetGranted() as told:
                self.near = _near(told)
            case LinkChanged() as link:
                self.link_down = "" if link.up else link.why or "no answer"
            case PipeEndedV2() as pipe:
                self.reached = pipe.reached
                self.egress = _egress(pipe.egress) if isinstance(pipe, PipeEndedV3) else ""
                self.shares = "" if self.login else _shares(pipe)
            case SessionEndedV2(left=left):
                self.left += left
            case SessionMoves():
                self.moves += 1
            case SnapshotMade() as made:
                self.snapshot = made
            case GateOpened() as opened:
                machine = recorded.refs.machine
                self.gates[recorded.refs.gate_run] = GateSeen(opened.gate, opened.argv, machine, opened.commit)
            case GateClosed() as gate:
                self._end_gate(recorded, gate)
            case VerdictGiven() as verdict:
                self.reds += Outcome(verdict.outcome).red
                self.judged_by, self.remarks = verdict.gate_runs, verdict.reasons[len(verdict.gate_runs) :]
            case _:
                pass

    def copy(self) -> Progress:
        """The same, to be folded further without changing this one."""
        gates = {run: replace(seen) for run, seen in self.gates.items()}
        tools = deque(((call, replace(tool)) for call, tool in self.tools), maxlen=SHOWN_ACTIONS)
        return replace(self, gates=gates, tools=tools)

    @property
    def left_out(self) -> str:
        """The kinds of litter that the last snapshot left out."""
        return ", ".join(self.snapshot.left_out) if isinstance(self.snapshot, SnapshotMadeV2) else ""

    def _end_tool(self, ended: ToolCallEnded) -> None:
        for call, tool in self.tools:
            if call == ended.call:
                tool.outcome = ended.outcome

    def _end_gate(self, recorded: Recorded, closed: GateClosed) -> None:
        seen = self.gates.setdefault(recorded.refs.gate_run, GateSeen(closed.gate, (), recorded.refs.machine, ""))
        seen.outcome, seen.reason, seen.junit = closed.outcome, closed.reason, closed.junit
        seen.exit = "" if closed.exit is None or _failed_all_the_same(closed) else str(closed.exit)
        if isinstance(closed, GateClosedV4):
            self.left += closed.left
        seen.took_us = max(0, closed.ended_us - closed.started_us)


def _failed_all_the_same(closed: GateClosed) -> bool:
    """Whether a gate failed although its command ended well: its reason says why."""
    return closed.outcome == Outcome.FAILED and closed.exit is not None and succeeded(closed.exit)


def task_title(task: Task) -> Line:
    """``t1 · demo · the prompt's first words``."""
    return line(f"{task.id} · {task.repo} · ", one_line(task.prompt, 60))


def _shares(pipe: PipeEndedV2) -> str:
    if Sharing.SHARED in (pipe.files, pipe.processes):
        return "sessions-share-a-login"
    return "vendor-login: shared" if pipe.vendor_login == Sharing.SHARED else ""


def _near(told: BudgetNoted | BudgetReached | BudgetGranted) -> str:
    if not isinstance(told, BudgetNoted):
        return ""
    count = Count(Scope(told.scope), told.name, Measure(told.measure), told.used, told.limit)
    return f"{count} {whose(count)}"


def _egress(words: str) -> str:
    return f"egress: {words}" if words and words != NOTHING_REFUSED else ""


def footer(task: Task, progress: Progress, isolation: Isolation) -> str:
    """Which agent, where, and how safe."""
    where = f"{task.agent} on {progress.machine}" if progress.machine else task.agent
    by_hand = "worked on by hand" if progress.by_hand else ""
    seen = (progress.shares, progress.reached, progress.egress)
    return footed(progress.isolation or isolation, where, by_hand, *seen)


def bare_footer(task: Task, config: FleetConfig) -> str:
    """The footer of a card that knows no more than the task."""
    return footer(task, Progress(), config.isolation)


def progress_card(task: Task, progress: Progress, isolation: Isolation, now_us: int) -> Card:
    """The card of a task as it is now. ``isolation`` is shown until a session has its own."""
    ended = task.state in ENDS
    took = words.duration((task.updated_us if ended else now_us) - task.created_us)
    state = f"{task.state}" + (f" · turn {progress.turn}" if progress.turn else "") + f" · {took}"
    state += f" · by {progress.schedule}" if progress.schedule else ""
    lines = [line(state)]
    if task.why:
        lines.append(line(one_line(task.why, 240)))
    if progress.near and not ended:
        lines.append(line(f"budget: {progress.near}"))
    if progress.left_out:
        lines.append(line(f"left out: {progress.left_out}"))
    if progress.link_down and not ended:
        lines.append(line("no link to the machine: ", one_line(progress.link_down, 60)))
    if progress.left:
        more = f" (and {len(progress.left) - 1} more)" if len(progress.left) > 1 else ""
        lines.append(line("left behind: ", one_line(progress.left[0], 80), more))
    for _, tool in progress.tools:
        lines.append(line(f"{_SIGN.get(tool.outcome, '?')} ", one_line(f"{tool.tool} {tool.summary}", _TOOL_WIDTH)))
    if not progress.tools and progress.said and not ended:
        lines += [
            line("“", one_line(text, 70), "”")
            for text in [row for row in progress.said.splitlines() if row.strip()][-SHOWN_ACTIONS:]
        ]
    if task.state is TaskState.JUDGING:
        lines += [line(seen.summary()) for seen in list(progress.gates.values())[progress.gates_before :][-3:]]
    fields: tuple[Field, ...] = ()
    if progress.cost_udollar:
        fields = (card_field("Cost", words.money(progress.cost_udollar)),)
    return Card(
        title=task_title(task),
        lines=tuple(lines),
        fields=fields,
        actions=_actions(task, progress),
        footer=footer(task, progress, isolation),
        tone=_TONE.get(task.state, Tone.WORKING),
    )


def _actions(task: Task, progress: Progress) -> tuple[Action, ...]:
    log = Action("Log", f"/logs {task.id}", once=False)
    if task.state not in ENDS:
        spent = task.state is TaskState.QUEUED and task.why.startswith(SPENT)
        more = (Action("More", f"/go {task.id} more", once=False),) if spent else ()
        return (*more, log, Action("Stop", f"/stop {task.id}"))
    diff = (Action("Diff", f"/diff {task.id}", once=False),) if progress.snapshot else ()
    if task.state in (TaskState.LANDED, TaskState.PUSHED, TaskState.ANSWERED):
        return (log, *diff)
    return (Action("Retry", f"/retry {task.id}"), log, *diff)
