"""Shared by all drivers: decodes an untrusted line, encodes one, and collects the resulting events."""

from __future__ import annotations

import hashlib
import json
import math
import re
from abc import ABC, abstractmethod
from typing import Any

import msgspec

from fleet.agent_events import Happening, Said, TurnEnded, TurnOutcome, Unknown, Window
from fleet.exits import Exit
from fleet.ports import DriverState, Step
from fleet.untrusted import whole_until

RAW_LIMIT = 2_000
"""The most characters kept of an unknown line, and of a tool's output."""

WORDS_LIMIT = 1_000_000
"""The most characters of text that a turn reports in full. The rest is counted, and its end reported with the
turn's."""

TAIL_LIMIT = 4_000
HELD_BACK = "held_back"
"""The key of a driver's state under which it keeps a result that came too early. :func:`left_open` reads it."""
"""The most characters of that end."""

SUMMARY_LIMIT = 200

_MOST = 2**50  # the largest count: the sum of eight is still an integer of canonical JSON
_DECODER = msgspec.json.Decoder()
_UNSTORABLE = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")

UNREADABLE = "this request could not be read"
"""What an agent is told that asks for something in a form that its driver does not know."""

NOT_UNDERSTOOD = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError)
"""What reading fields of untrusted JSON can raise; a driver then returns ``Unknown`` and its old state."""


def decode(line: bytes) -> dict[str, Any]:
    """The JSON object on a line, reduced to text and numbers that can be written again.

    Invalid UTF-8, lone surrogates and NUL become replacement characters. Raises ``ValueError`` or
    ``RecursionError`` for anything that is not a JSON object. What msgspec refuses, the slower decoder of the
    standard library may still read.
    """
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError):
        value = json.loads(line.decode("utf-8", "replace"), parse_float=_finite, parse_constant=_refuse)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    whole: dict[str, Any] = _cleaned(value) if _UNSTORABLE.search(line) else value
    return whole


def encode(*messages: dict[str, Any]) -> bytes:
    """The messages as lines."""
    return b"".join(json.dumps(message, separators=(",", ":")).encode() + b"\n" for message in messages)


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values; an approval binds to it."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(value: Any) -> str:
    """SHA-256 of the canonical text, in hex."""
    return hashlib.sha256(canonical(value).encode("utf-8", "replace")).hexdigest()


def string(value: Any) -> str:
    """The value, which must be a string. Raises ``TypeError``."""
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def mapping(value: Any) -> dict[str, Any]:
    """The value, which must be an object. Raises ``TypeError``."""
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def count(value: Any) -> int:
    """The value as a count; 0 for anything else, so that an odd figure never hides a turn's end."""
    return value if type(value) is int and 0 <= value <= _MOST else 0


