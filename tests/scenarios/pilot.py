"""One real agent in a house, against a scripted model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from fleet.figures import ToolCallCounter, ToolCalls
from tests.far_end.scripted_model import Answer as Said
from tests.far_end.scripted_model import Asking, Reply, ScriptedModel, call
from tests.scenarios.house import Answer, House


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

    def asked(self, task: str) -> dict[str, Any]:
        """Waits for a task's first question to a person."""
        waits = "task waits for a person"
        self.house.until(lambda: self.house.of(task, "permission.asked"), waits)
        return self.house.of(task, "permission.asked")[0].event.body()
