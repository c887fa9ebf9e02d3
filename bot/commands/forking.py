"""``/fork``: another task that begins with the work of one's session. Gates judge all of it, like any change.

``/adopt``: the same with a session that a person started by hand, and with its conversation. Only that person may
ask for it: what they and their agent said leaves their machine.
"""

from __future__ import annotations

import re

from bot.cards import Card, footed, line
from bot.commands import choose
from bot.commands.common import find_task, split_task
from bot.outbox.posting import Posts
from bot.parse import RunRequest, headed, run_request
from bot.registry import Call, Command, Context, Group, in_write
from bot.requesting import request_task
from bot.telling import sounds
from fleet.errors import Misused, Refused
from fleet.model import Fork, Session, Task, TaskMode, Turn
from fleet.store import hooked, sessions, trees
from fleet.store.core import Tx
from fleet.store.hooked import Adoption
from fleet.store.states import TreeState
from fleet.untrusted import clean
from gates.people import Right

_TITLE = 60
_USAGE = "Usage: /adopt h3 WORDS…"


def _is_by_hand(args: str) -> bool:
    """Whether a command's words name such a session first."""
    return re.fullmatch(r"[hH]\d{1,18}", headed(args)[0]) is not None


def _adopt(context: Context, call: Call, posts: Posts) -> None:
    """Asks for it: its hook hands work and conversation over at its next sign of life."""
    named, words = headed(call.args)
    if not words:
        raise Misused(attempted="adopt a session", cause="it does not say what to do next", hint=_USAGE)
    answer = Card(
        line(f"{named} is adopted at its next sign of life"),
        (line("Its hook then hands over its work and conversation, and a task goes on with them."),),
        footer=footed(context.config().isolation),
    )
    found = next((each for each in hooked.open_ones(posts.tx) if each.id == named.lower()), None)
    if found is None:
        raise Misused(
            attempted="adopt a session",
            on=named,
            cause="no session by hand is open under this name",
            hint=_USAGE,
        )
    if sounds.known_as(context.config(), found.person) != call.person.name:
        raise Refused(
            attempted="adopt a session",
            on=found.id,
            cause="somebody else started it, and its conversation goes with it",
            hint=f"{sounds.name_of(context.config(), found.person)} can adopt it.",
        )
    asked = Adoption(call.actor, call.message.chat, words)
    hooked.change(posts.tx, found, adopt=asked.to_json(), seen_us=found.seen_us)  # no sign of life
    posts.post(call.message.chat, answer)


@in_write
def fork(context: Context, call: Call, posts: Posts) -> None:
    """A new task for the same agent, on the same base, with what the newest snapshot of the named one has."""
    if _is_by_hand(call.args):
        _adopt(context, call, posts)
        return
    named, said = split_task(call)
    asked = choose.clear(run_request(said))
    words = asked.prompt
    if asked != RunRequest(words):
        cause = "a fork has the repository, the agent and the limits of its task"
        raise Misused(
            attempted="fork a task", cause=cause, hint="Leave options out, or write -- before your words."
        )
    if not words:
        hint = "Usage: /fork t7 WORDS…, or /adopt h3 WORDS… for a session by hand."
        raise Misused(attempted="fork a task", cause="it does not say what to do", hint=hint)
    tx, config = posts.tx, context.config()
    task = find_task(tx, call, named, newest=True)
    session, turn = _work_of(tx, task)
    agent = choose.agent_again(config, task.agent, task.repo)
    made = request_task(
        context,
        posts,
        repo=task.repo,
        agent=agent,
        machine=task.machine,
        prompt=_prompt(words, task, session, turn),
        mode=TaskMode.CHANGE,
        requester=call.actor,
        origin=call.message.chat,
        needs=task.needs,
        budget=task.budget,
        model=task.model if task.model in config.agents[agent].choices else "",
        forked=Fork(session.id, turn.snapshot, session.base),
    )
    posts.conclude(task=made.id)


def _work_of(tx: Tx, task: Task) -> tuple[Session, Turn]:
    """The newest snapshot of a task. Raises ``Refused`` when there is none."""
    for session in reversed(sessions.of_task(tx, task.id)):
        saved = trees.newest(sessions.turns(tx, session.id))
        if saved is not None and trees.of(tx, session).state not in {TreeState.DELETING, TreeState.DELETED}:
            return session, saved
    raise Refused(
        attempted=f"fork {task.id}",
        cause="it has no snapshot: none of its turns is over, or its work was deleted",
        hint=f"/session {task.id} shows its turns.",
    )


def _prompt(words: str, task: Task, session: Session, turn: Turn) -> str:
    title = " ".join(clean(task.prompt.split("\n", 1)[0], _TITLE).split())
    return (
        f"{words}\n\n"
        f"This is a fork of {task.id} ({title}): your worktree begins with its work, snapshot {turn.snapshot[:12]} "
        f"on base {session.base[:12]}, not committed. It is part of your change; keep what fits, change the rest."
    )


COMMANDS = (
    Command(
        "fork",
        "",
        "a new task from the work of a task, or of h3",
        "[TASK|h3] WORDS…",
        Right.RUN,
        fork,
        Group.DECIDE,
        takes_words=True,
        aliases=("adopt",),
    ),
)
