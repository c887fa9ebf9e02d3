"""The cards of what the gates decided and of what landed."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from bot import words
from bot.cards import Action, Card, Line, Tone, capped, field, line, one_line
from bot.telling.progress import GateSeen, Progress
from fleet.events import LandingDone, Recorded, SessionMoves, SetupBroke, VerdictGiven
from fleet.events.merkle import Frontier
from fleet.landing.task_branch import ref_of
from fleet.model import Task
from fleet.untrusted import Untrusted, tail_that_matters
from fleet.verdict import Outcome

CARD_LINES: Final = 14
_COMMAND_WIDTH: Final = 34
_REPORT_LINES: Final = 8
_ROWS_OF_A_FAILURE: Final = 2
_MARGIN: Final = re.compile(r"^(\s*)([E>]) {2,}")
_TAIL_WIDTH: Final = 84
_GATES_SHOWN, _REMARKS_SHOWN = 4, 3
_TITLE: Final = 60
_SHORT_TITLE: Final = 28


def subject(task: Task, limit: int = _TITLE) -> Line:
    """``shop · fix the cart``: a task's id alone says nothing to a person."""
    return line(f"{task.repo} · ", one_line(task.prompt, limit))


def failed_card(task: Task, verdict: VerdictGiven, progress: Progress, base: str) -> Card:
    """A gate failed: what ran, its exit, where, on which commit, and the lines that matter."""
    body = _tail(verdict.tail) if verdict.tail else None
    red = [seen for seen in _gates(verdict.gate_runs, progress) if not Outcome(seen.outcome).opens]
    title, fields, reasons = line(f"{task.id} · gates failed"), [], verdict.reasons
    if red:
        title = line(f"{task.id} · gate {red[0].gate} failed: {_ended(red[0])}")
        fields = [field("Ran", _command(red[0].argv))]
        # Why else it may have ended so is not lost among the lines of a long output.
        why = red[0].reason.partition("; ")[2] if red[0].exit else ""
        reasons = verdict.reasons if len(red) > 1 else (why,) if why and why not in str(body or "") else ()
    where = f"{red[0].machine} · " if red else ""
    tests = red[0].tests() if red else ""
    fields.append(field("On", where, f"{words.short(verdict.commit)} · {tests or f'turn {progress.turn}'}"))
    actions = (
        Action("Retry", f"/retry {task.id}"),
        Action("Log", f"/logs {task.id}", once=False),
        Action("Diff", f"/diff {task.id}", once=False),
        Action("Stop", f"/stop {task.id}"),
    )
    return Card(
        title=title,
        lines=(subject(task, _SHORT_TITLE), *(line(one_line(reason, 140)) for reason in reasons[:_GATES_SHOWN])),
        fields=tuple(fields),
        body=body,
        actions=actions,
        footer=base,
        tone=Tone.BAD,
        mention=task.requester,
    )


def moved_card(task: Task, moves: SessionMoves, base: str) -> Card:
    """The base moved, and the change goes back to its agent: why, and which files."""
    end = "its agent resolves the conflict" if moves.conflicts else "its agent looks at both together"
    return Card(
        title=line(f"{task.id} · the base moved"),
        lines=(
            subject(task),
            line(one_line(moves.why, 140)),
            line(end),
        ),
        fields=(field("Onto", words.short(moves.new)),),
        actions=(Action("Diff", f"/diff {task.id}", once=False), Action("Stop", f"/stop {task.id}")),
        footer=base,
        tone=Tone.WORKING,
    )


