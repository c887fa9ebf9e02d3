"""A person who starts an agent by hand in a working copy: a login's home with hooks, and the real agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.far_end.agents import AgentHome, binary
from tests.far_end.repositories import git


@dataclass(frozen=True)
class ByHand:
    """``home`` is the person's HOME, ``copy`` a clone of the repository, ``airboss_home`` the controller's."""

    agent: str
    home: Path
    copy: Path
    airboss_home: Path
    reads: AgentHome

    @classmethod
    def settle(cls, agent: str, directory: Path, bare: Path, airboss_home: Path, reads: AgentHome) -> ByHand:
        """Makes the login's home and the working copy."""
        home, copy = directory / "person", directory / "copy"
        reads.put(home)
        git(directory, "clone", "--quiet", str(bare), str(copy))
        return cls(agent, home, copy, airboss_home, reads)

    @property
    def env(self) -> dict[str, str]:
        """What the person's shell has."""
        return {**os.environ, **self.reads.env, "HOME": str(self.home)}

    def airboss(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the person's."""
        argv = [sys.executable, "-m", "bot.cli", "--home", str(self.airboss_home), *words]
        return subprocess.run(argv, cwd=self.copy, env=self.env, capture_output=True, text=True, check=False)

    def work(self, prompt: str, *, at: Path | None = None) -> str:
        """One session, until the agent ends; what it said."""
        words = {
            "claude": ["-p", "--permission-mode", "bypassPermissions", prompt],
            "codex": [
                *("exec", "--dangerously-bypass-hook-trust", "--dangerously-bypass-approvals-and-sandbox"),
                *("--skip-git-repo-check", "--json", prompt),
            ],
        }[self.agent]
        done = subprocess.run(
            [binary(self.agent), *words],
            cwd=at or self.copy, env=self.env, capture_output=True, text=True, check=False, timeout=90,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def hook(self, mode: str, event: dict[str, object]) -> subprocess.CompletedProcess[bytes]:
        """One run of the installed command, as the agent runs it."""
        settings = json.loads((self.home / ".claude/settings.json").read_text())
        name = "PreToolUse" if mode == "edit" else {"start": "SessionStart", "end": "SessionEnd"}[mode]
        command = settings["hooks"][name][0]["hooks"][0]["command"]
        data = json.dumps(event).encode()
        return subprocess.run(
            ["sh", "-c", command], cwd=self.copy, env=self.env, input=data, capture_output=True, check=False
        )

    def event(self, path: Path, session: str = "s1") -> dict[str, object]:
        """What Claude Code tells a hook before a Write."""
        return {
            "session_id": session, "cwd": str(self.copy), "tool_name": "Write", "hook_event_name": "PreToolUse",
            "tool_input": {"file_path": str(path), "content": ""}, "tool_use_id": "c1",
        }  # fmt: skip

    def refused(self, name: str) -> str:
        """Why this file of the copy may not be written, in the installed hook's words; empty: it may."""
        done = self.hook("edit", self.event(self.copy / name))
        return (done.stdout + done.stderr).decode()
