"""Agents and their models: what is where, and which model a chat's tasks ask for."""

from __future__ import annotations

from typing import Final

from bot.cards import Action, Card, Line, line, one_line
from bot.commands import choose
from bot.outbox.posting import Posts
from bot.parse import RunRequest, keyword
from bot.parse import words as split
from bot.registry import Call, Command, Context, Group, in_write
from fleet.config import FleetConfig
from fleet.errors import Misused
from fleet.model import ChatRef
from fleet.store.chat import settings
from fleet.store.chat.settings import OfChat
from fleet.store.core import Tx
from gates.people import Right

_NONE: Final = ("off", "none", "default")
_BUTTONS: Final = 8


@in_write
def model(context: Context, call: Call, posts: Posts) -> None:
    """Shows which models may be chosen, and sets one for this chat's tasks."""
    config, given = context.config(), split(call.args)
    if given:
        agent, wanted = _meant(config, given)
        settings.put(posts.tx, _key(call.message.chat, agent), wanted)
    _show(posts, call, config)


def _show(posts: Posts, call: Call, config: FleetConfig) -> None:
    chat = call.message.chat
    lines, actions, data = list[Line](), list[Action](), list[dict[str, object]]()
    for name, agent in sorted(config.agents.items()):
        chosen = _chosen(posts.tx, config, chat, name)
        uses = chosen or agent.model or "its own default"
        others = [each for each in agent.choices if each != (chosen or agent.model)]
        more = f" · also {', '.join(others)}" if others else ""
        here = " · in this chat" if chosen else ""
        lines.append(line(one_line(f"{name} · {uses}{here}{more}", 120)))
        actions += [Action(f"{name} {each}", f"/model {name} {each}", once=False) for each in others]
        actions += [Action(f"{name} default", f"/model {name} off", once=False)] if chosen else []
        choices = list(agent.choices)
        data.append({"agent": name, "default": agent.model, "chosen": chosen, "choices": choices})
    posts.data = {"models": data}
    how = "/run model=NAME chooses for one task. models of an agent in fleet.toml lists the others."
    card = Card(
        line("Models"),
        (*(lines or [line("fleet.toml has no agent.")]), line(how)),
        actions=tuple(actions[:_BUTTONS]),
        choice=bool(actions),
    )
    posts.post(chat, card)


def _meant(config: FleetConfig, given: list[str]) -> tuple[str, str]:
    """The agent and the model (empty: its default) that a person names. Raises ``Misused``."""
    named = choose.named(given[0], config.agents)
    word = given[1] if named and len(given) > 1 else given[0]
    if len(given) > (2 if named else 1) or (named and len(given) == 1):
        raise Misused(attempted="choose a model", hint="Write /model AGENT MODEL, or /model AGENT off.")
    off = keyword(word) in _NONE
    fits = (
        [named]
        if named
        else [name for name, agent in config.agents.items() if off or choose.named(word, agent.choices)]
    )
    if len(fits) != 1:
        which = f"several agents have it: {', '.join(sorted(fits))}" if fits else "no agent may use it"
        raise Misused(attempted="choose a model", on=word, cause=which, hint=f"Allowed: {allowed(config)}.")
    return fits[0], "" if off else choose.pick_model(config, fits[0], word)


def allowed(config: FleetConfig) -> str:
    """Every model that may be chosen, by agent."""
    every = [f"{name} {', '.join(each.choices)}" for name, each in sorted(config.agents.items()) if each.choices]
    return "; ".join(every) or "none"


def wanted_model(tx: Tx, config: FleetConfig, chat: ChatRef, request: RunRequest) -> str:
    """The model of a new task: the one it names, else this chat's; empty: the agent's default."""
    return request.model or _chosen(tx, config, chat, request.agent)


def _chosen(tx: Tx, config: FleetConfig, chat: ChatRef, agent: str) -> str:
    """This chat's model for an agent, while the operator allows it."""
    kept = settings.get(tx, _key(chat, agent))
    return kept if kept in config.agents[agent].choices else ""


def _key(chat: ChatRef, agent: str) -> str:
    return settings.of_chat(OfChat.MODEL, chat, agent)


COMMANDS = (
    Command(
        "model",
        "",
        "show or set the model of this chat's tasks",
        "[[AGENT] MODEL|AGENT off]",
        Right.RUN,
        model,
        Group.LOOK,
        aliases=("models",),
    ),
)
