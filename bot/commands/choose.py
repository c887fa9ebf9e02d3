"""The guided choice: asks for what ``/run`` and ``/ask`` still need, one question at a time, with buttons.

The choices so far are in the buttons' commands; only the last step, the prompt, needs the store.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bot.cards import Action, Card, Line, Tone, line, one_line
from bot.hearing import drafts, held_files
from bot.hearing.drafts import Draft
from bot.outbox.posting import Posts
from bot.pages import Page
from bot.parse import RunRequest, keyword, run_request
from bot.registry import Call, Context, Effect
from fleet.budgets import parse_budget
from fleet.config import FleetConfig
from fleet.errors import Misused
from fleet.machines.watch import MachineSeen
from fleet.offers import LabelNeed
from fleet.store.core import Tx

ANY: Final = "*"
_SHOWN: Final = 8
_MISUSED: Final = 2
_ADD: Final = {"on=": "under [machines.NAME]", "model=": "as a model of that agent"}


def named(word: str, known: Iterable[str]) -> str:
    """The name among ``known`` that a person typed, with any capitals and a full stop; empty for none."""
    every = tuple(known)
    same = (name for name in every if name.lower() in (word.lower(), keyword(word)))
    return word if word in every else next(same, "")


def to_show(what: str, given: Sequence[str], known: Collection[str]) -> str:
    """The one whose name a list was given; empty for a page of all. Raises ``Misused`` for an unknown name."""
    if len(given) != 1:
        return ""
    found = named(given[0], known)
    if not found and not given[0].isdigit():
        raise Misused(
            attempted=f"show {what}",
            on=given[0],
            cause=f"fleet.toml has no such {what.rsplit(maxsplit=1)[-1]}",
            hint=f"{what.rsplit(maxsplit=1)[-1].capitalize()}s: {', '.join(sorted(known)) or 'none'}.",
        )
    return found


def pick(what: str, option: str, wanted: str, known: Sequence[str]) -> str:
    """The name as written, with any capitals, or the only name there is. Raises ``Misused``."""
    if folded := named(wanted, known):
        return folded
    if not wanted and len(known) == 1:
        return known[0]
    add = _ADD.get(option, f"under [{option.rstrip('=') or 'repo'}s.NAME]")
    names = ", ".join(known[:8]) or f"none: add one to fleet.toml {add}"
    how = f" Write {option}NAME before the prompt, or -- before a prompt that starts with @." if option else ""
    cause = f"fleet.toml has no {what} called {wanted!r}" if wanted else f"there are several; choose a {what}"
    if not wanted and not known:
        cause = f"fleet.toml has no {what}"
    raise Misused(
        attempted=f"choose the {what}",
        on=wanted,
        cause=cause,
        hint=f"Known: {names}.{how}",
    )


def agent_again(config: FleetConfig, agent: str, repo: str) -> str:
    """The agent of a task that follows one of ``agent``: the same, else the repository's, else the only one.
    Raises ``Misused`` where there is no such agent, ``Misconfigured`` where there is no such repository."""
    if agent in config.agents:
        return agent
    wanted = config.repo(repo).agent or ("" if len(config.agents) == 1 else agent)
    return pick("agent", "", wanted, sorted(config.agents))


def pick_machine(config: FleetConfig, wanted: str) -> str:
    """As :func:`pick`; ``ANY`` if no machine was chosen."""
    if not wanted or wanted == ANY or (wanted.lower() == "any" and "any" not in config.machines):
        return ANY
    return pick("machine", "on=", wanted, sorted({*config.machines, *config.pools}))


def pick_model(config: FleetConfig, agent: str, wanted: str) -> str:
    """The model, if the operator allows it for this agent. Raises ``Misused``."""
    return pick("model", "model=", wanted, list(config.agents[agent].choices))


def settled(config: FleetConfig, request: RunRequest) -> RunRequest:
    """The request with a repository, an agent and a machine (or ``ANY``), everything named as the fleet does.
    Raises ``Misused``."""
    repo = pick("repository", "repo=", request.repo, sorted(config.repos))
    agent = pick("agent", "agent=", request.agent or config.repos[repo].agent, sorted(config.agents))
    return replace(
        request,
        repo=repo,
        agent=agent,
        machine=pick_machine(config, request.machine),
        needs=tuple(dict.fromkeys(str(LabelNeed.parse(need)) for need in request.needs)),
        model=pick_model(config, agent, request.model) if request.model else "",
    )


def missing(config: FleetConfig, verb: str, request: RunRequest, seen: Mapping[str, MachineSeen]) -> Card | None:
    """The next question; ``None`` when only the prompt is missing, or nothing.

    With a prompt, it never asks for a machine, nor for an agent if the repository names one. ``seen``: the state of
    the machines; those that do not respond are listed last, with a mark.
    """
    guided = not request.prompt
    repos, agents = sorted(config.repos), sorted(config.agents)
    if (not request.repo and len(repos) > 1) or _page(request.repo):
        return _question(verb, request, "repo", repos)
    repo = config.repos[pick("repository", "repo=", request.repo, repos)]
    if (guided and not request.machine and len(config.machines) > 1) or _page(request.machine):
        away = {name for name in config.machines if name in seen and seen[name].state.is_bad}
        machines = sorted(config.machines, key=lambda name: (name in away, name))
        return _question(verb, request, "machine", [ANY, *machines], away)
    if (not request.agent and len(agents) > 1 and (guided or not repo.agent)) or _page(request.agent):
        usual = [repo.agent] if repo.agent else []
        others = [agent for agent in agents if agent not in usual]
        return _question(verb, request, "agent", [*usual, *others])
    return None


def clear(request: RunRequest) -> RunRequest:
    """The request. Raises ``Misused`` when its words begin with an option that is misspelled."""
    if option := request.meant:
        raise Misused(
            attempted="read the options",
            cause=f"“{request.prompt.split()[0][:40]}” is no option",
            hint=f"Did you mean {option}=…? Write -- before words that begin like this.",
        )
    return request


def last_options(config: FleetConfig, verb: str, request: RunRequest) -> Card | None:
    """The question whether the end of the words is meant as options; ``None``: it does not look so."""
    words, last = request.options_last()
    if not last or not words:
        return None
    moved = run_request(f"{request.options} {last} -- {words}".strip())
    if moved.prompt != words or not _known(config, moved):
        return None
    return Card(
        line("Is “", one_line(last, 60), "” an option?"),
        (line("Options come before the words. Nothing has started."),),
        actions=(
            Action("Use it as an option", _written(verb, moved)),
            Action("It is part of my words", _written(verb, request)),
        ),
        tone=Tone.WAITING,
        choice=True,
    )


def _known(config: FleetConfig, request: RunRequest) -> bool:
    """Whether every name in the options is one of the fleet's, and everything else can be read."""
    models = [model for agent in config.agents.values() for model in agent.choices]
    machines = (*config.machines, *config.pools, ANY)
    try:
        parse_budget(request.budget) if request.budget else None
        [LabelNeed.parse(need) for need in request.needs]
    except Misused:
        return False
    return (
        all(
            not wanted or bool(named(wanted, known))
            for wanted, known in (
                (request.repo, config.repos),
                (request.machine, machines),
                (request.agent, config.agents),
                (request.model, models),
                (request.wait, ("yes", "no")),
            )
        )
        and re.fullmatch(r"([tT]?\d+)?", request.after) is not None
    )


