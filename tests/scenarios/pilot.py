"""One real agent in a house, against a scripted model."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fleet.figures import ToolCallCounter, ToolCalls
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, Reply, ScriptedModel, call
from tests.scenarios.house import Answer, House, house

Files = dict[str, str | bytes]
VENDOR_KEY = "sk-key-that-no-agent-holds"
HOLDS_A_KEY = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "LOOP_KEY")


@dataclass
class Pilot:
    """One real agent in the house. Scripts go by a word of the prompt, so that many flights share one model."""

    name: str
    house: House
    model: ScriptedModel

    def shell(self, command: str) -> Reply:
        """The model runs a command."""
        if self.name == "claude":
            return call("Bash", command=command, description="run it")
        return call("exec_command", cmd=command)

    def write(self, asking: Asking, name: str) -> Reply:
        """The model makes a file with its edit tool."""
        if self.name == "claude":
            work = re.search(r"(/[^\s\"\\]+/\.airboss/work/[A-Za-z0-9._-]+)", str(asking.body))
            assert work is not None
            return call("Write", file_path=f"{work[1]}/{name}", content="hello\n")
        patch = f"*** Begin Patch\n*** Add File: {name}\n+hello\n*** End Patch\n"
        return call("exec_command", cmd=f"apply_patch <<'EOF'\n{patch}EOF\n")

    @property
    def shell_tool(self) -> str:
        return {"claude": "Bash", "codex": "exec_command"}[self.name]

    def run(self, word: str, *script: Said, agent: str = "", verb: str = "run", wait: bool = True) -> Answer:
        """Scripts a conversation and asks for it."""
        self.model.script(script, when=word)
        return self.begin(word, agent=agent, verb=verb, wait=wait)

    def begin(self, word: str, *, agent: str = "", verb: str = "run", wait: bool = True) -> Answer:
        return self.house.say(f"/{verb} on=macbook agent={self.name}{agent} please see to {word}", wait=wait)

    def heard(self, word: str) -> list[Asking]:
        """The requests of a conversation."""
        return [asking for asking in self.model.asked if word in asking.heard]

    def tools(self, task: str) -> ToolCalls:
        """A task's tool calls, counted as the digest counts them."""
        counter = ToolCallCounter()
        counter.fold(self.house.of(task))
        return counter.total()

    def agrees_with_its_own_file(self, task: str, calls: int) -> None:
        """Waits until that many calls were found in the file in its session's layer; they ended there as here."""
        self.house.until(lambda: self.house.compared(task) == calls, "its own file is compared")
        assert self.house.of(task, "call.disputed", "call.unobserved") == []

    def outcomes(self, task: str) -> list[str]:
        """How each of a task's turns ended."""
        return [recorded.event.body()["outcome"] for recorded in self.house.of(task, "turn.closed")]

    def asked(self, task: str) -> dict[str, Any]:
        """Waits for a task's first question to a person."""
        waits = "task waits for a person"
        self.house.until(lambda: self.house.of(task, "permission.asked"), waits)
        return self.house.of(task, "permission.asked")[0].event.body()


@contextlib.contextmanager
def agents_and_models(files: Files | None = None) -> Iterator[tuple[House, dict[str, ScriptedModel]]]:
    """A house with both agents, each in several configurations, and the models that they ask. ``files``: more in
    its repository."""
    with AnthropicModel() as claude, ResponsesModel() as codex, house(files, walls=True) as made:
        models: dict[str, ScriptedModel] = {"claude": claude, "codex": codex}
        for name, model in models.items():
            put = agents.claude_home(model.url) if name == "claude" else agents.codex_home(model.url)
            home = made.directory / f"home-{name}"
            put.put(home)
            settings = {**put.env, "HOME": str(home)}
            plain = {"driver": name, "program": [agents.binary(name)], "settings": settings}
            if name == "claude":
                made.agents["acp"] = {**plain, "driver": "acp", "program": [agents.binary("claude-agent-acp")]}
            made.agents |= {
                name: {**plain, "deny_edits": ["locked.txt"]},
                f"{name}-asks": {**plain, "ask": ["shell"]},
                f"{name}-edits": {**plain, "ask": ["edit"]},
                f"{name}-bash": {**plain, "ask": ["Bash"]},
                f"{name}-proxied": {
                    **plain,
                    "settings": {key: value for key, value in settings.items() if key not in HOLDS_A_KEY},
                    "key": "VENDOR_KEY",
                    "api": model.url if name == "claude" else f"{model.url}/v1",
                    "egress": [],
                },
            }
        made.configure()
        with (made.home / "fleet.toml").open("a") as fleet:
            fleet.write("\n[limits]\noverloaded_retries = 0\n")
        (made.home / ".env").write_text(f"VENDOR_KEY={VENDOR_KEY}\n")
        (made.home / ".env").chmod(0o600)
        made.start()
        yield made, models
