"""The manifest that creates the Slack app, and how commands are written in Slack.

Slack rejects a whole manifest for one reserved name, and a name belongs to one app in a workspace. So ``/fleet``
takes every verb, and the frequent ones that Slack does not reserve have their own names, with a prefix if wanted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from bot.chats.slack.inbox import NAME
from bot.parse import FLEET
from bot.registry import Command, Dialect, Registry
from fleet.errors import Misused

RESERVED: Final = frozenset(
    (
        "active",
        "apps",
        "archive",
        "away",
        "call",
        "canvas",
        "collapse",
        "commands",
        "debug",
        "dm",
        "dnd",
        "expand",
        "feed",
        "feedback",
        "help",
        "huddle",
        "invite",
        "join",
        "keys",
        "kick",
        "kill",
        "leave",
        "list",
        "me",
        "msg",
        "mute",
        "open",
        "part",
        "pin",
        "prefs",
        "pro",
        "remind",
        "remove",
        "rename",
        "search",
        "send",
        "share",
        "shortcuts",
        "shrug",
        "star",
        "status",
        "todo",
        "topic",
        "unarchive",
        "unmute",
        "unpin",
        "who",
        "workflow",
    )
)
"""Slack's own commands, and names similar to them: Slack rejects a manifest with any of them."""

SCOPES: Final = (
    "app_mentions:read",
    "channels:history",
    "chat:write",
    "chat:write.public",
    "commands",
    "files:read",
    "files:write",
    "groups:history",
    "im:history",
    "mpim:history",
)
EVENTS: Final = ("app_mention", "message.channels", "message.groups", "message.im", "message.mpim")

MOST_COMMANDS: Final = 25
"""More do not help a person who looks for one; Slack itself takes 50."""
_PREFIX = re.compile(r"[a-z0-9]{1,12}-?")


def free(registry: Iterable[Command]) -> Iterator[Command]:
    """The frequent commands whose names Slack does not reserve."""
    return (command for command in registry if command.brief and command.verb not in RESERVED | {FLEET})


def dialect(registry: Iterable[Command], prefix: str | None = None) -> Dialect:
    """How commands are written in Slack. ``prefix`` is the prefix of our names there, such as ``ab-``: then each
    frequent command has its own name if Slack does not reserve it. ``None``: not known yet. ``/fleet VERB`` always
    works."""
    native = frozenset(command.verb for command in free(registry)) if prefix is not None else frozenset()
    before = prefix or ""
    return Dialect(
        write=lambda verb: f"/{before}{verb}" if verb in native else f"/{before}{FLEET} {verb}",
        advice=f"/{before}{FLEET} help VERB explains one. In a direct message, or after @airboss, leave out the "
        "slash. In a thread, write !stop or @airboss stop; other words go to the agent.",
        before="" if native else f"/{before}{FLEET}",
    )


def learn(registry: Registry, command: str) -> None:
    """Learns from a slash command that Slack delivered, ``/ab-run``, what ours are called in this workspace."""
    name = command.lstrip("/").lower()
    parts = name.split("-")
    for start in range(len(parts)):
        rest = "-".join(parts[start:])
        if rest in registry.names or rest == FLEET:
            if name != FLEET:  # every manifest has that one, with any prefix
                registry.dialects[NAME] = dialect(registry, name.removesuffix(rest))
            return


def manifest(registry: Iterable[Command], prefix: str = "", url: str = "") -> dict[str, Any]:
    """The manifest of the app; with ``url``, for HTTP there instead of Socket Mode.

    Raises ``Misused`` for a prefix or an address that Slack would reject.
    """
    if url and not url.startswith("https://"):
        raise Misused(
            attempted="write the Slack manifest",
            on=f"--url {url[:60]}",
            cause="Slack sends to https:// addresses only",
            hint="For example: --url https://bot.example.org/slack/events",
        )
    if prefix and not _PREFIX.fullmatch(prefix):
        raise Misused(
            attempted="write the Slack manifest",
            on=f"--prefix {prefix[:20]}",
            cause="a prefix has 1 to 12 lowercase letters and digits",
            hint="For example: --prefix ab gives /ab-run.",
        )
    before = f"{prefix.rstrip('-')}-" if prefix else ""
    at = {"request_url": url} if url else {}
    commands = [_slash(FLEET, "every command: /fleet status, /fleet stop t1", "VERB …", url)]
    if before:
        commands.append(_slash(before + FLEET, "the same as /fleet", "VERB …", url))
    commands += [_slash(before + command.verb, command.summary, command.usage, url) for command in free(registry)]
    if len(commands) > MOST_COMMANDS:
        raise ValueError(f"{len(commands)} slash commands; a menu has at most {MOST_COMMANDS}")
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {
            "name": "Airboss",
            "description": "A fleet of coding agents, from your phone",
            "background_color": "#1f2933",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "airboss", "always_online": True},
            "slash_commands": commands,
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**at, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **at},
            "org_deploy_enabled": False,
            "socket_mode_enabled": not url,
            "token_rotation_enabled": False,
        },
    }


def _slash(name: str, summary: str, usage: str, url: str) -> dict[str, Any]:
    more = {"url": url} if url else {}
    hint = {"usage_hint": usage} if usage else {}
    return {"command": f"/{name}", **more, "description": summary, **hint, "should_escape": False}


def as_yaml(document: dict[str, Any]) -> str:
    """The document as YAML: mappings, lists, and scalars as JSON, which is valid YAML."""
    return "# Made by `airboss slack manifest`; docs/slack.md says what to do with it.\n" + "".join(
        f"{line}\n" for line in _yaml(document, 0)
    )


def _yaml(value: Any, depth: int) -> Iterator[str]:
    pad = "  " * depth
    items = value.items() if isinstance(value, dict) else ()
    for key, inner in items:
        if isinstance(inner, dict):
            yield f"{pad}{key}:"
            yield from _yaml(inner, depth + 1)
        elif isinstance(inner, list):
            yield f"{pad}{key}:"
            for item in inner:
                if isinstance(item, dict):
                    first, *rest = _yaml(item, depth + 2)
                    yield f"{pad}  - {first.strip()}"
                    yield from rest
                else:
                    yield f"{pad}  - {_scalar(item)}"
        else:
            yield f"{pad}{key}: {_scalar(inner)}"


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
