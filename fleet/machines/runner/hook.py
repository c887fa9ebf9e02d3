"""The hook client: what an agent that a person started by hand runs before it edits, and when something happened.

``airboss hooks install`` copies this file and its parts to ``<directory>/client/airboss_hook/`` and adds it to
an agent's hooks. The person waits for it at every tool call, and ``json``, ``socket`` and ``os`` would double its
start: it uses what is built into the interpreter. It keeps nothing that grows, but a journal while hooks are off.

It fails closed where it counts. Exit status 0: the answer is on standard output. Anything else: the shell around it
(``fleet/agents/hooked.py``) refuses an edit. In a repository that the fleet does not know it allows at once.

``<directory>`` (0700, of the person's login)::

    settings.json   {"socket": PATH, "known": [[NAME, ADDRESS], ...], "next": [PATH, ...], "last": PATH}: the
                    fleet's repositories by their remote, other controllers' sockets, which one answered last
    off             {"since": SECONDS}: written by ``airboss hooks off``; good for eight hours
    journal         a line of JSON for each period without hooks and each edit in it, until a controller took them
    sessions/ID     the secret of a session, good for that session only
"""

from __future__ import annotations

import posix
import time

from .hook_parts import (
    EditRefused,
    above,
    addresses,
    answers,
    apart,
    decode,
    encode,
    exchange,
    is_there,
    join,
    limit,
    plain,
    read,
    read_all,
    real,
    remotes,
    top_of,
    whole_row,
    within,
    write,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    Json = dict[str, Any]

OFF_SECONDS = 8 * 3600
PATIENCE = {"start": 5.0, "edit": 8.0, "note": 3.0, "stop": 1700.0, "end": 2.0}
"""Seconds until this client gives up: always less than the agent's own patience with a hook."""

PAUSE, LOOK = 2.0, 30.0
"""Seconds until the next controller is asked too; in which one that judges must show that it lives."""

HELP = "Run `airboss hooks off` to edit without Airboss for up to 8 hours."
_SHELLS, _PATCH = ("Bash", "exec_command", "shell"), "*** Begin Patch"
_JOURNAL_BYTES = 1 << 20
_LONGEST = 4000
_SHOWN = ("stdout", "stderr", "output", "content", "text", "file")
_PASSED = (
    *("session_id", "agent_id", "agent_type", "tool_name", "tool_use_id", "hook_event_name", "cwd", "source"),
    *("reason", "transcript_path", "stop_hook_active", "error"),
)


def main(agent: str, mode: str) -> None:
    """Reads the agent's event from standard input and writes the answer. Raises for whatever went wrong."""
    directory = above(above(above(__file__)))
    client = Client(directory, agent, mode)
    limit(PATIENCE[mode])
    off = off_since(directory)
    event = decode(read_all(0))
    if mode == "start":
        client.start(event, off)
    elif off and mode == "edit" and is_edit(event):
        client.edited_while_off(event)
    elif off:
        return
    elif mode == "stop":
        try:
            client.stop(event)
        except Exception as error:  # it may stop, and its person knows that nothing was judged
            say({"systemMessage": "Airboss: the gates did not judge this: %s" % told(error)})
    elif mode == "end":
        client.end(event)
    elif mode != "edit" or not is_edit(event):
        client.note_if_possible(event)
    else:
        try:
            client.edit(event)
        except Exception as error:  # whatever it is: an edit that was not allowed is refused
            say(refusal("Airboss refuses this edit: %s. %s" % (told(error), HELP)))


class Client:
    """One event of one session."""

    def __init__(self, directory: str, agent: str, mode: str) -> None:
        self.directory, self.agent, self.pause = directory, agent, min(PAUSE, PATIENCE[mode] / 4)
        self.settings = decode(read(join(directory, "settings.json")))

    # --- events -----------------------------------------------------------------------------------------

    def start(self, event: Json, off: float) -> None:
        """Proves that a controller answers, takes the list of repositories from it, and begins the session."""
        try:
            self._know()
            self._hand_over()
        except (EditRefused, OSError, ValueError) as error:
            if self._repository(_cwd(event)) and not off:
                say({"systemMessage": "Airboss: %s. It refuses every edit here. %s" % (error, HELP)})
            return
        found = self._repository(_cwd(event))
        if found is None:
            return
        if off:
            left = max(1, int((off + OFF_SECONDS - time.time()) / 60))
            say({"systemMessage": "Airboss: hooks are off for %d more minutes. airboss hooks on" % left})
            return
        try:
            said = self._begin(event, found)
        except (EditRefused, OSError, ValueError) as error:
            said = "Airboss: %s. It refuses every edit here. %s" % (error, HELP)
        say({"systemMessage": said})

    def edit(self, event: Json) -> None:
        """Asks for each file of a known repository; the first refusal counts."""
        wanted: dict[tuple[str, str], list[str]] = {}
        for path in paths_of(event):
            whole = real(join(_cwd(event), path))
            found = self._repository(above(whole))
            if found is not None:
                wanted.setdefault(found, []).append(within(whole, found[1]))
        for (name, top), paths in wanted.items():
            answer = self._proved("edit", event, {"repo": name, "top": top, "paths": paths})
            if answer.get("say"):
                say(answer["say"])
                return

    def end(self, event: Json) -> None:
        """It is over. The agent waits for this for a moment only: what takes longer goes on without it."""
        try:
            self.note(event, "end")
        except EditRefused:
            apart(PATIENCE["stop"])
            time.sleep(PAUSE)
            self.note(event, "end")

    def note(self, event: Json, mode: str = "note") -> None:
        """What happened in a session that was begun; at its end, its secret is forgotten."""
        if not self._secret(event):
            return
        found = self._repository(_cwd(event)) or ("", "")
        command = str(_given(event).get("command") or "")[:_LONGEST]
        more = {"repo": found[0], "top": found[1], "command": command, "size": output_size(event)}
        answer = self._proved(mode, event, more)
        if answer.get("say"):
            say(answer["say"])
        if mode == "end":
            posix.unlink(self._secret_file(event))

    def stop(self, event: Json) -> None:
        """Hands over the working copy's tree, if it differs from its base, and says what the gates made of it."""
        found = self._repository(_cwd(event))
        if found is None or not self._secret(event):
            return
        from . import hook_stop

        more = {"repo": found[0], "top": found[1]}
        answer = self._proved("stop", event, {**more, "tips": hook_stop.tips(found[1])})
        handed = hook_stop.handed(found[1], answer["base"]) if answer.get("base") else None
        if handed is not None:
            work = {"secret": self._secret(event), "tree": handed.tree, "base": answer["base"]}
            answer = self._ask("judge", event, {**more, **work, "pack": len(handed.pack)}, handed.pack)
        if answer.get("say"):
            say(answer["say"])

    def note_if_possible(self, event: Json) -> None:
        """As :meth:`note`. Whatever goes wrong, the agent goes on."""
        try:
            self.note(event)
        except Exception:
            return

    def edited_while_off(self, event: Json) -> None:
        """Nobody is asked. What was edited is told to a controller later."""
        for path in paths_of(event):
            whole = real(join(_cwd(event), path))
            found = self._repository(above(whole))
            if found is not None:
                row = {"at": int(time.time()), "repo": found[0], "path": within(whole, found[1])[:500]}
                journal(self.directory, {**row, "session": str(event.get("session_id"))[:80]})

    # --- the controller ---------------------------------------------------------------------------------

    def _know(self) -> None:
        answer = self._ask("know", {}, {})
        self._keep({name: answer[name] for name in ("known", "next") if isinstance(answer.get(name), list)})

    def _keep(self, new: Json) -> None:
        if any(self.settings.get(name) != value for name, value in new.items()):
            self.settings.update(new)
            write(join(self.directory, "settings.json"), encode(self.settings))

    def _hand_over(self) -> None:
        """Tells the controller what happened without it. The journal is taken aside first: nothing is told twice
        unless we die in between, and nothing is lost."""
        path, aside = join(self.directory, "journal"), join(self.directory, "journal.told")
        if not is_there(aside):
            try:
                posix.rename(path, aside)
            except OSError:
                return
        lines = read(aside).splitlines()
        for first in range(0, len(lines), 500):
            rows = [row for row in map(whole_row, lines[first : first + 500]) if row]
            self._ask("journal", {}, {"rows": rows})
        posix.unlink(aside)

    def _begin(self, event: Json, found: tuple[str, str]) -> str:
        answer = self._ask("begin", event, {"repo": found[0], "top": found[1]})
        if not answer.get("secret"):
            raise EditRefused("the controller gave no secret")
        write(self._secret_file(event), str(answer["secret"]).encode())
        return str(answer.get("text", ""))

    def _proved(self, op: str, event: Json, more: Json) -> Json:
        """One request with the session's secret. A session that the controller does not know is begun first."""
        for _ in range(2):
            secret = self._secret(event)
            if secret:
                answer = self._ask(op, event, {**more, "secret": secret})
                if answer.get("adopt"):
                    from . import hook_stop

                    say(hook_stop.adopted(self._ask, event, {**more, "secret": secret}, ends=op == "end"))
                if op == "end" or not answer.get("unknown"):
                    return answer
            if not more["repo"]:
                return {}
            self._begin(event, (more["repo"], more["top"]))
        raise EditRefused("the controller does not know this session")

    def _secret_file(self, event: Json) -> str:
        session = "".join(ch for ch in str(event.get("session_id", "")) if ch.isalnum() or ch == "-")[:80]
        return join(self.directory, "sessions/" + (session or "none"))

    def _secret(self, event: Json) -> str:
        return read(self._secret_file(event)).decode("ascii", "replace")

    def _ask(self, op: str, event: Json, more: Json, pack: bytes = b"") -> Json:
        """One request, which ``pack`` follows, and its answer. Raises ``EditRefused`` in the controller's words."""
        request: Json = {name: event[name] for name in _PASSED if name in event}
        request = {key: value[:_LONGEST] if isinstance(value, str) else value for key, value in request.items()}
        request.update(more)
        sent = self._line(op, request) + pack
        paths = addresses(self.settings)
        try:
            line, path = exchange(paths, sent, *((LOOK, self._lives) if pack else (self.pause, None)))
        except OSError as error:
            raise EditRefused("no controller answers (%s)" % (error.strerror or error)) from error
        answer = decode(line)
        if "end" not in answer:
            raise EditRefused("the controller stopped before it answered")
        if path != paths[0]:
            self._begin_with(path)
        if answer["end"] != 0:
            said = str(answer.get("error") or "the controller refused").splitlines()
            raise EditRefused(". ".join(line.strip().rstrip(".") for line in said))
        data = answer.get("data")
        return data if isinstance(data, dict) else {}

    def _begin_with(self, path: str) -> None:
        try:
            self._keep({"last": path})
        except OSError:  # a full disk, for one: it is found again next time
            return

    def _line(self, op: str, given: Json) -> bytes:
        return encode({"v": 1, "do": "hook", "op": op, "agent": self.agent, "given": given}) + b"\n"

    def _lives(self, path: str) -> bool:
        return answers(path, self._line("know", {}), PATIENCE["edit"])

    # --- repositories -----------------------------------------------------------------------------------

    def _repository(self, directory: str) -> Optional[tuple[str, str]]:
        """The fleet's name of the repository that ``directory`` is in, and its top; ``None``: not the fleet's."""
        known = {row[1]: row[0] for row in self.settings.get("known", ())}
        top, git = top_of(directory)
        if not top:
            return None
        for address in [*remotes(git), top, git]:
            name = known.get(plain(address))
            if name is not None:
                return name, top
        return None


# --- events -----------------------------------------------------------------------------------------------


def is_edit(event: Json) -> bool:
    """Whether the call edits files itself: all that are asked about, but commands of a shell without a patch."""
    return event.get("tool_name") not in _SHELLS or _PATCH in str(_given(event).get("command"))


def paths_of(event: Json) -> list[str]:
    """The files that an edit names: one of Claude Code's, or those of Codex's patch."""
    given = _given(event)
    named = [given.get("file_path"), given.get("notebook_path")]
    patch = given.get("command") or given.get("input") or given.get("patch")
    if isinstance(patch, list):
        patch = patch[-1] if patch else ""
    if event.get("tool_name") in ("apply_patch", *_SHELLS) and isinstance(patch, str):
        for line in patch.splitlines():
            mark, found, path = line.partition(" File: ")
            if found and mark in ("*** Add", "*** Update", "*** Delete"):
                named.append(path.strip())
            elif line.startswith("*** Move to: "):
                named.append(line[len("*** Move to: ") :].strip())
    found_paths = [path for path in named if isinstance(path, str) and path]
    if not found_paths:
        raise EditRefused("the agent does not say which file it edits")
    return found_paths


def output_size(event: Json) -> Optional[int]:
    """The bytes of what a tool printed or answered, in the fields that have it; ``None`` where none is there."""
    shown = event.get("error") or event.get("tool_response")
    texts = _texts(shown) if shown is not None else []
    return sum(len(text.encode("utf-8", "replace")) for text in texts) if texts else None


def _texts(shown: Any) -> list[str]:
    if isinstance(shown, str):
        return [shown]
    if isinstance(shown, list):
        return [text for part in shown for text in _texts(part)]
    if isinstance(shown, dict):
        return [text for name in _SHOWN if name in shown for text in _texts(shown[name])]
    return []


def told(error: Exception) -> str:
    return str(error) or type(error).__name__


def refusal(why: str) -> Json:
    """An answer to the agent, before an edit."""
    said = {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": why}
    return {"hookSpecificOutput": said}


def say(answer: Json) -> None:
    """Writes the answer that the agent reads."""
    posix.write(1, encode(answer) + b"\n")


def _given(event: Json) -> Json:
    given = event.get("tool_input")
    return given if isinstance(given, dict) else {}


def _cwd(event: Json) -> str:
    named = event.get("cwd")
    return named if isinstance(named, str) and named else posix.getcwd()


# --- off ----------------------------------------------------------------------------------------------------


def off_since(directory: str, now: float = 0.0) -> float:
    """Since when hooks are off, seconds since the epoch; 0: they are on. Eight hours end it, whatever the clock."""
    text = read(join(directory, "off"))
    if not text:
        return 0.0
    since, now = float(decode(text).get("since", 0)), now or time.time()
    return since if since - 60 <= now < since + OFF_SECONDS else 0.0


def journal(directory: str, row: Json) -> None:
    """Adds a line to what a controller is told later; a journal that is full takes no more."""
    path = join(directory, "journal")
    descriptor = posix.open(path, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT, 0o600)
    try:
        if posix.fstat(descriptor).st_size < _JOURNAL_BYTES:
            posix.write(descriptor, encode(row) + b"\n")
    finally:
        posix.close(descriptor)
