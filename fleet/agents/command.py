"""Any program as an agent: the prompt on standard input, then end of file; its output is progress."""

from __future__ import annotations

from fleet.agents.lines import RAW_LIMIT, WORDS_LIMIT, Fold, cut, passed_over, with_attachments
from fleet.exits import Exit, succeeded
from fleet.happenings import Decision, Ready, Said, TurnEnded
from fleet.ports import Brief, DriverState, Launch, Step


class CommandDriver:
    """One process a turn: it ends with its turn, and only exit status 0 is a turn that went well.

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
        """Every line is words of the agent; the last one that is not blank is its claim."""
        fold = Fold(state)
        text = cut(line.decode("utf-8", "replace").rstrip("\r"), WORDS_LIMIT)
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
            ok = succeeded(exit)
            fold.tell(TurnEnded(claim=fold.state["last"], ok=ok, error="" if ok else f"the program ended: {exit}"))
        return fold.step()
