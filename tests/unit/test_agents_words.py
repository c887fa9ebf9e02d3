"""How much an agent may say: a long answer whole, a babbler's megabytes counted, a private key in one piece."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

import pytest

from fleet.agent_events import Happening, Said, TurnEnded, TurnOutcome
from fleet.agents.lines import TAIL_LIMIT, WORDS_LIMIT, cut, decode, one_line
from fleet.agents.registry import driver
from fleet.exits import Exited
from fleet.flight.testimony import events_of
from fleet.ports import Brief, DriverState, Step
from fleet.redact import Redactor
from tests.unit import agent_lines as say

BRIEF = Brief("6f7ab5fc-52e4-4d2e-9a55-6f57a9e0a001", "do it", "/w", ("agent",))
BEGUN = {
    "claude": [say.CONFIRMED, say.INIT, say.heard("do it")],
    "codex": [say.answered(1), say.answered(2, thread={"id": "t1"}, model="m"), say.answered(3, turn={"id": "u1"})],
    "command": [],
}
SPOKEN: dict[str, Callable[[str], bytes]] = {
    "claude": lambda words: say.line(say.assistant(say.text(words))),
    "codex": lambda words: say.line(say.item("completed", type="agentMessage", id="m1", text=words)),
    "command": str.encode,
}
EVERY = pytest.mark.parametrize("name", ["claude", "codex", "command"])


class Talk:
    """An agent that says things; its state is written down and read again between any two of them."""

    def __init__(self, name: str) -> None:
        self.agent, self.name = driver(name), name
        self.happened: list[Happening] = []
        self.begin()

    def begin(self) -> None:
        self.state: DriverState = {}
        self._take(self.agent.open(BRIEF))
        for message in BEGUN[self.name]:
            self._take(self.agent.feed(self.state, say.line(message)))

    def hear(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._take(self.agent.feed(self.state, SPOKEN[self.name](text)))

    def over(self) -> None:
        last = {"claude": say.result("done"), "codex": say.turn_over()}.get(self.name)
        step = self.agent.feed(self.state, say.line(last)) if last else self.agent.ended(self.state, Exited(0))
        self._take(step)
        assert isinstance(self.happened[-1], TurnEnded)

    def words(self) -> list[str]:
        return [each.text for each in self.happened if isinstance(each, Said)]

    def _take(self, step: Step) -> None:
        self.state = json.loads(json.dumps(step.state))
        self.happened += step.happened


@EVERY
def test_one_long_answer_is_told_whole(name: str) -> None:
    text = "x" * 300_000
    talk = Talk(name)
    talk.hear([text])
    talk.over()
    assert talk.words() == [text]
    if name == "codex":
        assert talk.happened[-1] == TurnEnded(text, TurnOutcome.COMPLETED)


def test_the_closing_words_of_claude_are_kept_whole() -> None:
    talk = Talk("claude")
    talk.hear([])
    step = talk.agent.feed(talk.state, say.line(say.result("x" * 300_000)))
    assert step.happened[-1] == TurnEnded("x" * 300_000, TurnOutcome.COMPLETED)


@EVERY
def test_a_babbler_is_bounded_counted_and_its_last_words_are_told(name: str) -> None:
    talk = Talk(name)
    texts = [f"{number:06} {'x' * 993}" for number in range(3_000)]
    talk.hear(texts)
    assert len(talk.words()) == WORDS_LIMIT // 1_001 + 1
    assert len(json.dumps(talk.state)) < TAIL_LIMIT * 3
    talk.over()
    *whole, rest = talk.words()
    assert whole == texts[: len(whole)]
    found = re.fullmatch(r"… (\d+) characters left out …\n(.*)", rest, re.DOTALL)
    assert found is not None
    told = len("\n".join(whole)) + 1 + int(found[1]) + len(found[2])
    assert told == len("\n".join(texts))
    assert found[2].split("\n") == texts[-3:]
    talk.begin()
    talk.hear(["a new turn has its own room"])
    assert talk.words()[-1] == "a new turn has its own room"


def test_a_private_key_that_comes_line_by_line_is_told_in_one_piece() -> None:
    body = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" for _ in range(20)]
    lines = ["Here it is:", "-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----", "That was it."]
    talk = Talk("command")
    told = ""
    for line in lines:  # each a batch of its own, as a slow program writes them
        before = len(talk.happened)
        talk.hear([line])
        told += "".join(str(event.body()) for event in events_of(talk.happened[before:], Redactor()))
    assert "MIIE" not in told and "PRIVATE KEY" not in told
    assert "‹redacted:private-key›" in told
    assert "Here it is:" in told and "That was it." in told


def test_a_key_that_never_ends_holds_nothing_back_for_good() -> None:
    talk = Talk("command")
    talk.hear(["-----BEGIN OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1rZXk"])
    assert talk.words() == []
    talk.over()
    assert talk.words() == ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk"]
    assert talk.happened[-1] == TurnEnded("", TurnOutcome.COMPLETED, exit=Exited(0))
    talk.begin()
    talk.hear(["grep: -----BEGIN PRIVATE KEY-----", *(f"an ordinary line {n}" for n in range(3_000))])
    assert talk.words()[-1] == "an ordinary line 2999"


def test_a_key_on_one_line_is_an_ordinary_line() -> None:
    talk = Talk("command")
    talk.hear(['"-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----"', "next"])
    assert talk.words()[-1] == "next"


@pytest.mark.parametrize("between", [" ", "\n"])
def test_a_text_is_cut_between_words_so_that_no_half_of_a_secret_is_left(between: str) -> None:
    text = f"the token is{between}sk-ant-0123456789abcdef"
    assert cut(text, 20) == "the token is… (24 more characters)"
    assert cut(text, len(text)) == text
    assert cut("x" * 30, 20) == f"{'x' * 12}… (18 more characters)"
    assert one_line("word " * 38 + "sk-ant-0123456789abcdef") == "word " * 37 + "word…"
    assert one_line("x" * 300) == "x" * 12 + "…"


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (rb'{"a": "\ud83d\ude00 \u00e9"}', {"a": "😀 é"}),
        (rb'{"a": "\ud800"}', {"a": "?"}),
        (rb'{"a": "\u0000"}', {"a": "\N{REPLACEMENT CHARACTER}"}),
        (b'{"\xff": "\xed\xa0\x80"}', {"\ufffd": "\ufffd" * 3}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a": -0.5e-3}', {"a": -0.5e-3}),
        (b'{"a": 1, "a": 2}\r', {"a": 2}),
        (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", {"a": json.loads("[" * 500 + "]" * 500)}),
        *((line, None) for line in (b"", b"[1]", b'{"a": 1e999}', b'{"a": NaN}', b'{"a": 1}\0', b'{"a": "\1"}')),
        (b'{"a": ' + b"[" * 100_000, None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_line_is_read_as_the_standard_library_reads_it(line: bytes, read: dict[str, object] | None) -> None:
    if read is None:
        with pytest.raises((ValueError, RecursionError)):
            decode(line)
    else:
        assert decode(line) == read
