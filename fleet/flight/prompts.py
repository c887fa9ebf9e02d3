"""The controller's own texts for commits and agents. Nothing here is for a chat."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from fleet import questions
from fleet.agent_events import TurnOutcome
from fleet.git.taking import CONFLICT
from fleet.git.workspace import Snapshot
from fleet.model import AIRBOSS, Session, Task, Turn
from fleet.store.approvals import Answer, Approval, ApprovalDecision
from fleet.verdict import Verdict

_REQUEST_CHARACTERS: Final = 4_000
_ANSWERED: Final = {
    ApprovalDecision.ALLOW: "{0}: allowed, once. Make exactly this call again: {1}",
    ApprovalDecision.ANSWER: "{0}: {1}\nThe answer: {2}",
    ApprovalDecision.DENY: "{0}: denied. {2}\nIt was: {1}",
}

_FIX: Final = "Fix it in this worktree. The gates run again when you end your turn."

SESSION_TRAILER: Final = "Airboss-Session"

_STALLS: Final[dict[TurnOutcome | None, str]] = {
    TurnOutcome.FAILED: "the agent failed",
    TurnOutcome.LIMITED: "the agent's usage limit is reached",
    TurnOutcome.NOT_LOGGED_IN: "the agent is not logged in",
    TurnOutcome.OVERLOADED: "the model did not answer",
    TurnOutcome.CONVERSATION_LOST: "the conversation is lost",
    TurnOutcome.CONTEXT_FULL: "the context is full",
    TurnOutcome.HALTED: "halted",
}


def commit_message(task: Task, session: Session, turn: Turn, instance: str) -> str:
    """Subject from the prompt's first line, the prompt, and trailers that lead back to the ledger."""
    first = " ".join(task.prompt.split("\n", 1)[0].split()) or "(no prompt)"
    subject = textwrap.shorten(first, 72, placeholder="…")
    body = textwrap.fill(task.prompt, 100, replace_whitespace=False) if task.prompt.strip() != subject else ""
    trailers = (
        f"Airboss-Task: {task.id}",
        f"Airboss-Turn: {turn.id}",
        f"{SESSION_TRAILER}: {session.outside(instance)}",
        f"Airboss-Agent: {task.agent} on {session.machine}",
        f"Airboss-Requester: {task.requester}",
    )
    return "\n\n".join(part for part in (subject, body, "\n".join(trailers)) if part) + "\n"


def rework(verdict: Verdict) -> str:
    """What the agent reads when its change failed: the gate, the exit status, the lines that matter."""
    red = [result for result in verdict.gates if result.outcome.red]
    if not red:
        return "\n\n".join(("Your change cannot be judged as it is.", *verdict.reasons, _FIX))
    parts = ["The gate did not accept your change. It ran in a fresh checkout that you cannot access."]
    for result in red:
        ran = f" ran `{' '.join(result.argv)}`" if result.argv else ""
        parts.append(f"Gate {result.gate!r}{ran}: {result.reason}.\n\n{result.tail}")
    return "\n\n".join((*parts, _FIX))


def locked(why: str) -> str:
    """What the agent reads when it changed what it may not: another task's path, or one that was not declared."""
    return (
        f"Your change was not taken: {why}. Undo your change to that path (git checkout -- PATH) in this same "
        "worktree, keep the rest, and end your turn."
    )


def background(work: Sequence[str]) -> str:
    """What the agent reads when it is done but its background commands are not."""
    listed = "\n".join(f"- {words}" for words in work)
    return (
        f"You ended your turn, and these background commands still run:\n{listed}\n"
        "If you need a result, wait for it. Stop everything else, servers too: your work is taken once nothing "
        "runs any more. Then end your turn."
    )


def untakeable(why: str) -> str:
    """What the agent reads when its worktree cannot be taken as it is."""
    if why.endswith(CONFLICT):
        return (
            f"Your work could not be taken from this worktree: {why}. Finish your merge, rebase or stash pop: edit "
            "each file in conflict so that it is right, remove all markers, git add it, and end your turn."
        )
    return (
        f"Your work could not be taken from this worktree: {why}. Only regular files and links that stay inside "
        "the tree are taken. Delete what is in the way, move it out of the worktree (to $HOME or /tmp), or "
        "name it in .gitignore. Keep the rest of your work as it is, and end your turn."
    )


_SUBMODULES: Final = "Your work touches submodules, which are other repositories:"


