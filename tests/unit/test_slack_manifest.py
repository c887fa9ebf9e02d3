"""The manifest that creates the Slack app: what Slack would refuse, and that the kept copy is the real one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.chats.slack.inbox import typed
from bot.chats.slack.manifest import (
    EVENTS,
    MOST_COMMANDS,
    RESERVED,
    SCOPES,
    as_yaml,
    dialect,
    free,
    learn,
    manifest,
)
from bot.commands import every_command
from bot.registry import Command, Registry
from fleet.errors import Misused

KEPT = Path(__file__).parents[2] / "deploy" / "slack-manifest.yaml"
COMMANDS = every_command()
VERBS = Registry(COMMANDS).names


def read_yaml(text: str) -> Any:
    """The subset that manifests need: mappings, lists, JSON scalars, two spaces a level."""
    rows = [(len(row) - len(row.lstrip()), row.strip()) for row in text.splitlines() if not row.startswith("#")]

    def block(at: int, depth: int) -> tuple[Any, int]:
        if rows[at][1].startswith("- "):
            items = []
            while at < len(rows) and rows[at][0] == depth and rows[at][1].startswith("- "):
                rest = rows[at][1][2:]
                if rest.startswith('"'):
                    items.append(json.loads(rest))
                    at += 1
                else:
                    rows[at] = (depth + 2, rest)
                    item, at = block(at, depth + 2)
                    items.append(item)
            return items, at
        found: dict[str, Any] = {}
        while at < len(rows) and rows[at][0] == depth:
            key, _, value = rows[at][1].partition(":")
            if value.strip():
                found[key] = json.loads(value)
                at += 1
            else:
                found[key], at = block(at + 1, rows[at + 1][0])
        return found, at

    return block(0, 0)[0]


@pytest.mark.parametrize(
    "arguments", [{}, {"prefix": "ab"}, {"prefix": "ab-", "url": "https://bot.example.org/slack/events"}]
)
def test_the_text_says_what_the_document_says(arguments: dict[str, str]) -> None:
    document = manifest(COMMANDS, **arguments)
    assert read_yaml(as_yaml(document)) == document


def test_a_menu_drops_nothing_silently() -> None:
    """A person looks for a verb among at most 25; the rest is under ``/fleet`` and buttons."""
    registry = Registry(COMMANDS)
    assert 10 < len(registry.menu) <= MOST_COMMANDS
    for prefix in ("", "ab"):
        listed = {row["command"].split("-")[-1].strip("/") for row in _slash_commands(COMMANDS, prefix)}
        assert listed == {command.verb for command in registry.menu} - RESERVED | {"fleet"}
    more = [replace(command, brief="often", verb=f"verb{number}") for number, command in enumerate(COMMANDS)]
    with pytest.raises(ValueError, match="at most 25"):
        manifest(more)


def _slash_commands(commands: Sequence[Command], prefix: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = manifest(commands, prefix)["features"]["slash_commands"]
    return found


def test_the_kept_manifest_is_made_from_the_commands_there_are() -> None:
    made = as_yaml(manifest(COMMANDS))
    assert KEPT.read_text(encoding="utf-8") == made, "run: airboss slack manifest > deploy/slack-manifest.yaml"


@pytest.mark.parametrize("prefix", ["", "ab", "ab-"])
def test_slack_would_take_every_command(prefix: str) -> None:
    commands = manifest(COMMANDS, prefix)["features"]["slash_commands"]
    names = [command["command"] for command in commands]
    assert "/fleet" in names and len(set(names)) == len(names) <= MOST_COMMANDS
    for command in commands:
        name = command["command"].removeprefix("/")
        assert name not in RESERVED
        assert name.replace("-", "").isalnum() and name == name.lower() and len(name) <= 32
        assert 1 <= len(command["description"]) <= 2_000 and len(command.get("usage_hint", "")) <= 1_000
    assert all(f"/ab-{command.verb}" in names for command in free(COMMANDS)) == bool(prefix)


@pytest.mark.parametrize("name", ["status", "mute", "who", "topic", "open", "leave", "search", "remind", "me"])
def test_names_that_slack_keeps_for_itself_are_reached_through_fleet(name: str) -> None:
    assert f"/{name}" not in [command["command"] for command in manifest(COMMANDS)["features"]["slash_commands"]]
    assert dialect(COMMANDS).write(name) == f"/fleet {name}"


@pytest.mark.parametrize("prefix", [None, "", "ab-"])
def test_every_command_that_help_shows_is_understood_when_typed_so(prefix: str | None) -> None:
    write = dialect(COMMANDS, prefix).write
    made = [command["command"] for command in manifest(COMMANDS, prefix or "")["features"]["slash_commands"]]
    for command in COMMANDS:
        assert write(command.verb).split()[0] in made
        name, _, rest = write(command.verb).partition(" ")
        text = typed(name, f"{rest} t1".strip(), VERBS)
        assert text == f"/{command.verb} t1"


@pytest.mark.parametrize(
    ("delivered", "run", "status"),
    [
        ((), "/fleet run", "/fleet status"),
        (("/fleet", "/weather", "/ab-weather"), "/fleet run", "/fleet status"),
        (("/run",), "/run", "/fleet status"),
        (("/ab-run",), "/ab-run", "/ab-fleet status"),
        (("/AB-fleet",), "/ab-run", "/ab-fleet status"),
        (("/run", "/fleet", "/ab-stop"), "/ab-run", "/ab-fleet status"),
    ],
)
def test_how_commands_are_called_is_learned_from_what_slack_delivers(
    delivered: tuple[str, ...], run: str, status: str
) -> None:
    registry = Registry(COMMANDS)
    registry.dialects["slack"] = dialect(registry)
    for command in delivered:
        learn(registry, command)
    write = registry.dialects["slack"].write
    assert (write("run"), write("status")) == (run, status)


def test_the_scopes_allow_what_the_adapter_does_and_no_more() -> None:
    document = manifest(COMMANDS)
    assert set(document["oauth_config"]["scopes"]["bot"]) == set(SCOPES)
    needed = {"chat:write", "commands", "files:read", "files:write", "app_mentions:read"}
    history = {f"{event.removeprefix('message.')}:history" for event in EVENTS if event.startswith("message.")}
    assert needed | history | {"chat:write.public"} == set(SCOPES)
    assert document["settings"]["socket_mode_enabled"] is True


def test_over_http_everything_goes_to_one_address() -> None:
    url = "https://bot.example.org/slack/events"
    document = manifest(COMMANDS, url=url)
    settings = document["settings"]
    assert settings["socket_mode_enabled"] is False
    assert settings["event_subscriptions"]["request_url"] == settings["interactivity"]["request_url"] == url
    assert {command["url"] for command in document["features"]["slash_commands"]} == {url}


@pytest.mark.parametrize(
    "arguments", [{"prefix": "A"}, {"prefix": "a_b"}, {"prefix": "a" * 13}, {"url": "http://x"}]
)
def test_what_slack_would_refuse_is_refused_here(arguments: dict[str, str]) -> None:
    with pytest.raises(Misused):
        manifest(COMMANDS, **arguments)
