"""How a turn ended, from the lines of the real agents (claude 2.1.197, codex 0.169.0), cut to what matters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.agent_events import TurnEnded, TurnOutcome
from fleet.agents.refusals import by_words
from fleet.agents.registry import driver
from fleet.exits import Exited, Signalled
from fleet.ports import Brief
from tests.unit import agent_lines as lines

BRIEF = Brief("6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001", "do it", "/w", ("agent",))


def claude(*messages: lines.Message) -> TurnEnded:
    return _only_end("claude", lines.CONFIRMED, lines.INIT, *messages)


def codex(*messages: lines.Message) -> TurnEnded:
    thread, turn = lines.answered(2, thread={"id": "t1"}, model="m"), lines.answered(3, turn={"id": "u1"})
    return _only_end("codex", lines.answered(1), thread, turn, *messages)


def _only_end(name: str, *messages: lines.Message) -> TurnEnded:
    agent = driver(name)
    step, ends = agent.open(BRIEF), []
    for message in messages:
        step = agent.feed(json.loads(json.dumps(step.state)), lines.line(message))
        ends += [item for item in step.happened if isinstance(item, TurnEnded)]
    (ended,) = ends
    return ended


def synthetic(words: str, error: str) -> lines.Message:
    """What Claude Code writes in the model's place."""
    return {**lines.assistant(lines.text(words)), "error": error}


def bad(words: str, status: int | None = None, **more: Any) -> lines.Message:
    return {
        **lines.result(words, is_error=True),
        "api_error_status": status,
        "terminal_reason": "completed",
        **more,
    }


SERVER = "This is a server-side issue, usually temporary"
CLAUDE = {
    "overloaded": (f"API Error: 529 Overloaded. {SERVER}", 529, "server_error", TurnOutcome.OVERLOADED),
    "internal": (f"API Error: 500 Internal server error. {SERVER}", 500, "server_error", TurnOutcome.OVERLOADED),
    "limit": (
        "API Error: Request rejected (429) · You've hit your session limit · resets 5:10pm (Europe/Paris)",
        429,
        "rate_limit",
        TurnOutcome.LIMITED,
    ),
    "credit": ("Credit balance is too low", 400, "billing_error", TurnOutcome.LIMITED),
    "expired": (
        "Failed to authenticate. API Error: 401 OAuth token has expired. Please run /login",
        401,
        "authentication_failed",
        TurnOutcome.NOT_LOGGED_IN,
    ),
    "no login": ("Not logged in · Please run /login", None, "authentication_failed", TurnOutcome.NOT_LOGGED_IN),
    "no link": (
        "API Error: Unable to connect to API (ConnectionRefused)",
        None,
        "server_error",
        TurnOutcome.OVERLOADED,
    ),
    "a train's own page": (
        "API Error: API returned an empty or malformed response (HTTP 200) — check for a proxy",
        None,
        "server_error",
        TurnOutcome.OVERLOADED,
    ),
    "timed out": ("API Error: 408 Request timed out", 408, "server_error", TurnOutcome.OVERLOADED),
    "too large": ("Request too large (max 32MB). Try with a smaller file.", 413, "", TurnOutcome.CONTEXT_FULL),
    "unpaid": (
        "Failed to authenticate. API Error: 403 Your organization's billing is past due",
        403,
        "authentication_failed",
        TurnOutcome.LIMITED,
    ),
    "refused": ("API Error: 400 tools: field required", 400, "invalid_request", TurnOutcome.FAILED),
}


@pytest.mark.parametrize("what", CLAUDE)
def test_what_claude_says_of_an_error(what: str) -> None:
    words, status, kind, outcome = CLAUDE[what]
    ended = claude(synthetic(words, kind), bad(words, status))
    assert (ended.outcome, ended.error) == (outcome, words)


@pytest.mark.parametrize("reason", ["prompt_too_long", "blocking_limit"])
def test_a_full_context_of_claude(reason: str) -> None:
    ended = claude(bad("Prompt is too long · 210000 tokens", 400, terminal_reason=reason))
    assert ended.outcome is TurnOutcome.CONTEXT_FULL


def test_claude_says_that_a_conversation_is_gone_before_it_takes_up_the_prompt() -> None:
    words = "No conversation found with session ID: 11111111"
    gone = {
        "type": "result",
        "subtype": "error_during_execution",
        "is_error": True,
        "num_turns": 0,
        "errors": [words],
    }
    for before in ((), (lines.CONFIRMED,)):
        ended = _only_end("claude", *before, gone)
        assert (ended.outcome, ended.error) == (TurnOutcome.CONVERSATION_LOST, words)


def test_an_error_in_the_models_place_counts_though_the_result_does_not_call_it_one() -> None:
    ended = claude(
        synthetic("You've hit your weekly limit", "rate_limit"), lines.result("You've hit your weekly limit")
    )
    assert ended.outcome is TurnOutcome.LIMITED


def test_an_error_that_the_agent_got_over_is_none() -> None:
    ended = claude(
        synthetic("too many tokens", "max_output_tokens"), lines.assistant(lines.text("done")), lines.result()
    )
    assert ended == TurnEnded("done", TurnOutcome.COMPLETED)


def test_a_subagents_error_is_not_the_turns() -> None:
    inner = {**lines.assistant(lines.text("no"), parent="c1"), "error": "rate_limit"}
    assert claude(inner, lines.result()).completed


