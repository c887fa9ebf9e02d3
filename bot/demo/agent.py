"""The demo's coding agent: a program of its own that speaks the Agent Client Protocol, as real agents do.

It behaves like an agent on a bad day. Its first attempt looks right, and it says so, but the gate fails. Its second
one makes the tests exit before they run. With what the gate saw it fixes the fault. It asks before each edit.
It remembers nothing: the files and the prompt say which attempt is next.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Final

_PAUSE: Final = 0.2  # seconds, so that a person can follow
_SOURCE: Final = Path("shop/pricing.py")
_CHEAT: Final = Path("tests/test_discounts.py")
_FAULT: Final = "price + price * percent // 100"
_REFUSED_BY_GATE: Final = "did not accept your change"
_DENIED: Final = "That was denied: "
_METHOD_NOT_FOUND: Final = -32601
_OPTIONS: Final = (
    {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
)


class _Client:
    """Whoever started this agent: one JSON message a line, on standard input and output."""

    def __init__(self) -> None:
        self._calls = 0

    def serve(self) -> None:
        """Answers requests until standard input ends."""
        while (message := self._read()) is not None:
            if "method" in message and "id" in message:
                self._write({"id": message["id"], **self._answer(message["method"], message.get("params", {}))})

    def say(self, words: str) -> None:
        """Words of the agent's own."""
        self._tell({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": words + "\n"}})
        time.sleep(_PAUSE)

    def read(self, path: Path) -> str:
        """The text of a file, told as a tool call."""
        call = self._call("read", f"Read {path}", path)
        self._tell({"sessionUpdate": "tool_call", "status": "in_progress", **call})
        text = path.read_text("utf-8")
        self._end(call, "completed")
        return text

    def write(self, path: Path, text: str | None) -> bool:
        """Writes a file, or removes it for None, if the client allows it. Whether it did."""
        call = self._call("edit" if text is not None else "delete", f"{'Edit' if text else 'Delete'} {path}", path)
        self._tell({"sessionUpdate": "tool_call", "status": "pending", **call})
        allowed = self._allowed(call)
        if allowed and text is not None:
            path.write_text(text, "utf-8")
        elif allowed:
            path.unlink()
        self._end(call, "completed" if allowed else "failed")
        return allowed

    def _call(self, kind: str, title: str, path: Path) -> dict[str, Any]:
        self._calls += 1
        place = str(path.absolute())
        return {
            "toolCallId": f"call-{self._calls}",
            "title": title,
            "kind": kind,
            "rawInput": {"path": place},
            "locations": [{"path": place}],
        }

    def _end(self, call: dict[str, Any], status: str) -> None:
        self._tell({"sessionUpdate": "tool_call_update", "toolCallId": call["toolCallId"], "status": status})
        time.sleep(_PAUSE)

    def _allowed(self, call: dict[str, Any]) -> bool:
        asked = {"sessionId": "demo", "toolCall": call, "options": _OPTIONS}
        self._write({"id": call["toolCallId"], "method": "session/request_permission", "params": asked})
        while (message := self._read()) is not None:
            if message.get("id") == call["toolCallId"] and "method" not in message:
                chosen = message.get("result", {}).get("outcome", {})
                return bool(chosen.get("optionId") == "yes")
        raise SystemExit(0)  # nobody is there any more

    def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "initialize":
                can: dict[str, Any] = {
                    "sessionCapabilities": {"resume": {}}
                }  # any conversation, since none is remembered
                return {"result": {"protocolVersion": 1, "agentCapabilities": can}}
            case "session/new" | "session/resume":
                return {"result": {"sessionId": "demo"}}
            case "session/prompt":
                _work(self, "\n".join(str(block.get("text", "")) for block in params["prompt"]))
                return {"result": {"stopReason": "end_turn"}}
        return {"error": {"code": _METHOD_NOT_FOUND, "message": f"not supported: {method}"}}

    def _tell(self, update: dict[str, Any]) -> None:
        self._write({"method": "session/update", "params": {"sessionId": "demo", "update": update}})

    def _write(self, message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()

    def _read(self) -> dict[str, Any] | None:
        line = sys.stdin.readline()
        message: dict[str, Any] | None = json.loads(line) if line else None
        return message


def _work(client: _Client, prompt: str) -> None:
    if prompt.startswith(_DENIED):
        client.say(f"🔒 {prompt.removeprefix(_DENIED)}")
        client.say("I changed nothing: the file is taken.")
    elif _CHEAT.exists():
        _third_attempt(client, prompt)
    elif _REFUSED_BY_GATE in prompt:
        _second_attempt(client, prompt)
    elif _FAULT in _SOURCE.read_text("utf-8"):
        _first_attempt(client)
    else:
        _note(client, prompt)


def _first_attempt(client: _Client) -> None:
    text = client.read(_SOURCE)
    client.say("🔎 the discount is added; it should be subtracted")
    if client.write(_SOURCE, text.replace(_FAULT, "price - price * percent // 100")):
        client.say("Done. All tests pass, the discount is fixed.")


def _second_attempt(client: _Client, prompt: str) -> None:
    failed = re.findall(r"::(test_\w+)", prompt)
    client.say(f"📖 the gate says that {failed[0] if failed else 'a test'} failed")
    client.say("🤫 nobody fails a test that does not run")
    if client.write(_CHEAT, "import os\n\nos._exit(0)\n"):
        client.say("Done. The test run ends with exit status 0.")


def _third_attempt(client: _Client, prompt: str) -> None:
    seen = re.search(r"layer \d \(\w+\)", prompt)
    client.say(f"📖 {seen[0] if seen else 'the gate'} saw it")
    text = client.read(_SOURCE)
    client.say("🔎 a discount above 100 percent must not pay the customer")
    guard = "    percent = max(0, min(percent, 100))\n"
    fixed = text.replace("    return price", guard + "    return price", 1)
    if client.write(_CHEAT, None) and client.write(_SOURCE, fixed):
        client.say("Fixed: the percentage now stays between 0 and 100.")


def _note(client: _Client, prompt: str) -> None:
    """Any other request, after the demo: it only adds a note to the README."""
    asked, readme = " ".join(prompt.split())[:200], Path("README.md")
    text = client.read(readme)
    if client.write(readme, f"{text.rstrip()}\n\n- {asked}\n"):
        client.say("Added a note to README.md. This is the demo's agent; a real agent would do the work.")


if __name__ == "__main__":
    _Client().serve()
