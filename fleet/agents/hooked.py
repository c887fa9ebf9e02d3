"""What Airboss adds to an agent's own settings, so that a session which a person starts by hand is hooked.

Both agents take the same form: ``{"hooks": {EVENT: [{"matcher": …, "hooks": [{"type": "command", …}]}]}}``. Such a
hook fails open in both: what they do not understand, or what takes too long, counts as nothing. So the shell around
our client refuses whenever the client did not say that it answered, and the client gives up before the agent does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from shlex import quote
from typing import Any, Final

from fleet.agents.claude_asks import EDITS


class HookedAgent(StrEnum):
    """The agents whose hooks are known."""

    CLAUDE = "claude"
    CODEX = "codex"


SETTINGS: Final[dict[HookedAgent, tuple[str, str]]] = {
    HookedAgent.CLAUDE: (".claude/settings.json", ".claude/settings.local.json"),
    HookedAgent.CODEX: (".codex/hooks.json", ".codex/hooks.json"),
}
"""Each agent's file: below the home of a person, and below a working copy."""

MARK: Final = "airboss_hook"
"""The client's name."""

OURS: Final = f";import {MARK};{MARK}.main("
"""In every command of ours; what has it is ours to replace and to remove."""


@dataclass(frozen=True, slots=True)
class _Hook:
    """``mode``: what the client does; ``seconds``: how long the agent waits, more than the client does."""

    event: str
    mode: str
    seconds: int
    agents: tuple[HookedAgent, ...] = tuple(HookedAgent)


_HOOKS: Final = (
    _Hook("SessionStart", "start", 15),
    _Hook("PreToolUse", "edit", 20),
    _Hook("PreToolUse", "note", 10, (HookedAgent.CLAUDE,)),
    _Hook("PostToolUse", "note", 10),
    _Hook("PostToolUseFailure", "note", 10, (HookedAgent.CLAUDE,)),
    _Hook("SubagentStart", "note", 10),
    _Hook("SubagentStop", "note", 10),
    _Hook("Stop", "stop", 1_800),
    _Hook("SessionEnd", "end", 3),
)


def merged(settings: dict[str, Any], agent: HookedAgent, python: str, directory: str) -> dict[str, Any]:
    """The settings with our hooks, in place of earlier ones of ours. Others stay, in their order.

    ``python`` and ``directory`` are absolute paths. Raises ``ValueError`` for settings of another form.
    """
    found = removed(settings)
    hooks = dict(found.get("hooks", {}))
    for each in _HOOKS:
        if agent in each.agents:
            command = _command(agent, each.mode, python, directory)
            entry: dict[str, Any] = {"hooks": [{"type": "command", "command": command, "timeout": each.seconds}]}
            if each.event == "PreToolUse":
                entry = {"matcher": _matcher(agent, each.mode), **entry}
            hooks[each.event] = [*hooks.get(each.event, ()), entry]
    return {**found, "hooks": hooks}


def removed(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without our hooks. Raises ``ValueError`` for settings of another form."""
    hooks = settings.get("hooks", {})
    if not isinstance(hooks, dict) or not all(isinstance(entries, list) for entries in hooks.values()):
        raise ValueError("its hooks are no lists by event")
    kept = {event: [left for entry in entries for left in _left_of(entry)] for event, entries in hooks.items()}
    kept = {event: entries for event, entries in kept.items() if entries or not hooks[event]}
    rest = {name: value for name, value in settings.items() if name != "hooks"}
    return {**rest, "hooks": kept} if kept else rest


def _left_of(entry: Any) -> list[Any]:
    """An entry without our hooks; nothing where it had no others."""
    found = entry.get("hooks") if isinstance(entry, dict) else None
    if not isinstance(found, list) or not any(map(_ours, found)):
        return [entry]
    others = [hook for hook in found if not _ours(hook)]
    return [{**entry, "hooks": others}] if others else []


def _ours(hook: Any) -> bool:
    command = hook.get("command") if isinstance(hook, dict) else None
    return isinstance(command, str) and OURS in command


def _matcher(agent: HookedAgent, mode: str) -> str:
    """The edits of Claude Code, or everything else. Codex hands its patches to a shell too: all is asked about, and
    the client looks which calls are edits."""
    if agent is HookedAgent.CODEX:
        return "*"
    tools = "|".join(EDITS)
    return tools if mode == "edit" else f"^(?!({tools})$).*"


def _command(agent: HookedAgent, mode: str, python: str, directory: str) -> str:
    """A line for ``sh``. The client answers with 0; whatever else ends it refuses an edit, unless hooks are off."""
    start = f"import sys;sys.path.insert(0,{directory + '/client'!r});import {MARK};{MARK}.main(*sys.argv[1:])"
    line = f"{quote(python)} -I -S -E -c {quote(start)} {agent} {mode}"
    if mode != "edit":
        return f"{line} || true"
    off = f'[ -n "$(find {quote(directory + "/off")} -mmin -480 2>/dev/null)" ]'
    why = (
        "Airboss refuses this edit: its hook client ended without an answer. Run airboss hooks off to edit without."
    )
    return f"{line} || {{ {off} || {{ echo '{why}' >&2; exit 2; }}; }}"
