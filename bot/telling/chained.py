"""A task that was to start after another one, which did not land: a person decides what follows."""

from __future__ import annotations

from bot.cards import Action, Card, Tone, line, one_line
from bot.outbox.posting import Posts
from bot.telling import buttons
from fleet.model import Task
from fleet.store import queue, tasks
from fleet.store.core import Tx


def chained_to(tx: Tx, first: Task) -> list[Task]:
    """The tasks that wait for this one to land, and are not being stopped themselves."""
    line = [task for task in queue.line(tx) if task.after == first.id]
    return [task for task in line if not tasks.stop_requested(tx, task.id)]


def follow(posts: Posts, first: Task, again: Task) -> None:
    """What waits for a task to land waits for the one that runs it again."""
    for task in chained_to(posts.tx, first):
        tasks.chain(posts.tx, task.id, again.id, again.requester)
        title = line(f"{task.id} starts after {again.id}, which runs {first.id} again")
        buttons.change(posts, key(task, first), Card(title))


def key(task: Task, first: Task) -> str:
    """One question for a task and the one that it waits for."""
    return f"after:{task.id}:{first.id}"


def missed_card(task: Task, first: Task, base: str) -> Card:
    """The question. Without an answer the task waits."""
    return Card(
        line(f"{task.id} waits for you: {first.id} did not land"),
        (
            line(f"{first.id} ended as {first.state}."),
            line(f"{task.id}: ", one_line(task.prompt, 60)),
        ),
        actions=(Action("Run anyway", f"/queue anyway {task.id}"), Action("Drop", f"/stop {task.id}")),
        footer=base,
        tone=Tone.WAITING,
        choice=True,
        mention=task.requester,
    )
