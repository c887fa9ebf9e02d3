"""Commands about locks: who holds what, and taking a lock away."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from bot import words
from bot.cards import Card, Line, footed, line, one_line
from bot.commands.common import reply
from bot.outbox.posting import Posts
from bot.pages import Page
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group, in_write
from bot.telling import locked, sounds
from fleet.config import FleetConfig
from fleet.errors import Misused, Refused
from fleet.globs import normal
from fleet.locks import Hold, HoldEnd, Lock, Resource
from fleet.model import ENDS
from fleet.store import locks, tasks
from fleet.store.core import Tx
from fleet.store.named import plain_id
from gates.locks import book
from gates.locks.line import Waiter
from gates.locks.overlap import head_of, shared_path
from gates.people import Right, demand

_NAMED = 2
_Held = tuple[Hold, list[Lock]]
_WHAT = re.compile(r"(?:[\"'“”„‘’«]([^\"'“”„‘’«»\n]+)[\"'“”‘’»](?=\s)|(\S+))\s*(.*)", re.DOTALL)


async def show_locks(context: Context, call: Call) -> Effect:
    """Who holds what and for how long, and who waits; a page of them. Of a holder or a resource: only what is about
    that. ``ask``: asks for what a task holds."""
    given = split(call.args)
    if given[:1] == ["ask"] and len(given) == 3:
        demand(call.person, Right.RUN, attempted="ask for a lock")
        return partial(_ask, context, call, given[1], given[2])
    number = int(given.pop()[:9]) if given and given[-1].isascii() and given[-1].isdigit() else 1
    about, config = " ".join(given), context.config()

    def read(tx: Tx) -> tuple[int, list[_Held]]:
        found = [(hold, some) for hold, some in locks.held(tx) if hold.expires_us > tx.now_us()]
        return tx.now_us(), sorted(found, key=lambda each: each[0].since_us)

    now, held = await context.store.read(read)
    waiting, only = list(context.locks.line), _only(config)
    if about:
        named = _resources(config, about) if not _of_holder(held, about) else ()
        held = _of_holder(held, about) or _with(
            held, lambda lock: any(shared_path(x, lock.resource) for x in named)
        )
        waiting = [
            each
            for each in waiting
            if any(shared_path(x, want.resource) for x in named for want in each.request.wants)
        ]
    rows = [
        _held_line(hold, shown, now, only)
        for hold, some in held
        for shown in ([[lock] for lock in some] if about else [some])
    ]
    rows += [_waiting_line(waiter, now, only) for waiter in waiting]
    data = {
        "held": [
            {
                "holder": hold.holder,
                "task": hold.task,
                "since_us": hold.since_us,
                "expires_us": hold.expires_us,
                "locks": [{"resource": str(lock.resource), "mode": str(lock.mode)} for lock in some],
            }
            for hold, some in held
        ],
        "waiting": [
            {
                "holder": waiter.request.holder,
                "wants": [str(want.resource) for want in waiter.request.wants],
                "since_us": waiter.since_us,
            }
            for waiter in waiting
        ],
    }
    page = Page.of(number, len(rows))
    nothing = ("Nobody holds ", one_line(about, 60), ".") if about else ("Nothing is locked.",)
    lines = tuple(rows[page.first : page.upto]) or (line(*nothing),)
    title = line(f"{words.count(len(held), 'holder')} · {len(waiting)} waiting{page.span}")
    actions = page.actions(f"/locks {about} ".replace("  ", " "))
    return reply(call, Card(title, lines, actions=actions, footer=footed(config.isolation)), data=data)


def _ask(context: Context, call: Call, asking: str, holding: str, posts: Posts) -> None:
    """Tells whoever asked for the holder that another task needs what it holds."""
    tx = posts.tx
    task, holder = tasks.find(tx, asking), tasks.find(tx, holding)
    if holder.state in ENDS:
        raise Refused(attempted=f"ask for what {holder.id} holds", cause=f"it has ended: {holder.state}")
    config = context.config()
    card = locked.asked_card(task, holder, locked.last_refusal(tx, task.id), call.person.name)
    sounds.post(posts, config, holder.origin, sounds.titled(holder, card), task=holder.id)
    posts.post(call.message.chat, Card(line(f"Asked in {holder.id}'s chat"), footer=footed(config.isolation)))


@in_write
def unlock(context: Context, call: Call, posts: Posts) -> None:
    """Takes a lock away: the old holder is fenced off before anybody else gets it."""
    given, reason = _split(call.args)
    if not given or not reason:
        raise Misused(
            attempted="take a lock away",
            cause="it needs what to unlock, and why",
            hint="For example: /unlock t7 its machine is gone",
        )
    tx = posts.tx
    found = _meant(tx, context.config(), given)
    with book.opened(tx) as page:
        for hold, some in found:
            page.let_go(hold, some, HoldEnd.BROKEN, actor=call.actor, reason=reason)
    context.locks.serve(tx)
    names = ", ".join(dict.fromkeys(hold.holder for hold, _ in found))
    count = sum(len(some) for _, some in found)
    card = Card(
        line(f"{words.count(count, 'lock')} taken away"),
        (line("From ", one_line(names)), line("Reason: ", one_line(reason))),
        footer=footed(context.config().isolation),
    )
    posts.post(call.message.chat, card)
    for hold, _ in found:
        if hold.task:
            tx.after_commit(partial(context.control.wake, hold.task))


def _meant(tx: Tx, config: FleetConfig, given: str) -> list[_Held]:
    """The holds that are meant, with the locks to take: all of a holder's, or those of one resource."""
    named = plain_id(given)
    if named.removeprefix("t").isdigit():
        task, held = tasks.find(tx, named), locks.held(tx)
        mine = [(hold, some) for hold, some in held if hold.task == task.id]
        if not mine:
            raise Refused(attempted=f"unlock {task.id}", cause="it holds no lock")
        return mine
    held, wanted = locks.held(tx), _resources(config, given)
    found = _with(held, lambda lock: any(_same(each, lock.resource) for each in wanted)) or _of_holder(held, given)
    if not found:
        cause, hint = "nobody holds it", "/locks shows what is held."
        for hold, some in _with(held, lambda lock: any(shared_path(each, lock.resource) for each in wanted)):
            cause = f"{hold.holder} holds {some[0].resource.name}, and not this alone"
            hint = f"/unlock '{some[0].resource}' REASON takes that away."
        raise Refused(attempted=f"unlock {given[:60]}", cause=cause, hint=hint)
    return found


