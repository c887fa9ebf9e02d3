"""``/override``: a person lets an ended task's change land although a gate did not pass, with a reason."""

from __future__ import annotations

import re
from typing import Final

from bot import words
from bot.cards import Action, Card, Tone, field, footed, line, one_line
from bot.commands.common import find_task
from bot.outbox.posting import Posts
from bot.parse import words as split
from bot.registry import Call, Command, Context, Group, in_write
from bot.telling import buttons, sounds
from fleet.config.values import duration_us
from fleet.errors import Misused, Refused
from fleet.events import GateOverridden
from fleet.gate_runs import GateRun
from fleet.model import ENDS, Isolation, Task
from fleet.store import overrides, takeovers, trees
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from fleet.verdict import GateResult
from gates.people import Right, demand_not_own

REASONS: Final = (
    "not caused by this change",
    "a known flaky test",
    "the machine's fault, not the code's",
    "urgent, a follow-up comes",
)
_FOR = re.compile(r"[1-9]\d{0,3}[mhd]")
_MOST_US: Final = 30 * 86_400_000_000


@in_write
def override(context: Context, call: Call, posts: Posts) -> None:
    """Records who overrides which gate and why; then the change is judged again with that."""
    given = split(call.args)
    tx, config = posts.tx, context.config()
    task = find_task(tx, call, given[0] if given else "", newest=True)
    attempted = f"override a gate of {task.id}"
    failing = _failing(tx, task, attempted)
    rest = given[1:] if given else []
    named = rest[0] if rest else ""
    if named not in failing:
        raise Misused(
            attempted=attempted,
            cause=f"no gate {named!r} failed there" if named else "which gate is not said",
            hint=f"Name one that did not pass: {', '.join(sorted(failing))}.",
        )
    run, result = failing[named]
    by_hand = takeovers.people_of(tx, task.id)
    own = demand_not_own(config, Right.OVERRIDE, call.person, task.requester, attempted=attempted, by_hand=by_hand)
    rest = rest[1:]
    lasts = config.limits.override_hours * 3_600_000_000
    if rest and _FOR.fullmatch(rest[0]):
        lasts, rest = min(duration_us(rest[0]), _MOST_US), rest[1:]
    reason = " ".join(rest)
    if not reason:
        posts.conclude(task=task.id, status=Misused.status)
        posts.post(call.message.chat, _question(task, named, result, config.isolation), task=task.id)
        return
    event = GateOverridden(
        gate=named,
        commit=run.commit,
        tree=run.tree,
        definition_sha256=run.definition_sha256,
        outcome=str(result.outcome),
        person=call.person.name,
        reason=reason,
        expires_us=tx.now_us() + lasts,
        self_approved=own,
    )
    overrides.record(tx, run, event, call.actor)
    still = sorted(set(failing) - {gate for gate, _ in overrides.valid(tx, task.id, run.tree)})
    if not still:
        trees.go_on(tx, task, ApprovalDecision.JUDGE, call.actor)
        buttons.withdraw(posts, task.origin, f"/retry {task.id}")
    zone = sounds.zone_of(tx, config, call.actor)
    until = f"{words.day(event.expires_us, zone)} {words.clock(event.expires_us, zone)}"
    card = Card(
        line(f"{task.id} · gate {named} overridden", " (self-approved)" if own else ""),
        (
            line(f"It stays {result.outcome}: ", one_line(result.reason, 120)),
            line("Reason: ", one_line(reason, 200)),
            line(f"Still not passed: {', '.join(still)}" if still else "It is judged again, and lands."),
        ),
        fields=(field("By", call.person.name), field("Until", until)),
        footer=footed(config.isolation, f"this tree only: {words.short(run.tree)}"),
        tone=Tone.WORKING,
    )
    posts.post(call.message.chat, card, task=task.id)
    posts.conclude(task=task.id)
    tx.after_commit(lambda: context.control.wake(task.id))


def _failing(tx: Tx, task: Task, attempted: str) -> dict[str, tuple[GateRun, GateResult]]:
    if task.state not in ENDS:
        raise Refused(
            attempted=attempted,
            cause=f"it has not ended: it is {task.state}",
            hint=f"/stop {task.id} ends it first.",
        )
    failing = overrides.failing(tx, task.id)
    if not failing:
        raise Refused(attempted=attempted, cause="no gate of it failed, so there is none to override")
    return failing


def _question(task: Task, gate: str, result: GateResult, isolation: Isolation) -> Card:
    return Card(
        line(f"Why override gate {gate} of {task.id}?"),
        (
            line(f"{result.outcome}: ", one_line(result.reason, 160)),
            line("Only this change may land; the gate stays as it is."),
            line(f"Or write /override {task.id} {gate} [2h] and your reason."),
        ),
        actions=tuple(Action(reason, f"/override {task.id} {gate} {reason}") for reason in REASONS),
        footer=footed(isolation),
        tone=Tone.WAITING,
        choice=True,
    )


COMMANDS = (
    Command(
        "override",
        "",
        "let a change land although a gate did not pass",
        "TASK GATE [2h] REASON",
        Right.OVERRIDE,
        override,
        Group.DECIDE,
    ),
)
