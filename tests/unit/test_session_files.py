"""What the readers find in the agents' own session files. Shapes are those that the real agents wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from fleet.agents.claude_files import ClaudeFile
from fleet.agents.codex_files import CodexFile
from fleet.agents.lines import NOT_UNDERSTOOD, count
from fleet.agents.session_files import OPEN_LIMIT
from fleet.events import SessionImported, ToolCallEnded, ToolCallEndedV2, ToolCallStarted, UsageReported
from fleet.imports import Fact, SessionFile, micros, plain
from tests.session_files import ClaudeSession, codex_line

AT = datetime(2026, 11, 3, 23, 59, 59, tzinfo=UTC)
DENIED = [
    "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, …",
    "The user doesn't want to take this action right now. STOP what you are doing and wait",
    "Claude requested permissions to write to /etc/passwd, but you haven't granted it yet.",
    "Permission to use Bash with command rm -rf / has been denied.",
    "Permission for this action was denied by the Claude Code auto mode classifier. Reason: …",
    "Permission for this tool use was denied. The tool use was rejected (eg. if it was a file edit, …",
    "Hook PreToolUse:Bash denied this tool",
    "<tool_use_error>File is in a directory that is denied by your permission settings.</tool_use_error>",
]


def facts_of(reader: SessionFile, lines: Iterable[str]) -> list[Fact]:
    found = [fact for line in lines for fact in reader.feed(line.encode())]
    return found + reader.close()


def outcomes(facts: list[Fact]) -> list[tuple[str, str, int | None]]:
    return [
        (fact.event.call, fact.event.outcome, fact.event.exit_code)
        for fact in facts
        if isinstance(fact.event, ToolCallEnded)
    ]


def used(facts: list[Fact]) -> list[UsageReported]:
    return [fact.event for fact in facts if isinstance(fact.event, UsageReported)]


def sizes(facts: list[Fact]) -> list[int | None]:
    return [fact.event.size for fact in facts if isinstance(fact.event, ToolCallEndedV2)]


def claude(session: ClaudeSession) -> list[Fact]:
    return facts_of(ClaudeFile("name"), session.text().splitlines())


def test_a_claude_file_gives_its_calls_with_their_own_times() -> None:
    session = ClaudeSession("s1", AT)
    session.call(1)
    session.call(2, failed="Exit code 3\nbroken")
    session.call(3, failed="locked.txt is held by t7")
    session.call(4, end=False)
    found = claude(session)
    assert outcomes(found) == [("toolu_1", "ok", None), ("toolu_2", "failed", 3), ("toolu_3", "failed", None)]
    assert found[0].event == SessionImported("claude")
    started = [fact for fact in found if isinstance(fact.event, ToolCallStarted)]
    assert [fact.event.call for fact in started if isinstance(fact.event, ToolCallStarted)][-1] == "toolu_4"
    assert started[0].time_us == micros("2026-11-03T23:59:59.250Z")
    assert {fact.conversation for fact in found} == {"s1"}
    for start in started[:3]:  # each end is the neighbour of its start
        after = found[found.index(start) + 1].event
        assert isinstance(after, ToolCallEnded)
        assert isinstance(start.event, ToolCallStarted)
        assert after.call == start.event.call


def test_a_call_has_the_bytes_of_its_output() -> None:
    session = ClaudeSession("s1", AT)
    session.call(1)
    session.call(2, failed="Exit code 3\n€")
    session.call(3, end=False)
    thread = codex(
        item("function_call", name="exec_command", call_id="c1", arguments="{}"),
        item("function_call_output", call_id="c1", output="Process exited with code 0\nOutput:\n€"),
        item("custom_tool_call", name="apply_patch", call_id="c2", input="x"),
        item("custom_tool_call_output", call_id="c2", output={"content": "12345", "success": True}),
        item("web_search_call", id="w1", status="completed"),
    )
    assert sizes(claude(session)) == [2, 15] and sizes(thread) == [38, 5, None]


@pytest.mark.parametrize("words", DENIED)
def test_the_agents_own_words_for_a_refused_permission_are_denied(words: str) -> None:
    session = ClaudeSession("s1", AT)
    session.call(1, failed=words)
    assert outcomes(claude(session)) == [("toolu_1", "denied", None)]


def test_a_call_that_a_person_interrupted_has_no_end() -> None:
    session = ClaudeSession("s1", AT)
    session.call(1, failed="[Request interrupted by user for tool use]")
    assert outcomes(claude(session)) == []
    for words in ("aborted by user after 3.2s", "Wall time: 3.2 seconds\naborted by user", "aborted by user"):
        start = item("function_call", name="exec_command", call_id="c1")
        found = codex(start, item("function_call_output", call_id="c1", output=words))
        assert [type(fact.event) for fact in found] == [SessionImported, ToolCallStarted]
    said = item("function_call_output", call_id="c1", output="aborted by user, says the log\nProcess failed")
    assert outcomes(codex(item("function_call", name="exec_command", call_id="c1"), said)) == [("c1", "ok", None)]


def test_a_malformed_line_leaves_no_half_of_itself() -> None:
    """A session whose first line is malformed begins with the next one."""
    session = ClaudeSession("s1", AT)
    session.call(1)
    torn = json.loads(session.text().splitlines()[0])
    torn["message"]["content"].append({"type": "tool_use", "id": 3, "name": "Bash"})
    reader = ClaudeFile("name")
    with pytest.raises(NOT_UNDERSTOOD):
        reader.feed(json.dumps(torn).encode())
    assert facts_of(reader, session.text().splitlines()) == claude(session)
    strange = CodexFile("name")
    with pytest.raises(NOT_UNDERSTOOD):
        strange.feed(item("function_call", name=3, call_id="c1").encode())
    assert [type(fact.event) for fact in facts_of(strange, [item("message")])] == [SessionImported]


def test_the_lines_of_one_answer_count_their_usage_once() -> None:
    session = ClaudeSession("s1", AT)
    usage = {"input_tokens": 5, "cache_creation_input_tokens": 7, "output_tokens": 1}
    for tokens in (1, 40):  # the last line of an answer has the whole usage
        message = {"id": "msg_1", "role": "assistant", "content": [], "usage": {**usage, "output_tokens": tokens}}
        session.line("assistant", message)
    session.line("assistant", {"id": "msg_2", "role": "assistant", "content": [], "usage": usage}, costUSD=0.25)
    assert used(claude(session)) == [UsageReported(12, 40, 0), UsageReported(12, 1, 250_000)]
    early = facts_of(ClaudeFile("name"), session.text().splitlines()[:1])  # the file was read while it was written
    assert early[-1].key in {fact.key for fact in claude(session)}


def test_nothing_of_the_contents_is_kept() -> None:
    session = ClaudeSession("s1", AT)
    session.call(1, failed="Exit code 1\nhunter2-secret")
    session.line("user", {"role": "user", "content": "hunter2-secret"})
    assert "hunter2" not in json.dumps([fact.to_json() for fact in claude(session)])
    assert "echo hello" not in json.dumps([fact.to_json() for fact in claude(session)])


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        '{"type":"user"',
        "[]",
        '{"type":"user","message":[],"timestamp":"2026-11-03T00:00:00Z","sessionId":"s"}',
        '{"type":"user","message":{"content":[{"type":"tool_result"}]},"timestamp":"2026-11-03T00:00:00Z"}',
        '{"type":"assistant","message":{"content":[3]},"timestamp":"2026-11-03T00:00:00Z","sessionId":"s"}',
        '{"type":"user","message":{"content":"x"},"timestamp":"yesterday","sessionId":"s"}',
        '{"type":"user","message":{"content":"x"},"sessionId":"s"}',
        "[" * 100_000,
    ],
)
def test_a_malformed_line_is_said_to_be_malformed(line: str) -> None:
    with pytest.raises(NOT_UNDERSTOOD):
        ClaudeFile("name").feed(line.encode())


def test_other_lines_of_claude_say_nothing() -> None:
    for line in ('{"type":"summary","summary":"x"}', '{"type":"queue-operation"}', "{}"):
        assert ClaudeFile("name").feed(line.encode()) == []


def test_open_calls_do_not_pile_up() -> None:
    reader = ClaudeFile("name")
    session = ClaudeSession("s1", AT)
    for number in range(OPEN_LIMIT + 5):
        session.call(number, end=False)
    found = [fact for line in session.text().splitlines() for fact in reader.feed(line.encode())]
    assert len([fact for fact in found if isinstance(fact.event, ToolCallStarted)]) == 5


def item(kind: str, **more: object) -> str:
    return codex_line("response_item", AT, type=kind, **more)


def event(kind: str, **more: object) -> str:
    return codex_line("event_msg", AT, type=kind, **more)


def codex(*lines: str) -> list[Fact]:
    meta = codex_line("session_meta", AT, id="c1", session_id="c1")
    return facts_of(CodexFile("name"), [meta, *lines])


def test_a_codex_call_ends_as_its_item_says() -> None:
    def both(call: str, said: dict[str, object]) -> list[str]:
        return [
            item("function_call", name="exec_command", call_id=call, arguments="{}"),
            event("item_completed", item={"id": call, **said}),
            item("function_call_output", call_id=call, output="Process exited with code 9\nOutput:\n"),
        ]

    found = codex(
        *both("c1", {"type": "CommandExecution", "status": "completed", "exit_code": 0}),
        *both("c2", {"type": "CommandExecution", "status": "failed", "exit_code": 3}),
        *both("c3", {"type": "FileChange", "status": "declined"}),
    )
    assert outcomes(found) == [("c1", "ok", 0), ("c2", "failed", 3), ("c3", "denied", None)]
    assert found[0] == Fact(found[0].key, micros("2026-11-03T23:59:59Z"), "c1", SessionImported("codex"))


@pytest.mark.parametrize(
    ("output", "outcome", "code"),
    [
        ("Chunk ID: 1\nWall time: 0.0 seconds\nProcess exited with code 3\nOutput:\nx", "failed", 3),
        ("Wall time: 0 seconds\nOutput:\nProcess exited with code 3", "ok", None),
        ("Exit code: 1\nWall time: 0 seconds\nOutput:\nx", "failed", 1),
        (json.dumps({"output": "x", "metadata": {"exit_code": 2}}), "failed", 2),
        ({"content": "x", "success": False}, "failed", None),
        ({"content": "x", "success": True}, "ok", None),
        ([{"type": "input_text", "text": "x"}], "ok", None),
        ("patch rejected by user", "denied", None),
        ("exec command rejected by user", "denied", None),
        ("{", "ok", None),
        (None, "ok", None),
    ],
)
def test_a_codex_call_without_an_item_ends_as_its_output_says(output: object, outcome: str, code: int) -> None:
    found = codex(
        item("custom_tool_call", name="apply_patch", call_id="c1", input="x"),
        item("custom_tool_call_output", call_id="c1", output=output),
    )
    assert outcomes(found) == [("c1", outcome, code)]


def test_a_codex_subagent_belongs_to_the_session_that_started_it() -> None:
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": "root", "depth": 1}}}
    for more in ({"session_id": "root", "source": spawned}, {"source": spawned}, {"session_id": "root"}):
        meta = codex_line("session_meta", AT, id="child", **more)
        found = facts_of(CodexFile("name"), [meta, item("function_call", name="exec_command", call_id="c1")])
        assert {fact.conversation for fact in found} == {"root"}
    for source in ("cli", {"subagent": "review"}, {"subagent": {"thread_spawn": 3}}, None):
        meta = codex_line("session_meta", AT, id="child", source=source)
        assert {fact.conversation for fact in facts_of(CodexFile("name"), [meta])} == {"child"}


def test_the_codex_files_of_2025_are_read_too() -> None:
    head = {"id": "c1", "timestamp": "2025-05-07T17:24:21.597Z", "instructions": None}
    call = {"type": "function_call", "id": "fc_1", "name": "shell", "arguments": "{}", "call_id": "call_1"}
    output = json.dumps({"output": "x", "metadata": {"exit_code": 2}})
    ended = {"type": "function_call_output", "call_id": "call_1", "output": output}
    lines = [head, {"record_type": "state"}, {"type": "message", "role": "user", "content": []}, call, ended]
    found = facts_of(CodexFile("name"), [json.dumps(line) for line in lines])
    assert outcomes(found) == [("call_1", "failed", 2)]
    assert {(fact.conversation, fact.time_us) for fact in found} == {("c1", micros("2025-05-07T17:24:21.597Z"))}
    assert len(found) == 3
    assert facts_of(CodexFile("name"), [json.dumps(call)]) == []  # no first line says when it was


def test_a_codex_total_that_is_repeated_is_counted_once() -> None:
    def total(tokens: int, last: int) -> str:
        named = {"input_tokens": tokens, "output_tokens": tokens}
        info = {"total_token_usage": named, "last_token_usage": {"input_tokens": last, "output_tokens": last}}
        return event("token_count", info=info)

    found = codex(event("token_count", info=None), total(100, 30), total(100, 30), total(150, 50))
    assert used(found) == [UsageReported(30, 30, 0), UsageReported(50, 50, 0)]


def test_names_are_plain() -> None:
    assert plain("mcp__shop__find") == "mcp__shop__find"
    for name in ("", "a\nb", "é", "x" * 121, "\ud800"):
        assert plain(name).startswith("sha256:")


def test_a_fact_goes_over_the_socket_and_nothing_else_does() -> None:
    session = ClaudeSession("s1", AT)
    session.call(1)
    for fact in claude(session):
        assert Fact.from_json(json.loads(json.dumps(fact.to_json()))) == fact
    raw = claude(session)[0].to_json()
    wrongs: tuple[dict[str, object], ...] = (
        {"kind": "landing.done"},
        {"time_us": 1.5},
        {"time_us": True},
        {"time_us": -1},
        {"time_us": 2**53},
        {"kind": "usage.reported", "body": {"input_tokens": 2**53, "output_tokens": 0, "cost_udollar": 0}},
        {"key": "k" * 121},
        {"of": "a\nb"},
        {"body": {"agent": 3}},
        {"body": []},
    )
    for wrong in wrongs:
        with pytest.raises((KeyError, TypeError, ValueError)):
            Fact.from_json({**raw, **wrong})


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999999-23:59", "2256-01-01"]
)
def test_a_time_that_no_ledger_could_keep_is_malformed(text: str) -> None:
    with pytest.raises(ValueError, match="a time before 1970"):
        micros(text)


def test_counts_of_any_size_add_up_to_what_the_ledger_can_keep() -> None:
    for huge in (2**50, 2**53, 2**64):
        assert 4 * count(huge) < 2**53
