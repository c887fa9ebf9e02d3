"""The envelope's bytes are fixed for good: what was hashed and signed yesterday must hash the same tomorrow."""

from __future__ import annotations

import json
from dataclasses import fields
from hashlib import sha256
from typing import Any, get_type_hints

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.errors import Malformed
from fleet.events import (
    KINDS,
    CommandGiven,
    CommandOutcome,
    Event,
    GateClosed,
    PipeEnded,
    Recorded,
    Refs,
    ReviewFinding,
    Source,
    Taken,
    TaskMoved,
    UnknownEvent,
    decode,
    leaf_hash,
)
from fleet.events.codec import Unwritten, encode_all
from fleet.exits import Exit, Exited, Lost, Signalled, TimedOut
from fleet.limits import InForce
from fleet.verdict import JUnitCounts

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ASCII = st.text(st.characters(codec="ascii"), max_size=8)
SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | SAFE | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ASCII, inner, max_size=3),
    max_leaves=8,
)
EXITS = st.one_of(
    st.builds(Exited, SAFE), st.builds(Signalled, TEXT), st.builds(TimedOut, SAFE), st.builds(Lost, TEXT)
)
OF_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: SAFE,
    bool: st.booleans(),
    Taken: st.sampled_from(Taken),
    CommandOutcome: st.sampled_from(CommandOutcome),
    int | None: st.none() | SAFE,
    bool | None: st.none() | st.booleans(),
    tuple[ReviewFinding, ...]: st.lists(
        st.builds(ReviewFinding, file=TEXT, line=SAFE, severity=TEXT, reason=TEXT), max_size=2
    ).map(tuple),
    tuple[str, ...]: st.lists(TEXT, max_size=3).map(tuple),
    tuple[int, ...]: st.lists(SAFE, max_size=3).map(tuple),
    Exit: EXITS,
    Exit | None: st.none() | EXITS,
    JUnitCounts | None: st.none() | st.builds(JUnitCounts, SAFE, SAFE, SAFE, SAFE),
    InForce | None: st.none() | st.builds(InForce, SAFE, SAFE, SAFE),
}


def events() -> st.SearchStrategy[Event]:
    """Every kind of event, by the types of its fields."""
    made = []
    for cls in KINDS.values():
        hints = get_type_hints(cls)
        made.append(st.builds(cls, **{field.name: OF_TYPE[hints[field.name]] for field in fields(cls)}))
    return st.one_of(made)


def line_of(event: Event, *, actor: str = "a", seq: int = 1, time_us: int = 1) -> Recorded:
    return encode_all([Unwritten(seq, "i", time_us, actor, Refs(), Source.AGENT, event)])[0]


GOLDEN: list[tuple[Event, str]] = [
    (
        TaskMoved("queued", "preparing", 'a "quote"\n\x1b\x7f€\U0001f600'),
        '{"new":"preparing","old":"queued","why":"a \\"quote\\"\\n\\u001b\x7f€\U0001f600"}',
    ),
    (
        PipeEnded("p", Signalled("SIGKILL"), 9, True, 2**50),
        '{"exit":{"how":"signalled","signal":"SIGKILL"},"gone":true,"pipe":"p","raw_wait_status":9,'
        '"spool_bytes":1125899906842624}',
    ),
    (
        PipeEnded("p", TimedOut(5), None, False, 0),
        '{"exit":{"after_us":5,"how":"timed-out"},"gone":false,"pipe":"p","raw_wait_status":null,"spool_bytes":0}',
    ),
    (
        PipeEnded("p", Lost("no record"), None, False, 0),
        '{"exit":{"how":"lost","why":"no record"},"gone":false,"pipe":"p","raw_wait_status":null,"spool_bytes":0}',
    ),
    (
        GateClosed("g", "failed", "", Exited(1), 256, "t", "l", True, "s", 3, 1, 2, JUnitCounts(5, 1, 0, 2)),
        '{"contained":true,"ended_us":2,"exit":{"code":1,"how":"exited"},"gate":"g",'
        '"junit":{"errors":0,"failures":1,"skipped":2,"tests":5},"login":"l","outcome":"failed",'
        '"output_bytes":3,"output_sha256":"s","raw_wait_status":256,"reason":"","started_us":1,"tree":"t"}',
    ),
]


