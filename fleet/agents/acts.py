"""Which kind of act each agent's tools are, and the words by which a rule names them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fleet.agent_events import Act

CLAUDE: Final[Mapping[str, Act]] = {
    **dict.fromkeys(("Bash", "Monitor", "PowerShell"), Act.SHELL),
    **dict.fromkeys(("Edit", "MultiEdit", "NotebookEdit", "Write"), Act.EDIT),
    **dict.fromkeys(("Glob", "Grep", "LS", "LSP", "NotebookRead", "Read"), Act.READ),
    **dict.fromkeys(("WebFetch", "WebSearch"), Act.NETWORK),
    **dict.fromkeys(("ListMcpResourcesTool", "ReadMcpResourceTool"), Act.MCP),
    **dict.fromkeys(
        ("Agent", "BashOutput", "EnterPlanMode", "EnterWorktree", "ExitPlanMode", "ExitWorktree", "KillShell"),
        Act.OTHER,
    ),
    **dict.fromkeys(
        ("SendMessage", "Skill", "SlashCommand", "Task", "TaskOutput", "TaskStop", "TodoWrite"), Act.OTHER
    ),
}

_CODEX: Final[Mapping[str, Act]] = {
    "exec_command": Act.SHELL,
    "apply_patch": Act.EDIT,
    "mcp_elicitation": Act.MCP,
    "request_permissions": Act.OTHER,
}

#: Kinds of tools that the Agent Client Protocol names; those that are called like a kind of act mean that.
_ACP: Final[Mapping[str, Act]] = {
    "execute": Act.SHELL,
    "delete": Act.EDIT,
    "move": Act.EDIT,
    "search": Act.READ,
    "fetch": Act.NETWORK,
    "think": Act.OTHER,
    "switch_mode": Act.OTHER,
}

#: The tools that each driver knows by name.
TOOLS: Final[Mapping[str, Mapping[str, Act]]] = {"claude": CLAUDE, "codex": _CODEX, "acp": _ACP, "command": {}}

#: The kinds of acts that each driver can ask about; a rule for another kind has no effect there.
ASKED: Final[Mapping[str, frozenset[Act]]] = {
    "claude": frozenset(Act),
    "codex": frozenset({Act.SHELL, Act.EDIT, Act.MCP, Act.NETWORK, Act.OTHER}),
    "acp": frozenset(Act),
    "command": frozenset(),
}

_MCP: Final = "mcp__"
"""Claude Code's tools of MCP servers are called ``mcp__SERVER__TOOL``."""


def act_of(driver: str, tool: str) -> Act:
    """The kind of act that a driver's tool is."""
    return TOOLS[driver].get(tool, Act.MCP if tool.startswith(_MCP) else Act.OTHER)


def meaning(word: str, drivers: Iterable[str]) -> Act | None:
    """The kind of act that a rule's word means, as a kind or as a tool of one of the drivers; ``None``: unknown."""
    if word in set(Act):
        return Act(word)
    named = "claude" in drivers and word.startswith(_MCP) and word != _MCP
    return Act.MCP if named else next((TOOLS[each][word] for each in drivers if word in TOOLS[each]), None)


@dataclass(frozen=True, slots=True)
class AskRules:
    """What needs a person's yes: kinds of acts, and single tools of one driver."""

    acts: frozenset[Act] = frozenset()
    tools: frozenset[str] = frozenset()

    def cover(self, act: Act, tool: str) -> bool:
        """Whether this tool, of this kind, needs a yes."""
        return act in self.acts or tool in self.tools


def ask_rules(driver: str, words: Iterable[str]) -> AskRules:
    """The rules that ``words`` are for an agent of this driver.

    A tool of the driver's own means that tool. A tool of another driver means its kind of act: ``Bash`` asks about
    Codex's commands too.
    """
    acts, tools = set[Act](), set[str]()
    for word in words:
        if word in TOOLS[driver] or (driver == "claude" and word.startswith(_MCP)):
            tools.add(word)
        elif (act := meaning(word, TOOLS)) is not None:
            acts.add(act)
    return AskRules(frozenset(acts), frozenset(tools))
