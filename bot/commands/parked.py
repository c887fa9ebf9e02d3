"""``/parked``: what becomes of the tasks that wait for the end of an account's usage limit."""

from __future__ import annotations

from functools import partial
from typing import Final

from bot.cards import Action, Card, Tone, footed, line
from bot.commands.common import reply
from bot.outbox.posting import Posts
from bot.parse import words as split
from bot.registry import Call, Command, Context, Effect, Group
from bot.requesting import request_task
from bot.telling import parked as view
from bot.telling import sounds
from bot.telling.parked import Account, ParkedTask
from fleet.errors import Misused, Refused
from fleet.store import tasks
from fleet.store.chat import attachments as attachment_rows
from gates.people import Right, demand

_RIGHTS: Final = {"agent": Right.RUN, "drop": Right.STOP}


async def parked(context: Context, call: Call) -> Effect:
    """The accounts with parked tasks, one account, or a decision about all of its tasks."""
    given = split(call.args)
    verb = given[0].lower() if given else ""
    named = given[1:] if verb in _RIGHTS else given
    if verb in _RIGHTS:
        demand(call.person, _RIGHTS[verb], attempted="decide about parked tasks")
    found = await context.store.read(view.parked)
    accounts = list(dict.fromkeys(each.account for each in found))
    data = {"parked": [_plain(each) for each in found]}
    if not named and len(accounts) != 1:
        return reply(call, _accounts(context, accounts), data=data)
    account = _meant(accounts, named[0] if named else str(accounts[0]))
    if verb not in _RIGHTS:
        mine = [each for each in found if each.account == account]
        zone = await context.store.read(lambda tx: sounds.zone_of(tx, context.config(), call.actor))
        return reply(call, view.account_card(account, mine, context.config().isolation, zone), data=data)
    if verb == "drop":
        return partial(_drop, context, call, account)
    demand(call.person, Right.STOP, attempted="stop the parked tasks, as another agent requires")
    others = sorted(context.config().agents.keys() - {account.agent})
    wanted = named[1] if len(named) > 1 else others[0] if len(others) == 1 else ""
    if not others:
        raise Refused(attempted="use another agent", cause=f"fleet.toml has none besides {account.agent}")
    if not wanted:
        return reply(call, _which(account, others), data=data)
    if wanted not in others:
        raise Misused(attempted="use another agent", on=wanted, hint=f"Others: {', '.join(others)}.")
    return partial(_other, context, call, account, wanted)


def _meant(accounts: list[Account], name: str) -> Account:
    for account in accounts:
        if name in (str(account), account.agent):
            return account
    known = ", ".join(map(str, accounts)) or "none"
    raise Misused(attempted="find the account", on=name, cause="it has no parked task", hint=f"Parked: {known}.")


def _accounts(context: Context, accounts: list[Account]) -> Card:
    return Card(
        line("Accounts with parked tasks" if accounts else "No task is parked"),
        actions=tuple(Action(str(account), f"/parked {account}", once=False) for account in accounts[:8]),
        footer=footed(context.config().isolation),
        tone=Tone.WAITING if accounts else Tone.PLAIN,
    )


def _which(account: Account, others: list[str]) -> Card:
    actions = tuple(Action(name, f"/parked agent {account} {name}") for name in others[:8])
    lines = (line("Each task starts again from the base. The work so far stays in /unlanded."),)
    return Card(line("Which agent?"), lines, actions=actions, tone=Tone.WAITING, choice=True)


def _here(posts: Posts, call: Call, account: Account) -> list[ParkedTask]:
    found = view.of_account(posts.tx, account, call.message.chat) or view.of_account(posts.tx, account)
    if not found:
        raise Refused(attempted=f"decide about {account}", cause="none of its tasks is parked any more")
    return found


def _drop(context: Context, call: Call, account: Account, posts: Posts) -> None:
    found = _here(posts, call, account)
    for each in found:
        tasks.request_stop(posts.tx, each.task.id, call.actor)
    _said(context, call, posts, f"Stopping {_ids(found)}")


def _other(context: Context, call: Call, account: Account, agent: str, posts: Posts) -> None:
    tx, found = posts.tx, _here(posts, call, account)
    for each in found:
        task = each.task
        if not tasks.request_stop(tx, task.id, call.actor):
            continue
        again = request_task(
            context,
            posts,
            repo=task.repo,
            agent=agent,
            machine=task.machine,
            prompt=task.prompt,
            mode=task.mode,
            requester=call.actor,
            origin=task.origin,
            retry_of=task.id,
            locks=task.locks,
            needs=task.needs,
            budget=task.budget,
            forked=task.forked,
        )
        attachment_rows.copy(tx, task.id, again.id)
    _said(context, call, posts, f"{agent} starts {_ids(found)} again")


def _said(context: Context, call: Call, posts: Posts, text: str) -> None:
    posts.data = {"parked": [_plain(each) for each in view.parked(posts.tx)]}
    posts.post(call.message.chat, Card(line(text), footer=footed(context.config().isolation), tone=Tone.WORKING))
    posts.tx.after_commit(lambda: context.control.wake(""))


def _ids(found: list[ParkedTask]) -> str:
    return ", ".join(each.task.id for each in found)


def _plain(each: ParkedTask) -> dict[str, object]:
    return {
        "task": each.task.id,
        "account": str(each.account),
        "until_us": each.until_us,
        "resumes": each.decided.reason if each.decided else "",
    }


COMMANDS = (
    Command(
        "parked",
        "",
        "tasks that wait for a usage limit's end",
        "[agent|drop] [ACCOUNT]",
        Right.SEE,
        parked,
        Group.DECIDE,
    ),
)
