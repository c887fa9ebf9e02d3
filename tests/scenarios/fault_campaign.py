"""Plays whole flights in a controller of this process, with or without a fault, and says how each came out."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from bot.cards import Card, shown
from bot.chats.console.render import render_edit
from bot.outbox.port import Outgoing
from fleet.faults import Fault, Point, injected
from fleet.store.contents import FIELDS
from tests.far_end.repositories import git
from tests.scenarios.fault_house import Controller, built

_NEVER: Final = 1 << 40

#: How much faster than ours the clock of a controller runs, so that a minute's outage takes six seconds.
PACE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Told:
    """How a flight came out. ``problems``: what must never be, whatever the fault was."""

    ledger: tuple[str, ...]
    said: tuple[str, ...]
    cards: tuple[str, ...]
    content: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """A flight that was played. ``sites``: what visited each point; ``raised``: how often the fault struck."""

    told: Told
    sites: dict[Point, Counter[str]]
    raised: int
    seconds: float


# --- the flights ------------------------------------------------------------------------------------------


def _landed(there: Controller) -> None:
    there.say("/run chatter 3\nwrite BAD\nthen-write GOOD at last")
    there.await_state("landed")


def _red(there: Controller) -> None:
    there.say("/run write BAD")
    there.await_state("failed")


def _released(there: Controller) -> None:
    there.say('/run write GOOD\nshell echo "print(1)" >> check.py')
    there.await_state("held")
    there.await_card("held for a person")
    there.say("/approve t1")
    there.await_state("landed")


def _denied(there: Controller) -> None:
    there.say('/run write GOOD\nshell echo "print(1)" >> check.py')
    there.await_state("held")
    there.await_card("held for a person")
    there.say("/deny t1")
    there.await_state("refused")


def _stopped(there: Controller) -> None:
    there.say("/run write half\nshell while :; do sleep 0.05; done")
    there.await_event("agent.said")
    there.say("/stop t1")
    there.await_state("stopped")


def _answered(there: Controller) -> None:
    there.say("/ask chatter 3")
    there.await_state("answered")
    there.say("/digest")
    there.say("/logs t1")


def _permitted(there: Controller) -> None:
    there.say("/run agent=asking deploy it")
    there.await_event("permission.asked")
    there.await_card("make deploy")
    there.say("/approve t1")
    there.await_state("landed")


FLIGHTS: Final[dict[str, Callable[[Controller], None]]] = {
    "landed": _landed,
    "red": _red,
    "released": _released,
    "denied": _denied,
    "stopped": _stopped,
    "answered": _answered,
    "permitted": _permitted,
}


#: Flights in which the task may end before or after its process does: a stop waits for no machine.
_ENDS_FIRST: Final = {"stopped"}


def play(flight: str, fault: Fault | None = None, pace: float = PACE) -> Played:
    """Plays a flight with a fault in it, then one more task without; answers how it came out."""
    began = time.monotonic()
    with built(pace) as there, ExitStack() as stack:
        there.start()
        wanted = {point: Fault(point, first=_NEVER) for point in Point}
        if fault is not None:
            wanted[fault.point] = fault
        counted = {point: stack.enter_context(injected(each, there.now)) for point, each in wanted.items()}
        FLIGHTS[flight](there)
        there.await_quiet("t1")
        sites = {point: each.sites.copy() for point, each in counted.items()}
        raised = sum(each.raised for each in counted.values())
        stack.close()
        there.say("/run write GOOD after all")
        there.await_state("landed", "t2")
        there.say("/status")
        there.await_quiet("t1", "t2")
        there.stop()
        told = _told(there, faulty=fault is not None and fault.point is Point.MACHINE_CALL)
        return Played(told, sites, raised, time.monotonic() - began)


@cache
def undisturbed(flight: str) -> Played:
    """The flight without a fault, played once in this process."""
    return play(flight)


@cache
def steady_sites(flight: str) -> dict[Point, Counter[str]]:
    """What visits each point in both of two undisturbed flights, and how often at least."""
    again = play(flight)
    return {point: undisturbed(flight).sites[point] & again.sites[point] for point in Point}


class Length(StrEnum):
    """How long a fault lasts, by the controller's clock."""

    ONCE = "once"
    THRICE = "thrice"
    SECONDS = "2s"  # past every first retry
    MINUTE = "60s"
    REAL_MINUTE = "60 real seconds"  # past the leases, too

    @property
    def pace(self) -> float:
        """How fast the controller's clock runs in such a case."""
        return 1.0 if self is Length.REAL_MINUTE else PACE

    def at(self, point: Point, site: str, visit: int = 1) -> Fault:
        """Such a fault, from this visit of a site on."""
        match self:
            case Length.ONCE:
                return Fault(point, visit, site=site)
            case Length.THRICE:
                return Fault(point, visit, times=3, site=site)
            case Length.SECONDS:
                return Fault(point, visit, times=0, seconds=2.0, site=site)
            case Length.MINUTE | Length.REAL_MINUTE:
                return Fault(point, visit, times=0, seconds=60.0, site=site)


