"""A real agent with a scripted model: its home, its workspace, and its own words for the tools of a script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet.exits import Exit, Exited, Signalled
from fleet.ports import Brief
from tests.contracts.agent_pump import AgentSession, Judge, allow
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.scripted_model import Reply, ScriptedModel, call

AGENTS = ("claude", "codex", "acp")
_ANTHROPIC = ("claude", "acp")
"""Those that ask a model of Anthropic's, by Claude Code's tools."""

CONVERSATION = "6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001"


@dataclass
class Stand:
    """One agent with its model, home and workspace, and its own words for the tools of a script."""

    name: str
    model: ScriptedModel
    home: Path
    workspace: Path
    env: dict[str, str]
    flags: tuple[str, ...] = ()

    def session(
        self, prompt: str, judge: Judge = allow, *, resume: str = "", read_only: bool = False
    ) -> AgentSession:
        program = (agents.binary(agents.PROGRAMS.get(self.name, self.name)), *self.flags)
        brief = Brief(CONVERSATION, prompt, str(self.workspace), program, resume=resume, read_only=read_only)
        return AgentSession(self.name, brief, self.env, judge)

    def shell(self, command: str) -> Reply:
        """The model runs a command."""
        if self.name in _ANTHROPIC:
            return call("Bash", command=command, description="run it")
        return call("exec_command", cmd=command)

    def write(self, name: str) -> Reply:
        """The model makes a file."""
        if self.name in _ANTHROPIC:
            return call("Write", file_path=str(self.workspace / name), content="hello\n")
        patch = f"*** Begin Patch\n*** Add File: {name}\n+hello\n*** End Patch\n"
        return call("exec_command", cmd=f"apply_patch <<'EOF'\n{patch}EOF\n")

    @property
    def shell_tool(self) -> str:
        return {"claude": "Bash", "codex": "exec_command", "acp": "execute"}[self.name]

    @property
    def edit_tool(self) -> str:
        return {"claude": "Write", "codex": "apply_patch", "acp": "edit"}[self.name]

    @property
    def good_end(self) -> Exit:
        """How its process ends that has nothing more to do."""
        return Signalled("SIG15") if self.name == "acp" else Exited(0)

    def path(self, name: str) -> str:
        return str(self.workspace / name)

    def in_background(self, command: str) -> Reply:
        """The model runs a command that outlives its call."""
        if self.name in _ANTHROPIC:
            return call("Bash", command=command, description="run it", run_in_background=True)
        return call("exec_command", cmd=command, yield_time_ms=250)


@contextmanager
def stand_of(name: str, directory: Path) -> Iterator[Stand]:
    home, workspace = directory / "home", (directory / "work").resolve()
    workspace.mkdir()
    model: ScriptedModel = AnthropicModel() if name in _ANTHROPIC else ResponsesModel()
    with model:
        put = agents.claude_home(model.url) if name in _ANTHROPIC else agents.codex_home(model.url)
        put.put(home)
        yield Stand(name, model, home, workspace, {"HOME": str(home), "PATH": os.environ["PATH"], **put.env})
