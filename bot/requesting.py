"""A new task and its card, in one transaction: for a person's words, and for a schedule that is due."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NotRequired, TypedDict, Unpack

from bot.cards import task_key
from bot.outbox.posting import Posts
from bot.parse import RunRequest
from bot.registry import Context
from bot.telling import chained, sounds
from bot.telling.progress import Progress, progress_card
from fleet.budgets import UNLIMITED, Allowance, parse_budget
from fleet.config import FleetConfig
from fleet.config.paying import TELLS_NO_COST
from fleet.errors import Misused, Refused
from fleet.flight import starting
from fleet.flight.placement import Impossible, Placed, Waiting
from fleet.globs import Glob
from fleet.locks import LockMode, Resource, Want
from fleet.model import ChatRef, Fork, Task, TaskMode
from fleet.schedule.model import Job, Schedule
from fleet.store import tasks
from gates.locks.overlap import head_of

NOW: Final = "start the task at once"
OR_WAIT: Final = "Leave wait=no out, and it waits in /queue."


def request_scheduled(context: Context, posts: Posts, schedule: Schedule) -> Task:
    """The task of a schedule that is due, or that a person starts now."""
    work = schedule.work
    return request_task(
        context,
        posts,
        repo=work.repo,
        agent=work.agent,
        machine=work.machine,
        prompt=work.prompt,
        mode=TaskMode.ASK if work.job is Job.ASK else TaskMode.CHANGE,
        requester=schedule.owner,
        origin=schedule.channel,
        locks=work.locks,
        schedule=schedule.id,
        budget=work.budget,
        needs=work.needs,
        model=work.model,
    )


class NewTask(TypedDict):
    """What :func:`fleet.store.tasks.create_task` is told of a task."""

    repo: str
    agent: str
    machine: str
    prompt: str
    mode: TaskMode
    requester: str
    origin: ChatRef
    retry_of: NotRequired[str]
    locks: NotRequired[tuple[Want, ...]]
    after: NotRequired[str]
    needs: NotRequired[tuple[str, ...]]
    forked: NotRequired[Fork | None]
    budget: NotRequired[Allowance]
    model: NotRequired[str]


def request_task(context: Context, posts: Posts, *, schedule: str = "", **asked: Unpack[NewTask]) -> Task:
    """The task, queued; the dispatcher hears of it after the commit. ``schedule``: the one that asks for it."""
    tx = posts.tx
    task = tasks.create_task(tx, **asked)
    if (before := asked.get("retry_of")) and not starting.landed(first := tasks.task(tx, before)):
        chained.follow(posts, first, task)
    answer = starting.answer(tx, context.control.placing(), task.id)
    if isinstance(answer, Waiting):
        task = tasks.explain(tx, task.id, answer.why)
    card = progress_card(
        replace(task, why=sounds.named(context.config(), task.why)),
        Progress(schedule=schedule),
        context.config().isolation,
        tx.now_us(),
    )
    posts.post(task.origin, card, key=task_key(task.id), task=task.id)
    tx.after_commit(lambda: context.control.wake(task.id))
    return task


def start_now(context: Context, posts: Posts, task: Task) -> None:
    """Keeps a slot for a task that must not wait. Raises ``Refused`` and ``Misused``, which undoes its request."""
    answer = starting.answer(posts.tx, context.control.placing(), task.id)
    match answer:
        case Placed():
            starting.keep(posts.tx, task, answer)
        case Waiting(why):
            cause = sounds.named(context.config(), why)
            raise Refused(attempted=NOW, cause=cause, hint=OR_WAIT)
        case Impossible(why, hint):
            raise Misused(attempted=NOW, cause=why, hint=hint)


def budget_of(config: FleetConfig, agent: str, text: str) -> Allowance:
    """The limits that somebody typed. Raises ``Misused`` for what is malformed, and for money that nobody would
    ever know."""
    budget, known = parse_budget(text) if text else UNLIMITED, config.agents[agent]
    if budget.money and known.price is None and known.driver in TELLS_NO_COST:
        raise Misused(
            attempted="limit money",
            cause=f"{agent} reports no cost, so this would hold nothing",
            hint=f"Limit its time or tokens, or give [agents.{agent}] a price in fleet.toml.",
        )
    return budget


async def declared(context: Context, mode: TaskMode, request: RunRequest) -> tuple[Want, ...]:
    """What the task is to lock before it starts. A word that may be a named thing is also the path that the base
    branch has at its root. Raises ``Misused`` for what is malformed, and for a question."""
    config, repo = context.config(), request.repo
    named = [(name, LockMode.EXCLUSIVE) for name in request.locks]
    named += [(name, LockMode.SHARED) for name in request.shares]
    if named and mode is TaskMode.ASK:
        raise Misused(attempted="lock files", cause="a question changes nothing", hint="Leave lock= out.")
    wants = tuple(dict.fromkeys(Want(Resource.typed(name, repo, config.repos), mode_) for name, mode_ in named))
    for want in wants:
        head_of(want.resource)
    bare = [want.resource.name for want in wants if not want.resource.repo and ":" not in want.resource.name]
    there = await context.control.at_root(repo, bare) if bare else ()
    paths = [
        Want(Resource(Glob.path(want.resource.name).text, repo), want.mode)
        for want in wants
        if not want.resource.repo and want.resource.name in there
    ]
    return tuple(dict.fromkeys((*wants, *paths)))