def landed_card(task: Task, landed: LandingDone, progress: Progress, base: str, ledger: Frontier) -> Card:
    """The only message about a green task besides its progress: what the gates said, what landed, and the newest
    root of the ledger."""
    branch = landed.ref.removeprefix("refs/heads/")
    how = "pushed as" if landed.ref == ref_of(task.id) else "landed on"
    gates = [line(seen.summary() + _tests(seen)) for seen in _gates(progress.judged_by, progress)]
    remarks = [line(one_line(remark, 140)) for remark in progress.remarks]
    fields = [field("Commit", words.short(landed.new)), field("Turns", f"{progress.turn}")]
    if progress.snapshot:
        made = progress.snapshot
        fields.append(field("Change", words.change(made.files, made.insertions, made.deletions)))
    if progress.left_out:
        fields.append(field("Left out", progress.left_out))
    if progress.cost_udollar:
        fields.append(field("Cost", words.money(progress.cost_udollar)))
    return Card(
        title=line(f"{task.id} · {how} {branch}"),
        lines=(
            subject(task),
            *capped(gates, "and {n} more gates", _GATES_SHOWN),
            *capped(remarks, "and {n} more remarks", _REMARKS_SHOWN),
        ),
        fields=tuple(fields),
        actions=(
            Action("Diff", f"/diff {task.id}", once=False),
            Action("Receipt", f"/receipt {task.id}", once=False),
        ),
        footer=f"{base} · root {ledger.root().hex()[:12]}… of {ledger.size:,}",
        tone=Tone.GOOD,
        root=f"{ledger.size}:{ledger.root().hex()}",
    )


def setup_card(task: Task, recorded: Recorded, base: str) -> Card:
    """A setup failed: which one, where, how it ended, and the lines that matter."""
    broke = recorded.event
    assert isinstance(broke, SetupBroke)
    return Card(
        title=line(f"{task.id} · setup failed: {broke.setup}"),
        lines=(subject(task, _SHORT_TITLE), line(one_line(broke.reason, 140))),
        fields=(field("On", f"{broke.login}@{recorded.refs.machine} · ", words.short(broke.commit)),),
        body=_tail(broke.tail) if broke.tail else None,
        actions=(Action("Retry", f"/retry {task.id}"),),
        footer=base,
        tone=Tone.BAD,
        mention=task.requester,
    )


def _ended(seen: GateSeen) -> str:
    """How a gate ended, with what its status means: ``exit status 137: SIGKILL, as a shell says it``."""
    meaning = re.split("; | \\(", seen.reason.removeprefix(seen.exit), maxsplit=1)[0]
    return seen.exit + meaning if seen.exit and meaning.startswith(": ") else seen.exit or seen.reason


def _gates(runs: Collection[str], progress: Progress) -> list[GateSeen]:
    return [progress.gates[run] for run in runs if run in progress.gates]


def _tests(seen: GateSeen) -> str:
    return f" · {seen.tests()}" if seen.tests() else ""


def _command(argv: tuple[str, ...]) -> Untrusted:
    """A command's first words, its program without directories. The log has all of it."""
    program = argv[0].rsplit("/", 1)[-1] if argv else ""
    return one_line(" ".join([program, *argv[1:]]), _COMMAND_WIDTH)


def _tail(text: str) -> Untrusted:
    """The lines that matter, each at most two lines on a phone, without the margin that pytest leaves after its
    marks. What a report names comes first, up to an empty line; the output after it says the same again."""
    report, reported, _ = text.partition("\n\n")
    rows = _of_each_failure(report) if reported else tail_that_matters(text, CARD_LINES).splitlines()
    rows = [_MARGIN.sub(r"\1\2 ", row) for row in rows]
    return Untrusted("\n".join(row if len(row) <= _TAIL_WIDTH else row[: _TAIL_WIDTH - 1] + "…" for row in rows))


def _of_each_failure(report: str) -> list[str]:
    """Each failed test's name and the start of its reason, which is often both a message and, behind a mark, in the
    text after it."""
    failures: list[dict[str, str]] = []
    for row in report.splitlines():
        if not failures or not row.startswith(" "):
            failures.append({})
        failures[-1].setdefault(row.strip().removeprefix("E ").strip(), row)
    each = max(_ROWS_OF_A_FAILURE, _REPORT_LINES // max(1, len(failures)))
    most = _REPORT_LINES // each
    told = failures if len(failures) <= most else failures[: most - 1]
    rows = [row for rows in told for row in list(rows.values())[:each]]
    return rows if told is failures else [*rows, "… and more failures"]
