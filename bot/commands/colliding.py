"""Two tasks that would collide are told before the second one starts: it queues, unless a person decides otherwise.

What its words name is matched with what others hold: a path, or the name of a file that is locked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.cards import Action, Card, Tone, line, one_line
from bot.commands.common import meant
from bot.outbox.posting import Posts
from bot.registry import Call, Context
from fleet.errors import Misused, Refused
from fleet.flight import starting
from fleet.globs import Glob
from fleet.locks import Hold, Lock, Resource, Want
from fleet.model import Task, TaskState
from fleet.store import locks, tasks
from fleet.store.core import Tx
from gates.locks.line import Waiter
from gates.locks.overlap import Nearby, conflict, glob

_FILE: Final = re.compile(r"[\w@+~.-]+(?:/[\w@+~.-]+)*")
_MOST: Final = 50
"""Words of a prompt that are looked at."""


@dataclass(frozen=True, slots=True)
class Collision:
    """Something that a new task is about to touch, and who is in its way."""

    want: Want
    path: str
    holder: str
    task: str


def ahead(
    tx: Tx,
    line_up: Sequence[Waiter],
    declared: Sequence[Want],
    *,
    repo: str,
    words: str = "",
    task: str = "",
    after: str = "",
) -> tuple[Collision, ...]:
    """What a task in ``repo`` would collide with: others' locks, and what others wait for. ``task``: itself;
    ``after``: the task that it starts after, which has landed by then."""
    over = {task, *_chain(tx, after)} - {""}
    theirs = [each for each in locks.held(tx) if each[0].expires_us > tx.now_us() and each[0].task not in over]
    of_repo = [lock for _, some in theirs for lock in some if lock.resource.repo == repo]
    found = list(_held(theirs, [*declared, *_named(words, repo, of_repo)]))
    met = {collision.want for collision in found}
    for request in (waiter.request for waiter in line_up):
        if task and request.task == task:
            break  # those behind it
        if request.task in over:
            continue
        for want in declared:
            path = next(filter(None, (conflict(want, other) for other in request.wants)), None)
            if path is not None and want not in met:
                found.append(Collision(want, path, request.holder, request.task))
    return tuple(found)


def _chain(tx: Tx, task: str) -> Iterator[str]:
    """The task, and those that it starts after in turn."""
    while task:
        yield task
        task = tasks.task(tx, task).after


def _held(theirs: Sequence[tuple[Hold, Sequence[Lock]]], wants: Sequence[Want]) -> Iterator[Collision]:
    near = Nearby.of_locks(lock for _, some in theirs for lock in some)
    holds = {hold.id: hold for hold, _ in theirs}
    for want in dict.fromkeys(wants):
        for lock in near.of(want.resource):
            path, hold = conflict(want, lock), holds[lock.hold]
            if path is not None:
                yield Collision(want, path, hold.holder, hold.task)
                break


def _named(words: str, repo: str, held: Sequence[Lock]) -> Iterator[Want]:
    """The files that a prompt names: as a path, or by the last name of a path that somebody holds."""
    by_name: dict[str, list[Lock]] = {}
    for lock in held:
        literal = glob(lock.resource.name).literal
        if literal is not None:
            by_name.setdefault(literal.rpartition("/")[2].casefold(), []).append(lock)
    for word in list(dict.fromkeys(_FILE.findall(words)))[:_MOST]:
        name = word.strip(".-~")
        parts = name.split("/")
        if not name or len(name) > 200 or not {".", "..", ""}.isdisjoint(parts):
            continue
        yield from (Want(lock.resource) for lock in by_name.get(name.casefold(), ()))
        if "." in name or "/" in name:
            yield Want(Resource(Glob.path(name).text, repo))


def warning(tx: Tx, task: Task, met: Sequence[Collision]) -> Card:
    """The question before it starts. No answer is an answer too: it is queued already."""
    first = met[0]
    more = f" (and {len(met) - 1} more)" if len(met) > 1 else ""
    doing = one_line(tasks.task(tx, first.task).prompt, 60) if first.task else "taken by hand"
    return Card(
        line(f"{task.id} would touch what {first.holder} has"),
        (
            line(one_line(first.path, 80), f" is locked by {first.holder}{more}"),
            line(f"{first.holder}: ", doing),
            line(f"Without an answer {task.id} stays queued behind it."),
        ),
        actions=(
            Action("Queue behind it", f"/queue behind {task.id}"),
            Action("Run anyway", f"/queue anyway {task.id}"),
        ),
        tone=Tone.WAITING,
        choice=True,
    )


def decide(context: Context, call: Call, answer: str, named: str, posts: Posts) -> None:
    """``behind``: the task keeps its place. ``anyway``: it no longer waits for what others have."""
    if answer not in ("behind", "anyway"):
        raise Misused(attempted="decide", cause=f"unknown answer {answer}", hint="/queue anyway TASK")
    tx = posts.tx
    now = meant(tx, replace(call, args=named))
    if now.state is not TaskState.QUEUED:
        raise Refused(attempted=f"change how {now.id} waits", cause=f"it is {now.state}")
    first = starting.missed(tx, now)
    if answer == "anyway" and first is not None:
        tasks.chain(tx, now.id, "", call.actor)
    if answer == "anyway":
        met = {
            collision.want
            for collision in ahead(tx, context.locks.line, now.locks, repo=now.repo, task=now.id, after=now.after)
        }
        if not met and first is None:
            raise Refused(
                attempted=f"start {now.id} anyway", cause="it waits for no lock", hint="/queue shows why."
            )
        tasks.declare(tx, now.id, tuple(want for want in now.locks if want not in met))
        tx.after_commit(lambda: context.control.wake(now.id))
    said = "starts without waiting for a lock" if answer == "anyway" else "waits for its locks"
    if answer == "anyway" and first is not None:
        said = f"starts without {first.id}"
    posts.post(call.message.chat, Card(line(f"{now.id} {said}"), tone=Tone.WORKING), task=now.id)
    posts.conclude(task=now.id)
