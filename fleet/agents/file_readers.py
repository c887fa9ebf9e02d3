"""The agents whose own session files can be read: where those lie, and how each is read."""

from __future__ import annotations

from typing import Final

from fleet.agents.claude_files import ClaudeFile
from fleet.agents.codex_files import CodexFile
from fleet.imports import ImportedAgent

READERS: Final[dict[ImportedAgent, type[ClaudeFile] | type[CodexFile]]] = {
    ImportedAgent.CLAUDE: ClaudeFile,
    ImportedAgent.CODEX: CodexFile,
}
PLACES: Final = {ImportedAgent.CLAUDE: ("projects",), ImportedAgent.CODEX: ("sessions", "archived_sessions")}
"""Folders of the agent's settings."""