@dataclass(frozen=True, slots=True)
class Case:
    """One fault in one flight."""

    flight: str
    length: Length
    fault: Fault

    def __str__(self) -> str:
        return f"{self.flight}, {self.fault.point} {self.length} from visit {self.fault.first} of {self.fault.site}"


def cases(flight: str, point: Point, length: Length, seed: int) -> list[Case]:
    """Such a fault at the sites that fall to this flight: at the first visit, and at one of the later ones.

    Visits from one site are the same code in the same place, so two of them stand for all. A site that several
    flights visit falls to one of them by the seed.
    """
    chance, found = Random(f"{seed} {flight} {point} {length}"), list[Case]()
    for site, visits in sorted(steady_sites(flight)[point].items()):
        having = [name for name in FLIGHTS if steady_sites(name)[point][site]]
        if Random(f"{seed} {site}").choice(having) == flight:
            # A site that is visited by the clock is visited less often on a busy machine: not its last visits.
            chosen = [1, *([chance.randint(2, visits // 2)] if visits > 3 else [])]
            found += [Case(flight, length, length.at(point, site, visit)) for visit in chosen]
    return found


def case_at(flight: str, point: Point, function: Callable[..., object], length: Length, visit: int = 1) -> Case:
    """Such a fault from this visit on of the most visited site whose name holds this function."""
    visits = undisturbed(flight).sites[point]
    site = max((site for site in visits if function.__qualname__ in site), key=lambda site: visits[site])
    return Case(flight, length, length.at(point, site, visit))


class Ruling(StrEnum):
    """What a case showed. A fault that never struck shows nothing: it is no pass."""

    PASSED = "passed"
    NOT_STRUCK = "not struck"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Judged:
    """A case that was played. ``found``: one line for each thing that came out otherwise than undisturbed."""

    case: Case
    ruling: Ruling
    found: tuple[str, ...] = ()


def judge(case: Case) -> Judged:
    """Plays a case and compares how it came out."""
    try:
        played, plain = play(case.flight, case.fault, case.length.pace), undisturbed(case.flight).told
    except Exception as error:
        return Judged(case, Ruling.FAILED, (f"{case}: {type(error).__name__}: {error}",))
    told = played.told
    found = [f"{case}: {problem}" for problem in told.problems]
    for name in ("ledger", "said", "cards", "content"):
        expected, got = getattr(plain, name), getattr(told, name)
        if name == "ledger" and case.flight in _ENDS_FIRST:
            expected, got = sorted(expected), sorted(got)
            if case.fault.point is Point.MACHINE_CALL and not any(map(_saved, got)):
                expected = [line for line in expected if not _saved(line)]  # the keeper saves it within the hour
        if got != expected:
            changes = "\n".join(unified_diff(list(expected), list(got), n=0, lineterm=""))
            found.append(f"{case}: another {name}:\n{changes}")
    if found:
        return Judged(case, Ruling.FAILED, tuple(found))
    if not played.raised:
        return Judged(case, Ruling.NOT_STRUCK, (f"{case}: the fault never struck",))
    return Judged(case, Ruling.PASSED)


def _saved(line: str) -> bool:
    return line.startswith("t1 snapshot.made ")


# --- how it came out --------------------------------------------------------------------------------------


def _told(there: Controller, *, faulty: bool) -> Told:
    tidy, tidy_of = _Tidy(there.directory), {task: _Tidy(there.directory) for task in ("t1", "t2")}
    events = there.rows("SELECT * FROM ledger WHERE task IN ('t1', 't2') ORDER BY seq")
    contents = {row["seq"]: row["said"].decode() for row in there.rows("SELECT seq, said FROM contents")}
    unavailable = _unavailable_runs(events)
    lines: list[str] = []
    # The ledger's root is sent beside the task's own steps: before or after any of them.
    posted: list[tuple[str, str]] = []
    said: dict[str, list[str]] = {}
    in_turn = False
    for row in events:
        body = json.loads(row["canonical"])["body"]
        if row["seq"] in contents:
            body[FIELDS[row["kind"]]] = contents[row["seq"]]
        if row["kind"] == "agent.said":  # where the words are parted depends on when they come
            said.setdefault(row["turn"], []).append(body["text"])
        elif row["kind"] != "link.changed" and row["gate_run"] not in unavailable:
            in_turn = row["kind"] == "turn.started" or (in_turn and row["kind"] != "turn.closed")
            if faulty and not in_turn and row["kind"] == "pipe.ended" and body["raw_wait_status"] == signal.SIGTERM:
                # Its turn was over, and the word to end did not reach it in time: that it was ended is as good.
                body |= {"exit": {"code": 0, "how": "exited"}, "raw_wait_status": 0}
            if faulty and row["kind"] == "session.ended":
                body["why"] = ""  # a machine that is away keeps what is left there, and the event says so
            if unavailable and row["kind"] == "verdict.given":  # it says of a run that it is the second one
                body["reasons"] = [reason for reason in body["reasons"] if ": passed on run " not in reason]
            if unavailable and row["kind"] == "task.moved":
                body["why"] = "; ".join(part for part in body["why"].split("; ") if not _EARLIER.search(part))
            told = f"{row['task']} {row['kind']} {row['actor']} {json.dumps(body, sort_keys=True)}"
            if row["kind"] == "root.posted":
                posted.append((row["task"], told))
            else:
                lines.append(tidy_of[row["task"]](_AGAIN.sub("", told) if unavailable else told))
    problems = [f"{name} does not run" for name in there.unwell]
    seqs = [row["seq"] for row in there.rows("SELECT seq FROM ledger ORDER BY seq")]
    if seqs != list(range(1, len(seqs) + 1)):
        problems.append("the ledger has holes")
    return Told(
        (*lines, *(tidy_of[task](line) for task, line in posted)),
        tuple(f"{turn}: {line}" for turn, texts in said.items() for line in "\n".join(texts).splitlines()),
        tuple(_cards(there, tidy, problems, faulty=faulty)),
        (*git(there.bare, "log", "--format=%T %s", "main").splitlines(), git(there.bare, "show", "main:work.txt")),
        tuple(problems),
    )


#: What a failed run says of those that were unavailable before it.
_AGAIN: Final = re.compile(r" \(run \d+(?:[;,] run \d+ unavailable)+\)")

#: A part of a sentence about a change that says so.
_EARLIER: Final = re.compile(r": passed on run \d+$|^run \d+ unavailable: ")


def _unavailable_runs(events: list[sqlite3.Row]) -> set[str]:
    """Gate runs that were closed as unavailable: the design judges again after them."""
    closed = [row for row in events if row["kind"] == "gate.closed"]
    return {row["gate_run"] for row in closed if json.loads(row["canonical"])["body"]["outcome"] == "unavailable"}


def _cards(there: Controller, tidy: _Tidy, problems: list[str], *, faulty: bool) -> list[str]:
    """The last form of each message that a person sees; adds what was doubled or is not what the store has."""
    assert there.cards is not None
    screen: dict[str, Outgoing] = {}
    last: dict[str, Card] = {}
    sent: Counter[int] = Counter()
    while not there.cards.empty():
        outgoing = there.cards.get_nowait()
        sent[outgoing.id] += 1
        if sent[outgoing.id] > 1 and not outgoing.again:
            problems.append(f"row {outgoing.id} was shown twice, unmarked")
        if not outgoing.edits:
            screen[f"row {outgoing.id}"] = outgoing
        last[outgoing.key or str(outgoing.id)] = outgoing.card
    kept: dict[str, set[str]] = {}
    for row in there.rows("SELECT * FROM outbox ORDER BY id"):
        if row["state"] == "delivered":
            kept[row["card_key"]] = {row["card_json"]}
        elif row["card_key"] == _PINNED:  # drawn as the controller ended: it may be shown and not yet noted so
            kept.setdefault(_PINNED, set()).add(row["card_json"])
        else:
            problems.append(f"outbox row {row['id']} is {row['state']}: {row['why']}")
    if _PINNED not in last:
        kept.pop(_PINNED, None)  # an answer is shown where it was asked for; only its changes are shown to all
    for key, cards in kept.items():
        # The console shows no line about an edit that says nothing new.
        lines = {render_edit(Card.from_json(card), colour=False) for card in cards}
        if key and (key not in last or render_edit(last[key], colour=False) not in lines):
            problems.append(f"card {key} does not show its last state")
    titles = (shown(last[outgoing.key or str(outgoing.id)].title) for outgoing in screen.values())
    return sorted(
        tidy(title) for title in titles if not title.startswith(_LIVE) and not _broken_link(title, faulty)
    )


def _broken_link(title: str, faulty: bool) -> bool:
    """Whether a message says what a fault of a machine's calls did, and nothing else."""
    return faulty and title.endswith("no link to evo-x2")


#: How the title of the pinned card begins that says what is going on just now.
_LIVE: Final = "fleet:"


#: The pinned card's key.
_PINNED: Final = "status"


class _Tidy:
    """Names what differs from run to run by the order in which it is first met."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._names: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        text = text.replace(self._directory, "DIR")
        # A token only grows, a disk only fills.
        text = re.sub(r'"(\w+_us|fencing_token|disk)": \d+', r'"\1": 0', text)
        # The root is that of the moment.
        text = re.sub(r'( root\.posted .*"size": )\d+', r"\g<1>0", text)
        text = re.sub(r'"(t\d+\.\d+\.\d+-[a-z]+)-\d+"', r'"\1"', text)  # a gate's run that was done again
        return re.sub(r"\b[0-9a-f]{7,64}\b", self._named, text)

    def _named(self, found: re.Match[str]) -> str:
        return self._names.setdefault(found[0], f"#{len(self._names)}")