def submodules(told: Sequence[str]) -> str:
    """What the agent reads once when it did something to submodules."""
    lines = "\n".join(f"- {each}" for each in told)
    return (
        f"{_SUBMODULES}\n{lines}\n"
        "Only this repository's own files land. What is changed inside a submodule's directory does not; and where "
        "your change records another commit, adds or removes a submodule, or edits .gitmodules, a person has to "
        "release it. If you did not mean that, undo it. If the task needs it, leave it and say so. Keep the rest "
        "of your work as it is, and end your turn."
    )


def is_about_submodules(prompt: str) -> bool:
    """Whether these are such words."""
    return _SUBMODULES in prompt


_ELSEWHERE: Final = "The files in this worktree are those of the base: your turn changed nothing."


def elsewhere(places: Sequence[str]) -> str:
    """What the agent reads once when only commits that its worktree does not show have its work."""
    return (
        f"{_ELSEWHERE} Other content is in your repository: {', '.join(places)}. Only what is in this worktree's "
        "files lands, not what is stashed or on another branch. If that is the work, put it into the files here "
        "(git stash pop, git checkout BRANCH, or git cherry-pick). If the task needs no change, say so. Then end "
        "your turn."
    )


def is_about_elsewhere(prompt: str) -> bool:
    """Whether these are such words."""
    return _ELSEWHERE in prompt


def with_first_prompt(prompt: str, text: str) -> str:
    """A later turn's text for an agent that remembers nothing of the first."""
    return f"{prompt}\n\n---\n{text}"


def for_new_conversation(prompt: str, turns: Sequence[Turn], text: str) -> str:
    """A later turn's text for an agent whose conversation is lost, or too long to continue."""
    said = [f"- {textwrap.shorten(turn.claim, 500, placeholder='…')}" for turn in turns if turn.claim]
    before = "An earlier conversation about this task cannot be continued. Its changes are in this worktree."
    told = "\n".join([before, *(["The agent's message at the end of each turn:", *said] if said else [])])
    return f"{prompt}\n\n---\n{told}\n\n{text}"


def with_work(text: str, patch: str, *, cut: bool) -> str:
    """A turn's text for a new conversation, with the work so far as a patch."""
    more = "\n… (git diff in the worktree shows the rest)" if cut else ""
    return f"{text}\n\nThe work so far, as a patch:\n\n{patch}{more}"


def go_on(why: str) -> str:
    """What the agent reads when a person continues a turn that stopped early."""
    return (
        f"Your last turn stopped before it was done ({why}). Your work so far is still here. "
        "Continue from there until the task is done."
    )


def after_hand() -> str:
    """What the agent reads when a person has worked in its conversation and its worktree."""
    return (
        "A person has taken over for a while: they worked in this worktree, and perhaps in this conversation. "
        "Keep what they did. Continue from there until the task is done."
    )


def answered(answers: Sequence[Approval]) -> str:
    """What the agent reads when a person answers what it asked before its process ended."""
    told = [_ANSWERED[asked.decision].format(asked.tool, _exactly(asked), asked.decided_why) for asked in answers]
    return "\n\n".join(
        [
            "You asked a person, and your process was ended while you waited: what you asked for has not run.",
            *told,
            "If you still need something else that you asked for, ask again. Continue until the task is done.",
        ]
    )


def _exactly(asked: Approval) -> str:
    if asked.questions:
        return " / ".join(question.text for question in questions.from_json(asked.questions))
    short = len(asked.request) <= _REQUEST_CHARACTERS
    return asked.request if short else "(as in your last message; it is too long to repeat here)"


def stalled(turn: Turn) -> str:
    """Why a turn's work is not judged: how it ended, in the vendor's words, with the exit."""
    how = _STALLS.get(turn.outcome, "the turn stopped early")
    words = textwrap.shorten(turn.error, 300, placeholder="…")
    exit_ = f" ({turn.exit})" if turn.exit and turn.exit not in words else ""
    return (f"{how}: {words}" if words else how) + exit_


def denied(decision: Answer) -> str:
    """Why a held change was not released."""
    if decision.by == AIRBOSS:
        return "nobody released it in time; the work is kept"
    return f"{decision.by} denied it" + (f": {decision.reason}" if decision.reason else "")


def nothing_changed(turn: Turn, snapshot: Snapshot) -> str:
    """Why a turn that changed no file is not a success."""
    said = textwrap.shorten(turn.claim, 120, placeholder="…") if turn.claim else "nothing"
    more = f"; left out: {', '.join(snapshot.left_out)}" if snapshot.left_out else ""
    if snapshot.elsewhere:
        more += f"; its repository has other content, which is kept: {', '.join(snapshot.elsewhere)}"
    return f"the agent finished without changing a file (it said: {said}){more}"
