"""Any program as an agent: the prompt on standard input, then end of file; its output is progress."""

from __future__ import annotations

import re
from typing import Final

from fleet.agent_events import Decision, Ready, Said, TurnEnded, TurnOutcome
from fleet.agents.lines import RAW_LIMIT, Fold, cut, passed_over, with_attachments
from fleet.exits import Exit, succeeded
from fleet.ports import Brief, DriverState, Launch, Step

_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_ENDS: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_LIMIT: Final = 32_000


class CommandDriver:
    """One process a turn: it ends with its turn, and only exit status 0 is a completed turn.

    A further turn is a new process that gets the further prompt. It can neither be steered nor asked.
    """

    name = "command"

    def launch(self, brief: Brief) -> Launch:
        """The program itself; nothing of the prompt is in its arguments."""
        return Launch(brief.program, {}, one_turn=True)

    def open(self, brief: Brief) -> Step:
        """Sends the prompt as it is, ended by a newline and end of file."""
        prompt = with_attachments(brief.prompt, brief.attachments)
        send = prompt.encode("utf-8", "replace")
        if not send.endswith(b"\n"):
            send += b"\n"
        return Step({"running": True, "last": ""}, (Ready(resume=""),), send, eof=True)

    def feed(self, state: DriverState, line: bytes) -> Step:
        """Every line is words of the agent; the last one that is not blank is its claim.

        The lines of a private key are told together: only whole does a redactor know it.
        """
        fold = Fold(state)
        text = line.decode("utf-8", "replace").rstrip("\r")
        key = fold.state.get("key", "")
        if key or _opens_key(text):
            fold.state["key"] = f"{key}\n{text}" if key else text
            if _KEY_ENDS.search(text) or len(fold.state["key"]) > _KEY_LIMIT:
                _tell_key(fold)
            return fold.step()
        if text.strip():
            fold.state["last"] = cut(text, RAW_LIMIT)
        fold.tell(Said(text))
        return fold.step()

    def oversized(self, state: DriverState, size: int) -> Step:
        """Says that a line was passed over."""
        return Step(state, (passed_over(size),))

    def say(self, state: DriverState, text: str) -> Step:
        """Nothing: its standard input has ended. The words go to the next process, by ``open``."""
        return Step(state)

    def decide(self, state: DriverState, ask: str, decision: Decision) -> Step:
        """Nothing: it never asks."""
        return Step(state)

    def interrupt(self, state: DriverState) -> Step:
        """Nothing can be said to it; stopping its process is the way."""
        return Step(state)

    def finish(self, state: DriverState) -> Step:
        """It has had its end of file."""
        return Step(state)

    def ended(self, state: DriverState, exit: Exit) -> Step:
        """The end of its one turn."""
        fold = Fold(state)
        if fold.state["running"]:
            fold.state["running"] = False
            _tell_key(fold)
            outcome = TurnOutcome.COMPLETED if succeeded(exit) else TurnOutcome.FAILED
            error = "" if succeeded(exit) else f"the program ended: {exit}"
            fold.tell(TurnEnded(fold.state["last"], outcome, error, exit))
        return fold.step()


def _opens_key(text: str) -> bool:
    begins = [found.end() for found in _KEY_BEGINS.finditer(text)]
    return bool(begins) and not _KEY_ENDS.search(text, begins[-1])


def _tell_key(fold: Fold) -> None:
    if key := fold.state.pop("key", ""):
        fold.state["last"] = ""
        fold.tell(Said(key))
