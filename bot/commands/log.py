"""/logs: what an agent did, as one card that stays current while its task is open."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bot import words
from bot.cards import Card, footed, line
from bot.commands.common import file_if_long, isolation_of, reply, task_meant, zone_of_caller
from bot.outbox.posting import Posts
from bot.parse import keyword
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.telling import gate_tail, log_card, sounds
from bot.telling.story import story
from fleet.model import ENDS
from fleet.untrusted import Untrusted
from gates.people import CONSOLE, Right

_DATA_LINES = 200


async def logs(context: Context, call: Call) -> Effect:
    """What a task's agent did and its gate results, newest last. In a chat, the card of an open task stays current
    for a while; ``file``: all of it, as a file."""
    given = split(call.args)
    kept = [word for word in given if keyword(word) != "file"]
    wanted, whole = " ".join(kept), len(kept) < len(given)
    task = await task_meant(context, replace(call, args=wanted), newest=True)
    named = partial(sounds.named, context.config())
    zone, isolation = await zone_of_caller(context, call), await isolation_of(context, task)
    text = await context.store.read(lambda tx: story(tx, task.id, zone, named), long=True)
    lines = [*text.splitlines(), *await gate_tail.of(context.store, context.home, task)]
    live = task.state not in ENDS and not whole and call.message.chat.adapter != CONSOLE
    path = "" if live else await file_if_long(context, f"{task.id}-log.txt", "\n".join(lines), always=whole)
    data: dict[str, object] = {
        "task": task.id,
        "lines": lines[-_DATA_LINES:],
        "count": len(lines),
        "document": path,
    }
    if live:

        def effect(posts: Posts) -> None:
            posts.data = data
            until = posts.tx.now_us() + log_card.LIVES_US
            kept = log_card.LiveLog(task.id, call.message.chat, zone.key, until)
            card = log_card.log_card(
                task,
                lines,
                log_card.Freshness.LIVE,
                until=words.clock(until, zone)[:5],
                isolation=isolation,
                count=len(lines),
            )
            log_card.begin(posts, kept, card, call.put)

        return effect
    tail = log_card.tail_of(lines)
    card = Card(
        line(f"{task.id} · log"),
        (line(f"{words.count(len(lines), 'line')}; the last {len(tail)}:"),)
        if lines
        else (line("No output yet."),),
        body=Untrusted("\n".join(tail)[-log_card.SHOWN_CHARACTERS :]) if tail else None,
        footer=footed(isolation),
        document=path,
    )
    return reply(call, card, task=task.id, data=data)


COMMANDS = (
    Command(
        "logs",
        "events",
        "what the agent did and reported",
        "[TASK] [file]",
        Right.SEE,
        logs,
        Group.REPORTS,
        aliases=("log",),
    ),
)
