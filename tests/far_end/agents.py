"""Where the real agents are, and what they need to talk to a scripted model instead of a vendor."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[2]


PROGRAMS = {"acp": "claude-agent-acp"}
"""The programs of those agents that are called otherwise."""


def binary(name: str) -> str:
    """The absolute path of the agent ``claude`` or ``codex``. A missing one fails the test with the remedy."""
    given = os.environ.get("AIRBOSS_AGENTS_DIR")
    places = [given] if given else [str(_CHECKOUT / ".cache/agents/node_modules/.bin")]
    places.append(
        str(_CHECKOUT / ".cache/large-agents/node_modules/opencode-linux-x64/bin")
    )  # what only make torture installs
    found = next((hit for place in places if (hit := shutil.which(name, path=place))), None) or shutil.which(name)
    if found is None:
        pytest.fail(
            f"the agent {name} is not installed (looked in {', '.join(places)} and PATH): run `make agents`"
        )
    return found


@dataclass(frozen=True)
class AgentHome:
    """What an agent reads: ``env`` for its settings, ``files`` by their path under its HOME."""

    env: Mapping[str, str]
    files: Mapping[str, str]

    def put(self, home: Path) -> None:
        """Writes the files under ``home``, which is made if need be."""
        home.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def claude_home(url: str, key: str = "scripted") -> AgentHome:
    """Claude Code against the scripted model at ``url``."""
    env = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": key,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",
    }
    # As after a person's first start of it, and their yes to the key: its own interface asks for both.
    known = {"hasCompletedOnboarding": True, "customApiKeyResponses": {"approved": [key[-20:]], "rejected": []}}
    return AgentHome(env, {".claude.json": json.dumps(known)})


def opencode_home(url: str) -> AgentHome:
    """opencode against the scripted model at ``url``; it asks before it edits or runs a command."""
    scripted = {
        "npm": "@ai-sdk/anthropic",
        "options": {"baseURL": f"{url}/v1", "apiKey": "scripted"},
        "models": {"scripted": {"tool_call": True, "limit": {"context": 200_000, "output": 8_000}}},
    }
    config = {
        "autoupdate": False,
        "share": "disabled",
        "model": "scripted/scripted",
        "small_model": "scripted/scripted",
        "provider": {"scripted": scripted},
        "permission": {"edit": "ask", "bash": "ask"},
    }
    quiet = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    return AgentHome(quiet, {".config/opencode/opencode.json": json.dumps(config)})


def codex_home(url: str, key: str = "scripted") -> AgentHome:
    """Codex against the scripted model at ``url`` (its root, without ``/v1``)."""
    config = f"""model = "scripted"
model_provider = "loop"

[model_providers.loop]
name = "loop"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "LOOP_KEY"
request_max_retries = 0
stream_max_retries = 0
"""
    return AgentHome({"LOOP_KEY": key}, {".codex/config.toml": config})
