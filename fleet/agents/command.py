"""Any program as an agent: the prompt on standard input, then end of file; its output is progress."""

from __future__ import annotations

import re
from typing import Final

from fleet.agent_events import Decision, Ready, Said, TurnEnded, TurnOutcome
from fleet.agents.lines import RAW_LIMIT, Fold, cut, oversized_line, with_attachments
from fleet.exits import Exit, succeeded
from fleet.ports import Brief, DriverState, Launch, Step

_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_ENDS: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_LIMIT: Final = 32_000


class CommandDriver:
    """One process per turn: it ends with its turn, and only exit status 0 completes a turn.

    A further turn is a new process with the further prompt. It cannot be steered, and it cannot ask.
    """

    name = "command"
    ends_itself = True

    def launch(self, brief: Brief) -> Launch:
        """The program itself; its arguments contain nothing of the prompt."""
        return Launch(brief.program, {}, one_turn=True)

    def open(self, brief: Brief) -> Step:
        """Sends the prompt unchanged, then a newline and end of file."""
        prompt = with_attachments(brief.prompt, brief.attachments)
        send = prompt.encode("utf-8", "replace")
        if not send.endswith(b"\n"):
            send += b"\n"
        return Step({"running": True, "last": ""}, (Ready(resume=""),), send, eof=True)

    def feed(self, state: DriverState, line: bytes) -> Step:
        """Every line is text from the agent; the last one that is not blank is its claim.

        A private key's lines are reported together: the redactor only recognizes it whole.
        """
        fold = Fold(state)
        text = line.decode("utf-8", "replace").rstrip("\r")
        key = fold.state.get("key", "")
        if key or _opens_key(text):
            fold.state["key"] = f"{key}\n{text}" if key else text
            if _KEY_ENDS.search(text) or len(fold.state["key"]) > _KEY_LIMIT:
                _report_key(fold)
            return fold.step()
        if text.strip():
            fold.state["last"] = cut(text, RAW_LIMIT)
        fold.report(Said(text))
        return fold.step()

    def oversized(self, state: DriverState, size: int) -> Step:
        """Reports a skipped line."""
        return Step(state, (oversized_line(size),))

    def say(self, state: DriverState, text: str) -> Step:
        """Nothing: its standard input is closed. The message goes to the next process, in ``open``."""
        return Step(state)

    def decide(self, state: DriverState, ask: str, decision: Decision) -> Step:
        """Nothing: it never asks."""
        return Step(state)

    def interrupt(self, state: DriverState) -> Step:
        """Nothing can be sent to it; stop its process instead."""
        return Step(state)

    def finish(self, state: DriverState) -> Step:
        """Nothing: its input is already closed."""
        return Step(state)

    def ended(self, state: DriverState, exit: Exit) -> Step:
        """Ends its only turn."""
        fold = Fold(state)
        if fold.state["running"]:
            fold.state["running"] = False
            _report_key(fold)
            outcome = TurnOutcome.COMPLETED if succeeded(exit) else TurnOutcome.FAILED
            error = "" if succeeded(exit) else f"the program ended: {exit}"
            fold.report(TurnEnded(fold.state["last"], outcome, error, exit))
        return fold.step()


def _opens_key(text: str) -> bool:
    begins = [found.end() for found in _KEY_BEGINS.finditer(text)]
    return bool(begins) and not _KEY_ENDS.search(text, begins[-1])


def _report_key(fold: Fold) -> None:
    if key := fold.state.pop("key", ""):
        fold.state["last"] = ""
        fold.report(Said(key))