def _page(value: str) -> int:
    """The page of a question in place of a name, ``?2``; 0 for a name, which never starts like that."""
    digits = value[1:5]
    return int(digits) if value[:1] == "?" and digits.isascii() and digits.isdigit() else 0


def _question(verb: str, request: RunRequest, what: str, names: list[str], away: Collection[str] = ()) -> Card:
    title = "Which repository?" if what == "repo" else f"Which {what}?"
    page = Page.of(_page(getattr(request, what)), len(names), _SHOWN)
    options = [
        Action(
            "any" if name == ANY else f"⚠ {name}" if name in away else name,
            _written(verb, _with(request, what, name)),
        )
        for name in names[page.first : page.upto]
    ]
    turns = [
        replace(turn, command=_written(verb, _with(request, what, turn.command)), once=True)
        for turn in page.actions("?")
    ]
    lines = [line("⚠ not reachable now")] if any(name in away for name in names[page.first : page.upto]) else []
    return Card(line(title + page.span), tuple(lines), actions=(*options, *turns), tone=Tone.WAITING, choice=True)


def _with(request: RunRequest, what: str, name: str) -> RunRequest:
    if what == "repo":
        return replace(request, repo=name)
    return replace(request, machine=name) if what == "machine" else replace(request, agent=name)


def _written(verb: str, request: RunRequest) -> str:
    return " ".join(filter(None, (f"/{verb}", request.options, f"-- {request.prompt}" if request.prompt else "")))


def asking(call: Call, card: Card, *, had_words: bool) -> Effect:
    """Asks the question. A script that gave a prompt but not the choice gets the status of a misuse."""

    def effect(posts: Posts) -> None:
        key, count = _held(posts.tx, call)
        buttons = [replace(action, digest=key) for action in card.actions]
        posts.post(call.message.chat, replace(card, lines=(*card.lines, *_kept(count)), actions=tuple(buttons)))
        posts.conclude(status=_MISUSED if had_words else 0)

    return effect


def awaiting_words(context: Context, call: Call, request: RunRequest, before: str = "") -> Effect:
    """Stores the choice, and asks for the prompt. ``before``: what else comes before it."""
    cancel = context.registry.write(call.message.adapter, "cancel")
    # In a shared chat a platform may not show us plain messages, and they may be meant for others.
    how = "Your next message here is" if call.message.private else "Reply to this message or mention me: that is"

    def effect(posts: Posts) -> None:
        key, count = _held(posts.tx, call)
        machine = "any machine" if request.machine == ANY else request.machine
        card = Card(
            line("Send the prompt."),
            (
                line(f"{request.agent} · {request.repo} · {machine}"),
                *_kept(count),
                line(f"{how} the task; {cancel} discards it."),
            ),
            tone=Tone.WAITING,
        )
        question = posts.post(call.message.chat, card)
        draft = Draft(call.verb, f"{before}{request.options} -- ", key, question)
        drafts.keep(posts.tx, call.message.chat, call.message.sender, draft)

    return effect


def _held(tx: Tx, call: Call) -> tuple[str, int]:
    """The files so far, under their key: those of the command, or those kept with its question."""
    earlier = held_files.under(tx, call.digest)
    if not call.message.files:
        return (call.digest if earlier else ""), len(earlier)
    files = (*earlier, *call.message.files)
    return held_files.hold(tx, files), len(files)


def _kept(count: int) -> list[Line]:
    return [line(f"{count} file{'s' if count > 1 else ''} attached.")] if count else []
