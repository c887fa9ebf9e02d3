"""``/undo``: a task that takes back what another one landed. Gates judge it like any other change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from bot.commands import choose
from bot.commands.common import task_meant
from bot.hearing import shared
from bot.outbox.posting import Posts
from bot.registry import Call, Command, Context, Effect, Group
from bot.requesting import request_task
from bot.telling import documents
from fleet.errors import Refused
from fleet.landing.task_branch import ref_of
from fleet.model import ENDS, Task, TaskMode, TaskState
from fleet.store import landings, tasks
from fleet.store.chat import attachments
from fleet.store.core import Tx
from fleet.store.landings import Intent, IntentOutcome
from fleet.untrusted import clean
from gates.people import Right

_LIMIT: Final = 2 << 20
_TITLE: Final = 60


async def undo(context: Context, call: Call) -> Effect:
    """A new task for the same agent, with the reverse of the landed change as a patch."""
    task = await task_meant(context, call, newest=True)
    landed = await context.store.read(lambda tx: _landing(tx, task))
    patch = await context.control.diff(task.repo, landed.new, landed.old, _LIMIT)
    if patch.cut:
        raise Refused(
            attempted=f"undo {task.id}",
            cause="its change is too large for a patch",
            hint=f"/run repo={task.repo} Revert commit {landed.new[:12]}.",
        )
    name = f"{task.id}-undo.patch"
    path = await asyncio.to_thread(documents.write, context.home / "files", name, patch.text)
    await shared.keep(context.store, path)
    config = context.config()
    agent = choose.agent_again(config, task.agent, task.repo)

    def effect(posts: Posts) -> None:
        tx, first = posts.tx, _first_line(task)
        for other in tasks.open_tasks(tx):
            if other.repo == task.repo and other.prompt.startswith(f"{first}\n"):
                raise Refused(
                    attempted=f"undo {task.id}",
                    cause=f"{other.id} does it already",
                    hint=f"/status {other.id} shows it.",
                )
        made = request_task(
            context,
            posts,
            repo=task.repo,
            agent=agent,
            machine="",
            prompt=_prompt(first, task, landed, name),
            mode=TaskMode.CHANGE,
            requester=call.actor,
            origin=call.message.chat,
        )
        size = Path(path).stat().st_size
        attachments.add(tx, made.id, attachments.REQUEST, name=name, path=path, media_type="text/x-diff", size=size)
        posts.conclude(task=made.id)

    return effect


def _landing(tx: Tx, task: Task) -> Intent:
    """What the task landed. Raises ``Refused`` when it landed nothing."""
    if task.state is TaskState.PUSHED:
        branch = ref_of(task.id).removeprefix("refs/heads/")
        raise Refused(
            attempted=f"undo {task.id}",
            cause=f"it was pushed as {branch}, and is not on the base branch unless a person merged it",
            hint=f"Delete that branch in the repository: git push origin --delete {branch}",
        )
    done = [intent for intent in landings.of_task(tx, task.id) if intent.outcome is IntentOutcome.DONE]
    if done:
        return done[-1]
    hint = f"/stop {task.id} ends it." if task.state not in ENDS else ""
    raise Refused(attempted=f"undo {task.id}", cause=f"it landed nothing: it is {task.state}", hint=hint)


def _first_line(task: Task) -> str:
    title = " ".join(clean(task.prompt.split("\n", 1)[0], _TITLE).split())
    return f"Undo {task.id}: {title}"


def _prompt(first: str, task: Task, landed: Intent, name: str) -> str:
    return (
        f"{first}\n\n"
        f"Take back exactly what {task.id} changed (commit {landed.new}, on top of {landed.old}), and nothing "
        f"else. The attached {name} is the reverse of it: apply it with `git apply --3way`. Where later changes "
        "touched the same lines and it does not apply any more, undo that part by hand and keep the later changes. "
        "Then check that the project's tests still pass."
    )


COMMANDS = (
    Command(
        "undo", "landing", "a new task that takes back a landed one", "[TASK]", Right.RUN, undo, Group.WORK,
        aliases=("revert",),
    ),
)  # fmt: skip