def _resources(config: FleetConfig, given: str) -> list[Resource]:
    """What a person means by a word: a named thing may also be a path, where there is one repository."""
    only = _only(config)
    meant = Resource.parse(given, only)
    head_of(meant)  # a malformed pattern is refused
    return [meant, Resource(meant.name, only)] if only and not meant.repo and ":" not in meant.name else [meant]


def _only(config: FleetConfig) -> str:
    return next(iter(config.repos)) if len(config.repos) == 1 else ""


def _of_holder(held: Sequence[_Held], given: str) -> list[_Held]:
    """What a holder has, by its name as ``/locks`` shows it, or without what is in brackets."""
    names = {plain_id(given), given.lower()}
    return [
        (hold, some)
        for hold, some in held
        if not names.isdisjoint((hold.holder.lower(), hold.holder.partition(" (")[0].lower()))
    ]


def _with(held: Sequence[_Held], meant: Callable[[Lock], object]) -> list[_Held]:
    """The holds that have such locks, with these alone."""
    found = ((hold, [lock for lock in some if meant(lock)]) for hold, some in held)
    return [(hold, some) for hold, some in found if some]


def _same(one: Resource, other: Resource) -> bool:
    """Whether they are one; upper and lower case of a path are the same."""
    if one.repo and one.repo == other.repo:
        return normal(one.name, fold=True) == normal(other.name, fold=True)
    return one == other


def _split(args: str) -> tuple[str, str]:
    """What to unlock, in quotes where it has spaces, and why."""
    found = _WHAT.fullmatch(args.strip())
    return ((found[1] or found[2]).strip(), found[3].strip()) if found else ("", "")


def _held_line(hold: Hold, some: list[Lock], now: int, only: str) -> Line:
    what = ", ".join(_named(lock.resource, only) + lock.marks for lock in some[:_NAMED]) or "nothing yet"
    more = f" +{len(some) - _NAMED:,}" if len(some) > _NAMED else ""
    since, left = words.duration(now - hold.since_us), words.duration(hold.expires_us - now)
    return line(one_line(hold.holder, 30), " · ", one_line(what, 60), f"{more} · {since}, {left} left")


def _waiting_line(waiter: Waiter, now: int, only: str) -> Line:
    names = ", ".join(_named(want.resource, only) for want in waiter.request.wants[:3])
    since = words.duration(now - waiter.since_us)
    return line("⏳ ", one_line(waiter.request.holder, 30), " waits for ", one_line(names, 40), f" · {since}")


def _named(resource: Resource, only: str) -> str:
    """As ``/unlock`` takes it: a path of the ``only`` repository that ``fleet.toml`` has without that."""
    return resource.name if resource.repo in ("", only) else str(resource)


COMMANDS = (
    Command(
        "locks",
        "held",
        "who holds which lock, who waits",
        "[HOLDER|RESOURCE] [PAGE]",
        Right.SEE,
        show_locks,
        Group.DECIDE,
    ),
    Command(
        "unlock",
        "",
        "take a lock away, with a reason",
        "TASK|HOLDER|RESOURCE REASON",
        Right.RELEASE,
        unlock,
        Group.DECIDE,
    ),
)