CODEX: dict[str, tuple[str, Any, TurnOutcome]] = {
    "overloaded": (
        "unexpected status 529 <unknown status code>: x",
        {"httpConnectionFailed": {"httpStatusCode": 529}},
        TurnOutcome.OVERLOADED,
    ),
    "internal": ("We’re currently experiencing high demand", "internalServerError", TurnOutcome.OVERLOADED),
    "busy": ("Selected model is at capacity", "serverOverloaded", TurnOutcome.OVERLOADED),
    "retries": (
        "exceeded retry limit, last status: 429 Too Many Requests",
        {"responseTooManyFailedAttempts": {"httpStatusCode": 429}},
        TurnOutcome.LIMITED,
    ),
    "usage": ("You've hit your usage limit. Try again at 5:10 PM.", "usageLimitExceeded", TurnOutcome.LIMITED),
    "login": (
        "unexpected status 401 Unauthorized: x",
        {"httpConnectionFailed": {"httpStatusCode": 401}},
        TurnOutcome.NOT_LOGGED_IN,
    ),
    "token": ("Your access token could not be refreshed", "unauthorized", TurnOutcome.NOT_LOGGED_IN),
    "context": ("Codex ran out of room", "contextWindowExceeded", TurnOutcome.CONTEXT_FULL),
    "stream": (
        "stream disconnected before completion",
        {"responseStreamDisconnected": {"httpStatusCode": None}},
        TurnOutcome.OVERLOADED,
    ),
    "filtered": (
        "stream disconnected before completion: Incomplete response returned, reason: content_filter",
        {"responseStreamDisconnected": {"httpStatusCode": None}},
        TurnOutcome.FAILED,
    ),
    "too large": (
        "unexpected status 413 Payload Too Large: x",
        {"httpConnectionFailed": {"httpStatusCode": 413}},
        TurnOutcome.CONTEXT_FULL,
    ),
    "other": ("Missing environment variable: `LOOP_KEY`.", "other", TurnOutcome.FAILED),
    "new": ("something that nobody knows yet", {"newKind": {}}, TurnOutcome.FAILED),
}


@pytest.mark.parametrize("what", CODEX)
def test_what_codex_says_of_an_error(what: str) -> None:
    words, info, outcome = CODEX[what]
    error = {"message": words, "codexErrorInfo": info, "additionalDetails": None}
    over = lines.notice("turn/completed", turn={"id": "u1", "status": "failed", "error": error})
    ended = codex(lines.notice("error", error=error, willRetry=False), over)
    assert (ended.outcome, ended.error) == (outcome, words)


def test_codex_unwraps_the_words_of_the_vendor() -> None:
    words = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "no such model"}})
    ended = codex(lines.turn_over("failed", words=words))
    assert (ended.outcome, ended.error) == (TurnOutcome.FAILED, "no such model")


def test_an_error_that_codex_tries_again_ends_no_turn() -> None:
    again = lines.notice("error", error={"message": "Reconnecting… 1/5"}, willRetry=True)
    assert codex(again, lines.turn_over()).completed


def test_a_thread_that_codex_does_not_have_is_lost() -> None:
    agent = driver("codex")
    step = agent.open(Brief("u", "go on", "/w", ("codex",), resume="t1"))
    step = agent.feed(step.state, lines.line(lines.refused(2, "no rollout found for thread id t1")))
    assert [item.outcome for item in step.happened if isinstance(item, TurnEnded)] == [
        TurnOutcome.CONVERSATION_LOST
    ]


@pytest.mark.parametrize(
    ("exit_", "outcome"),
    [
        (Exited(0), TurnOutcome.COMPLETED),
        (Exited(1), TurnOutcome.FAILED),
        (Exited(137), TurnOutcome.FAILED),
        (Signalled("SIGKILL"), TurnOutcome.FAILED),
    ],
)
def test_a_programs_exit_is_its_outcome(exit_: Exited | Signalled, outcome: TurnOutcome) -> None:
    agent = driver("command")
    step = agent.ended(agent.feed(agent.open(BRIEF).state, b"half").state, exit_)
    error = "" if outcome is TurnOutcome.COMPLETED else f"the program ended: {exit_}"
    assert step.happened == (TurnEnded("half", outcome, error, exit_),)


@pytest.mark.parametrize("name", ["claude", "codex"])
def test_a_process_that_is_killed_within_a_turn_failed_by_that_signal(name: str) -> None:
    agent = driver(name)
    (ended,) = agent.ended(agent.open(BRIEF).state, Signalled("SIGKILL")).happened
    error = "the agent ended before its turn did: killed by SIGKILL"
    assert ended == TurnEnded("", TurnOutcome.FAILED, error, Signalled("SIGKILL"))


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("Claude AI usage limit reached|1764370800", TurnOutcome.LIMITED),
        ("You're out of extra usage · resets 3pm", TurnOutcome.LIMITED),
        ("API Error: 401 Invalid API key · Please run /login", TurnOutcome.NOT_LOGGED_IN),
        ("Invalid API key · Fix external API key", TurnOutcome.NOT_LOGGED_IN),
        ("OAuth token revoked · Please run /login", TurnOutcome.NOT_LOGGED_IN),
        ("input exceeds the context window of this model", TurnOutcome.CONTEXT_FULL),
        ("the test for the login page failed", None),
        ("execution error", None),
        ("You have hit your weekly Opus limit", TurnOutcome.LIMITED),
        ("hit your " * 100_000, None),  # an agent writes these words: they are read at once
    ],
)
def test_words_where_there_is_nothing_better(words: str, outcome: TurnOutcome | None) -> None:
    assert by_words(words) is outcome