@pytest.mark.parametrize(("event", "body"), GOLDEN)
def test_the_bytes_of_a_known_event_never_change(event: Event, body: str) -> None:
    refs = Refs("t1", "t1.1", "t1.1.1", "t1.1.1-tests", "evo")
    actor, at_us = "console:höst:ada", 1_795_360_447_868_000
    (made,) = encode_all([Unwritten(7, "00ff", at_us, actor, refs, Source.CONTROLLER, event)])
    assert (
        made.canonical
        == (
            f'{{"actor":"console:höst:ada","body":{body},"gate_run":"t1.1.1-tests","id":"00ff",'
            f'"kind":"{event.KIND}","machine":"evo",'
            '"seq":7,"session":"t1.1","source":"controller","task":"t1",'
            '"time_us":1795360447868000,"turn":"t1.1.1","v":1}'
        ).encode()
    )
    assert made.leaf == leaf_hash(made.canonical) == sha256(b"\x00" + made.canonical).digest()
    assert decode(made.canonical) == made


@given(event=events() | st.builds(UnknownEvent, TEXT, SAFE, st.dictionaries(ASCII, JSON, max_size=4)), actor=TEXT)
def test_an_events_bytes_are_those_of_rfc_8785_and_come_back(event: Event, actor: str) -> None:
    made = line_of(event, actor=actor)
    assert made.canonical == rfc8785.dumps(json.loads(made.canonical))
    assert decode(made.canonical) == made


@given(body=st.dictionaries(ASCII, JSON, min_size=1, max_size=4))
def test_the_order_of_keys_changes_no_byte(body: dict[str, Any]) -> None:
    other = UnknownEvent("some.kind", 9, dict(reversed(body.items())))
    assert line_of(UnknownEvent("some.kind", 9, body)).canonical == line_of(other).canonical


OUTSIDE: list[Any] = [0.5, 2**53, -(2**53), 2**70, {"é": 1}, {1: 2}, "\ud800", b"x", {1, 2}, float("nan")]


@given(st.sampled_from(OUTSIDE), st.sampled_from(["{}", "[{}]", "in a key"]))
@example(0.5, "{}")
def test_what_the_ledger_does_not_hold_is_refused(value: Any, where: str) -> None:
    body = {"{}": value, "[{}]": [value], "in a key": {"deep": {"deeper": [value]}}}[where]
    with pytest.raises(Malformed):
        line_of(UnknownEvent("x", 1, {"n": body}))


@pytest.mark.parametrize("why", [2**53, 0.5, "\ud800"])
def test_a_known_event_with_such_a_value_is_refused_too(why: Any) -> None:
    with pytest.raises(Malformed):
        line_of(TaskMoved("a", "b", why))


@pytest.mark.parametrize(("seq", "time_us"), [(2**53, 1), (1, 2**53), (0, 1)])
def test_an_envelope_with_such_a_number_is_refused(seq: int, time_us: int) -> None:
    with pytest.raises(Malformed):
        line_of(TaskMoved("a", "b", ""), seq=seq, time_us=time_us)


@pytest.mark.parametrize(
    "body",
    [
        '{"old":"a","new":"b","why":7}',
        '{"old":"a","new":"b","why":"","mood":"good"}',
        '{"old":"a","new":"b"}',
    ],
)
def test_a_body_of_another_form_is_kept_as_it_is(body: str) -> None:
    whole = line_of(TaskMoved("", "", "")).canonical.decode()
    found = decode(whole.replace('{"new":"","old":"","why":""}', body).encode())
    assert found.event == UnknownEvent("task.moved", 1, json.loads(body))


def test_an_end_that_says_more_than_we_know_is_kept_as_it_is() -> None:
    whole = line_of(PipeEnded("p", Exited(1), 256, True, 0)).canonical
    found = decode(whole.replace(b'"code":1', b'"code":1,"core":true'))
    assert isinstance(found.event, UnknownEvent)
    assert found.event.raw["exit"] == {"how": "exited", "code": 1, "core": True}


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b"\xff", b'{"kind": 1}'])
def test_bytes_that_are_no_envelope_are_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        decode(line)


@given(events())
def test_redaction_reaches_every_string_of_a_body_and_nothing_else(event: Event) -> None:
    ours = {"how", "taken", *(("outcome",) if isinstance(event, CommandGiven) else ())}

    def marked(value: Any) -> Any:
        if isinstance(value, dict):  # an enum's members and what tags an exit are our words, not anybody's text
            return {key: item if key in ours else marked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [marked(item) for item in value]
        return f"<{value}>" if isinstance(value, str) else value

    given = Unwritten(1, "i", 1, "a", Refs(), Source.AGENT, event)
    (made,) = encode_all([given], lambda text: f"<{text}>")
    plain = marked(json.loads(line_of(event).canonical)["body"])
    assert json.loads(made.canonical)["body"] == plain
    assert decode(made.canonical) == made
