"""Speaking to a running agent, and asking the fleet for quiet."""

from __future__ import annotations

import re

from bot import mutes, words
from bot.cards import Card, Tone, line, one_line
from bot.commands.common import find_task, last_session, reply, split_task
from bot.deliver import post
from bot.parse import tidy
from bot.registry import Call, Command, Context, Effect
from fleet.errors import Refused
from fleet.model import ENDS, TaskState
from fleet.store import sessions, tasks
from fleet.store.core import Tx
from gates.people import Right

SECTION = "Talk"
_SPAN = re.compile(r"(\d{1,4})\s*(m|min|minutes?|h|hours?|d|days?)?$", re.IGNORECASE)
_UNIT_US = {"m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


async def say(context: Context, call: Call) -> Effect:
    """Hands words to a task's agent: into its running turn, or as its next one."""
    wanted, text = split_task(call)
    if not text:
        raise SAY.misused("there are no words in it")

    def effect(tx: Tx) -> None:
        task = tasks.task(tx, find_task(tx, call, wanted).id)
        session = last_session(tx, task)
        if task.state in ENDS:
            raise Refused(
                attempted=f"speak to {task.id}",
                cause=f"it has ended: {task.state}",
                hint=f"/retry {task.id}, or /run",
            )
        if session is None:
            raise Refused(
                attempted=f"speak to {task.id}", cause="its agent has not begun yet", hint="Try again soon."
            )
        sessions.add_note(tx, session.id, text, call.actor)
        running = task.state is TaskState.RUNNING and not session.one_turn
        how = "steers the running turn" if running else "queued: the agent reads it as its next turn"
        card = Card(line(f"{task.id} · {how}"), (line("“", one_line(text, 120), "”"),), tone=Tone.WORKING)
        post(tx, call.message.chat, card, task=task.id)
        call.result.task = task.id
        tx.after_commit(lambda: context.control.wake(task.id))

    return effect


async def mute(context: Context, call: Call) -> Effect:
    """Takes the sound off this chat for a while; cards still come."""
    chat, given = call.message.chat, tidy(call.args).lower()
    if given in ("off", "no", "end"):
        return _muted(call, None)
    if given in ("", "on", "forever"):
        return _muted(call, mutes.FOR_EVER)
    found = _SPAN.match(given)
    if found is None:
        raise MUTE.misused(f"{given[:20]!r} is no time")
    span = int(found.group(1)) * _UNIT_US[(found.group(2) or "m")[0]]

    def effect(tx: Tx) -> None:
        until = tx.now_us() + span
        mutes.mute(tx, chat, until)
        post(tx, chat, Card(line(f"Quiet until {words.day(until)}")))

    return effect


def _muted(call: Call, until: int | None) -> Effect:
    def effect(tx: Tx) -> None:
        mutes.mute(tx, call.message.chat, until or 0)
        text = "Quiet until /mute off" if until else "Pings are on again"
        reply(call, Card(line(text)))(tx)

    return effect


SAY = Command("say", "tell a task's agent something", "[TASK] WORDS…", Right.STEER, say, SECTION, aliases=("tell",))
MUTE = Command("mute", "no sound in this chat", "[30m|2h|1d|off]", Right.RUN, mute, SECTION)
COMMANDS = (SAY, MUTE)
