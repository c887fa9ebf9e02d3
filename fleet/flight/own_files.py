"""The agent's own session file, read when a session ends and compared with what its stream said, call by call.

It is read on the machine by the agents' login, within bounds, before the session's room is removed. What it says is
testimony. Where there is no such file, or the machine does not answer, nothing is compared. The task has ended by
then: it does not wait for this, and does not fail by it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from codecs import BOM_UTF8
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fleet.agents.file_readers import PLACES, READERS
from fleet.agents.lines import NOT_UNDERSTOOD
from fleet.agents.logins import login_of
from fleet.errors import AirbossError, LeadershipLost, LeaseLost, StoreUnavailable
from fleet.events import ToolCallEnded, ToolCallStarted
from fleet.exits import succeeded
from fleet.flight.services import Services
from fleet.flight.surroundings import room_of
from fleet.imports import Fact, ImportedAgent
from fleet.model import Session
from fleet.store import reconciling

_log = logging.getLogger(__name__)

_PATIENCE_S: Final = 10.0
_MOST: Final = 16 << 20
"""Bytes of all files of a session. Of what is larger, its beginning is compared."""

_FACTS: Final = 10_000
"""Starts and ends of calls: what an agent can make the ledger take by a file is bounded."""

_AT_ONCE: Final = 1_000  # in one transaction
_HEAD: Final = 1 << 20  # of the answer: the files' names
_LEEWAY_US: Final = 2_000_000

_READ: Final = """
import json, os, stat, sys
asked = json.loads(sys.stdin.read())
told, names, parts, left, seen = asked["conversation"], [], [], asked["most"], set()
whole, files = True, 0

def tops():
    for folder in asked["folders"]:
        real = above = os.path.realpath(folder)
        yield real
        while above != "/":
            layer = above.replace("%", "%25").replace("/", "%2f")
            yield asked["room"] + "/layers/" + layer + "/upper" + real[len(above):]
            above = os.path.dirname(above)

def content(path, name):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(fd, "rb") as file:
        known = os.fstat(fd)
        if not stat.S_ISREG(known.st_mode) or (known.st_dev, known.st_ino) in seen:
            return b""
        seen.add((known.st_dev, known.st_ino))
        head = file.read(1 << 16) if known.st_mtime >= asked["since"] else b""
        if not head or (told not in name and told.encode() not in head):
            return b""
        return head + file.read(max(0, left + 1 - len(head)))

for top in tops():
    for place in asked["places"]:
        for folder, _, found in os.walk(os.path.join(top, place)):
            for name in found:
                files += 1
                if not name.endswith(".jsonl") or files > 50000 or left <= 0 or len(names) >= 500:
                    whole = whole and not name.endswith(".jsonl")
                    continue
                try:
                    data = content(os.path.join(folder, name), name)
                except OSError:
                    whole = False
                    continue
                whole = whole and len(data) <= left
                data = data[:left]
                left -= len(data)
                if data:
                    names.append([name, len(data)])
                    parts.append(data)
sys.stdout.buffer.write(json.dumps({"whole": whole, "files": names}).encode() + b"\\n" + b"".join(parts))
"""


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """What the files of a session report. ``whole``: they were read to their end, without a bad line."""

    agent: ImportedAgent
    facts: tuple[Fact, ...]
    whole: bool
    since_us: int


async def read(services: Services, session: Session) -> OwnFiles | None:
    """What the agent's own files say of a session whose process has ended; ``None`` where there is none, or it
    cannot be read now."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await _read(services, session)
    except (AirbossError, TimeoutError) as error:
        _log.info("the session file of %s is not compared: %s", session.id, error)
    except NOT_UNDERSTOOD:
        _log.info("the session file of %s is not compared: the answer was malformed", session.id)
    except Exception:
        _log.exception("the session file of %s is not compared", session.id)
    return None


async def compare(services: Services, session: Session, own: OwnFiles) -> None:
    """Records what differs between the stream of an ended session and its files."""

    told = [session.resume]
    try:
        known = await services.store.read(lambda tx: reconciling.watched(tx, told), long=True)
        for at in range(0, len(own.facts), _AT_ONCE):
            part = partial(reconciling.compare, facts=own.facts[at : at + _AT_ONCE], since_us=own.since_us)
            await services.store.write(partial(part, agent=own.agent, known=known))
        if own.whole:
            await services.store.write(lambda tx: reconciling.missing(tx, told))
    except (StoreUnavailable, LeaseLost, LeadershipLost):
        raise
    except Exception:
        _log.exception("the session file of %s is not compared", session.id)


async def _read(services: Services, session: Session) -> OwnFiles | None:
    config = services.agent_of(session)
    if config.driver not in list(ImportedAgent) or not session.resume:
        return None
    agent = ImportedAgent(config.driver)
    executor = services.executors.agent(session.machine, session.login)
    facts = await executor.facts()
    login = login_of(config.driver, config.settings, config.settings.get("HOME") or facts.home, tuple(config.login))
    since_us = session.started_us + facts.clock_us - services.clock.now_us() - _LEEWAY_US
    question = {
        "folders": login.directories,
        "room": f"{executor.root}/{room_of(services.store, session)}",
        "places": PLACES[agent],
        "conversation": session.resume,
        "since": since_us / 1_000_000,
        "most": _MOST,
    }
    ran = await executor.run(
        [services.machine_of(session).python, "-I", "-S", "-E", "-c", _READ],
        stdin=json.dumps(question).encode(),
        timeout=_PATIENCE_S,
        limit=_HEAD + _MOST,
    )
    if not succeeded(ran.exit):
        return None
    return await asyncio.to_thread(_decoded, agent, session.resume, ran.out, since_us)


def _decoded(agent: ImportedAgent, conversation: str, answer: bytes, since_us: int) -> OwnFiles | None:
    """The facts of this conversation. Raises one of ``NOT_UNDERSTOOD`` for a malformed answer."""
    head, _, content = answer.partition(b"\n")
    said: dict[str, Any] = json.loads(head)
    whole, named, found = said["whole"] is True, False, list[Fact]()
    for name, size in said["files"]:
        if type(size) is not int or not 0 < size <= len(content):
            raise ValueError("a file of another size")
        stem, data, content = str(name).removesuffix(".jsonl"), content[:size], content[size:]
        facts, fine = _facts(agent, stem, data)
        found += [fact for fact in facts if fact.conversation == conversation and _is_call(fact)]
        whole, named = whole and fine, named or conversation in stem
    whole = whole and len(found) <= _FACTS
    return OwnFiles(agent, tuple(found[:_FACTS]), whole, since_us) if named else None


def _is_call(fact: Fact) -> bool:
    return isinstance(fact.event, ToolCallStarted | ToolCallEnded)


def _facts(agent: ImportedAgent, stem: str, data: bytes) -> tuple[list[Fact], bool]:
    """What a file reports, and whether each of its lines was understood."""
    reader, found, fine = READERS[agent](stem), list[Fact](), True
    for line in data.split(b"\n"):
        if line.strip():
            try:
                found += reader.feed(line.removeprefix(BOM_UTF8))
            except NOT_UNDERSTOOD:
                fine = False
    return found + reader.close(), fine