def exit_status(value: Any) -> int | None:
    """The value as the exit status of a tool, ``None`` for anything else; one that no system has becomes the
    nearest that some have."""
    return max(-(2**31), min(2**32 - 1, value)) if type(value) is int else None


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters of the text, and how many more there were.

    It is cut between words if possible: the redactor does not recognize half a secret.
    """
    if len(text) <= limit:
        return text
    end = max(text.rfind(sign, limit // 2, limit) for sign in " \n")
    end = end if end > 0 else whole_until(text, limit)
    return f"{text[:end]}… ({len(text) - end} more characters)"


def ends(text: str, limit: int) -> str:
    """The start and the end of a tool's output, ``limit`` characters at most, and how many are between. Cut like in
    :func:`cut`."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 4], text[len(text) - limit // 2 :]
    end = max(head.rfind(sign) for sign in " \n")
    end = end if end > 0 else whole_until(text, limit // 4)
    begin = min((at for sign in " \n" if (at := tail.find(sign)) >= 0), default=len(tail))
    return f"{text[:end]}…\n({len(text) - end - len(tail) + begin} more characters)\n…{tail[begin:].lstrip()}"


def size_of(text: str) -> int:
    """The size of a text in bytes."""
    return len(text.encode("utf-8", "replace"))


def one_line(text: str) -> str:
    """The text as one short line, cut like in :func:`cut`."""
    line = " ".join(text[: SUMMARY_LIMIT * 4].split())
    if len(line) <= SUMMARY_LIMIT:
        return line
    end = line.rfind(" ", SUMMARY_LIMIT // 2, SUMMARY_LIMIT)
    return f"{line[: end if end > 0 else whole_until(line, SUMMARY_LIMIT - 1)]}…"


def unknown(line: bytes) -> Unknown:
    """The line as an event that is not understood."""
    return Unknown(line[: RAW_LIMIT * 4].decode("utf-8", "replace")[:RAW_LIMIT])


def oversized_line(size: int) -> Unknown:
    """The event for a line that was too long to decode."""
    return Unknown(f"a line of {size} bytes, too long to decode; it is in the spool")


def as_words(text: str) -> str:
    """Text that an agent passes on to its model. What begins with a slash would be a command of its own."""
    return f"The task:\n{text}" if text.lstrip().startswith("/") else text


def with_attachments(prompt: str, attachments: tuple[str, ...]) -> str:
    """The prompt, followed by the paths of the files that came with it."""
    if not attachments:
        return prompt
    return "\n".join([prompt, "", "Attached files:", *(f"- {path}" for path in attachments)])


def window(name: str, used_percent: Any, resets_s: Any) -> Window:
    """A window from untrusted figures: a share of it in percent, and the seconds since the epoch of its reset."""
    share = used_percent if type(used_percent) in (int, float) else 0
    return Window(name, max(0, min(100, int(share))), count(resets_s) * 1_000_000 if count(resets_s) < 2**33 else 0)


def left_open(state: DriverState) -> tuple[str, ...]:
    """The background work for which a turn's result is held back; empty when none is."""
    held = state.get(HELD_BACK) or {}
    return tuple(str(words) or "a command" for words in held.get("open", ()))


class MessageDriver(ABC):
    """What drivers have in common whose agents speak in JSON objects, one a line."""

    @abstractmethod
    def _read(self, fold: Fold, message: dict[str, Any]) -> bool:
        """Whether it was understood. May raise one of ``NOT_UNDERSTOOD``."""

    def feed(self, state: DriverState, line: bytes) -> Step:
        """Handles one line of output."""
        fold, message = Fold(state), {}
        try:
            message = decode(line)
            understood = self._read(fold, message)
        except NOT_UNDERSTOOD:
            fold, understood = Fold(state), False
            self._refuse(fold, message)
        if not understood:
            fold.report(unknown(line))
        return fold.step()

    def _refuse(self, fold: Fold, message: dict[str, Any]) -> None:
        """Answers a request that cannot be read, so that the agent does not wait."""
        if isinstance(message.get("method"), str) and type(name := message.get("id")) in (int, str):
            fold.send({"jsonrpc": "2.0", "id": name, "error": {"code": -32602, "message": UNREADABLE}})

    def oversized(self, state: DriverState, size: int) -> Step:
        """Reports a skipped line. If it was a question, the agent keeps waiting: silence is not yes."""
        return Step(state, (oversized_line(size),))

    def finish(self, state: DriverState) -> Step:
        """Closes standard input: the agent ends after its current turn."""
        return Step(state, eof=True)

    def ended(self, state: DriverState, exit: Exit) -> Step:
        """Ends an open turn as failed. Unfinished tools stay unfinished."""
        if not state["running"]:
            return Step(state)
        fold = Fold(state)
        if left_open(state):  # it was done, but for its background work, which has ended with it
            self._end(fold, TurnEnded(state[HELD_BACK]["claim"], TurnOutcome.COMPLETED, "", exit))
        else:
            self._end(fold, TurnEnded("", TurnOutcome.FAILED, f"the agent ended before its turn did: {exit}", exit))
        return fold.step()

    @abstractmethod
    def _end(self, fold: Fold, ended: TurnEnded) -> None:
        """The open turn ended so, with its process."""


class Fold:
    """Collects one step. ``state`` is a copy, two levels deep: the caller's state is never changed.

    It also limits a turn's text. The count is in the state, so that it survives a restart.
    """

    def __init__(self, state: DriverState) -> None:
        self.state: DriverState = {
            name: value.copy() if isinstance(value, dict | list) else value for name, value in state.items()
        }
        self._happened: list[Happening] = []
        self._send: list[dict[str, Any]] = []
        self.eof = False

    def report(self, *happenings: Happening) -> None:
        """Adds events. Text beyond a turn's limit is only counted, and reported at its end."""
        for item in happenings:
            if isinstance(item, Said) and self.state.get("told", 0) >= WORDS_LIMIT:
                self._omit(item.text)
                continue
            if isinstance(item, Said):
                self.state["told"] = self.state.get("told", 0) + len(item.text) + 1
            elif isinstance(item, TurnEnded):
                self._report_omitted()
            self._happened.append(item)

    def _omit(self, text: str) -> None:
        """Keeps only whole texts for the end: a part of one could be half a secret."""
        state, size = self.state, len(text) + 1
        state["left_out"] = state.get("left_out", 0) + size
        state["tail_size"] = state.get("tail_size", 0) + size
        tail = state.setdefault("tail", [])
        tail.append(text)
        while state["tail_size"] > TAIL_LIMIT:
            state["tail_size"] -= len(tail.pop(0)) + 1

    def _report_omitted(self) -> None:
        kept = {name: self.state.pop(name, 0) for name in ("told", "left_out", "tail_size")}
        tail = self.state.pop("tail", [])
        if kept["left_out"]:
            missing = kept["left_out"] - kept["tail_size"]
            self._happened.append(Said("\n".join([f"… {missing} characters left out …", *tail])))

    def send(self, *messages: dict[str, Any]) -> None:
        """Adds lines to send."""
        self._send.extend(messages)

    def step(self) -> Step:
        """The collected step."""
        return Step(self.state, tuple(self._happened), encode(*self._send), self.eof)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
