"""The words the controller itself writes: into commits, and to agents. Nothing here is for a chat."""

from __future__ import annotations

import textwrap

from fleet.model import Session, Task, Turn
from fleet.verdict import GateOutcome, Verdict


def commit_message(task: Task, session: Session, turn: Turn) -> str:
    """Subject from the prompt's first line, the prompt, and trailers that lead back to the ledger."""
    first = " ".join(task.prompt.split("\n", 1)[0].split()) or "(no prompt)"
    subject = textwrap.shorten(first, 72, placeholder="…")
    body = textwrap.fill(task.prompt, 100, replace_whitespace=False) if task.prompt.strip() != subject else ""
    trailers = (
        f"Airboss-Task: {task.id}",
        f"Airboss-Turn: {turn.id}",
        f"Airboss-Agent: {task.agent} on {session.machine}",
        f"Airboss-Requester: {task.requester}",
    )
    return "\n\n".join(part for part in (subject, body, "\n".join(trailers)) if part) + "\n"


def rework(verdict: Verdict) -> str:
    """What the agent reads when its change was refused: the gate, the real exit status, the lines that matter."""
    parts = ["The gate did not accept your change. It ran in a fresh checkout that you cannot reach."]
    for result in verdict.gates:
        if result.outcome is not GateOutcome.FAILED:
            continue
        command = " ".join(result.argv)
        parts.append(f"Gate {result.gate!r} ran `{command}`: {result.reason}.\n\n{result.tail}")
    parts.append("Mend it in this same worktree. It is judged again when you end your turn.")
    return "\n\n".join(parts)


def from_the_start(prompt: str, text: str) -> str:
    """A further turn's words for an agent that remembers nothing of the first."""
    return f"{prompt}\n\n---\n{text}"


def nothing_changed(turn: Turn) -> str:
    """Why a turn that changed no file is no success."""
    said = textwrap.shorten(turn.claim, 120, placeholder="…") if turn.claim else "nothing"
    return f"the agent handed over no change (it said: {said})"
