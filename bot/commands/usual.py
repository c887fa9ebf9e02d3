"""``/use``: the repository that a chat's tasks are for when they name none."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bot.cards import Action, Card, line
from bot.commands import choose
from bot.outbox.posting import Posts
from bot.parse import RunRequest, keyword
from bot.parse import words as split
from bot.registry import Call, Command, Context, Group, in_write
from fleet.model import ChatRef
from fleet.store.chat import settings
from fleet.store.chat.settings import OfChat
from fleet.store.core import Tx
from gates.people import Right

_NONE = ("off", "none", "no")
_BUTTONS: Final = 8


@in_write
def use(context: Context, call: Call, posts: Posts) -> None:
    """Sets the repository of this chat, shows it, or removes it."""
    given, repos = split(call.args), sorted(context.config().repos)
    chosen = ""
    if given and keyword(given[0]) not in _NONE:
        chosen = choose.pick("repository", "", given[0], repos)
    key = _key(call.message.chat)
    if given:
        settings.put(posts.tx, key, chosen)
    now = settings.get(posts.tx, key)
    posts.data = {"repo": now}
    title = f"This chat uses {now}" if now else "This chat uses no repository by default"
    how = "repo=NAME in a task still chooses another; /use off ends it." if now else "/use NAME sets one."
    others = [] if given else [repo for repo in repos if repo != now][:_BUTTONS]
    actions = tuple(Action(repo, f"/use {repo}") for repo in others)
    posts.post(call.message.chat, Card(line(title), (line(how),), actions=actions, choice=True))


async def with_usual(context: Context, call: Call, request: RunRequest) -> RunRequest:
    """The request with this chat's repository, if it names none."""
    if request.repo:
        return request
    usual = await context.store.read(lambda tx: usual_of(tx, call.message.chat))
    return replace(request, repo=usual) if usual in context.config().repos else request


def usual_of(tx: Tx, chat: ChatRef) -> str:
    """The repository that this chat uses; empty for none."""
    return settings.get(tx, _key(chat))


def _key(chat: ChatRef) -> str:
    return settings.of_chat(OfChat.REPOSITORY, chat)


COMMANDS = (
    Command(
        "use",
        "",
        "set this chat's default repository",
        "[REPO|off]",
        Right.RUN,
        use,
        Group.SET_UP,
        aliases=("repo",),
    ),
)
