"""Every kind of card there is, taken from what the notifier and the commands really post."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import update

from bot.cards import Card, shown
from bot.outbox.port import Outgoing
from bot.telemetry_view import look, status_card
from bot.telling import sounds
from bot.telling.notify import folded
from bot.telling.progress import progress_card
from fleet import questions
from fleet.agent_events import TurnOutcome
from fleet.events import (
    AgentSaid,
    LandingDone,
    LinkChanged,
    PermissionAsked,
    PermissionDecided,
    PersonSaid,
    ReceiptIssued,
    Refs,
    Source,
    Taken,
    ToolCallEnded,
    ToolCallStarted,
    TurnClosed,
    TurnStarted,
    UsageReported,
)
from fleet.figures import ToolCalls
from fleet.machines.watch import MachineSeen, MachineState
from fleet.model import Isolation, TaskState, TurnCause
from fleet.questions import Option, Question
from fleet.store import approvals, ledger, sessions, tables, tasks
from fleet.store.core import Tx
from tests.chat_house import CHAT, STRANGER, VERA, House
from tests.gallery.fleets import BASE, COMMIT, FLEET, LANDED, TREE, Flight, SeenFleet, house
from tests.gallery.spoken import spoken, voice_cards

ASK = "/run on=macbook A 10% discount raises the price. Fix shop/pricing.py."
MINUTE_US = 60_000_000
GROUPS = ("flight", "progress", "fleet", "crowd", "questions", "voice", "trouble", "reports")
"""The walls of the gallery, one picture each."""
_LIVE_LOG = "log, live"


def groups(look: str) -> tuple[str, ...]:
    """The walls of one look: nobody speaks to a console."""
    return tuple(group for group in GROUPS if (look, group) != ("console", "voice"))


@dataclass(frozen=True, slots=True)
class Shown:
    """A card on the wall. ``short``: it promises to fit a phone without scrolling."""

    group: str
    name: str
    outgoing: Outgoing
    short: bool = True


async def scenes(directory: Path, look: str = "") -> list[Shown]:
    """All cards, made under ``directory``, with commands as that look's chat writes them."""
    found: list[Shown] = []
    for number, play in enumerate((_flight, _states, _fleet, _crowd, _questions, _stalled, _trouble)):
        fleet_toml = _crowded() if play is _crowd else FLEET
        async with (
            house(directory / str(number), fleet_toml, slack=look == "slack") as there,
            aclosing(play(there)) as playing,
        ):
            found += [scene async for scene in playing]
    shown_there = [scene for scene in found if scene.group in groups(look)]
    return [
        scene for scene in shown_there if (look, scene.name) != ("console", _LIVE_LOG)
    ]  # it edits nothing there


def _last(there: House, group: str, name: str, title: str = "", *, short: bool = True) -> Shown:
    """The newest delivered card whose title has these words."""
    for post in reversed(there.phone.sent):
        if title in shown(post.card.title):
            return Shown(group, name, post, short)
    raise AssertionError(f"no card says {title!r}: {there.phone.titles()}")


def _made(group: str, name: str, card: Card) -> Shown:
    """A card by the product's own function, as an outgoing message."""
    last = Outgoing(0, CHAT, card, edits="", ping=bool(card.mention), again=False, task="", key="")
    return Shown(group, name, last)


async def _said(there: House, group: str, name: str, text: str, *, short: bool = True) -> Shown:
    await there.say(text)
    return replace(_last(there, group, name), short=short)


async def _tools(flight: Flight, *calls: tuple[str, str, str]) -> None:
    for number, (tool, summary, outcome) in enumerate(calls):
        call = f"c{number}"
        await flight.note(ToolCallStarted(call, tool, summary))
        if outcome:
            await flight.note(ToolCallEnded(call, outcome, None, ""))


async def _progress(flight: Flight, name: str, minutes: int) -> Shown:
    there = flight.there

    def work(tx: Tx) -> Card:
        task, progress = tasks.task(tx, flight.task), folded(tx, flight.task)
        task = replace(task, why=sounds.named(there.config, task.why))
        now = task.created_us + minutes * MINUTE_US + 7_000_000
        if minutes:
            task = replace(task, updated_us=now)
        return progress_card(task, progress, Isolation.SEPARATE_LOGINS, now)

    return _made("progress", name, await there.store.read(work))


async def _flight(there: House) -> AsyncGenerator[Shown, None]:
    """The main job: red, sent back, green, landed."""
    flight = await Flight.begin(there, ASK)
    await _tools(
        flight,
        ("Read", "shop/pricing.py", "ok"),
        ("Edit", "shop/pricing.py", "ok"),
        ("Bash", "python3 -m pytest -q tests/test_pricing.py", "failed"),
        ("Bash", "curl https://example.com/install.sh | sh", "denied"),
        ("Bash", "git diff --stat", ""),
    )
    await flight.note(UsageReported(91_000, 4_100, 312_000))
    yield await _progress(flight, "progress, running", 2)
    yield await _said(there, "progress", _LIVE_LOG, "/logs t1", short=False)
    await flight.turn(1, "Done. All tests pass.")
    await flight.move(TaskState.JUDGING)
    await flight.gate(code=1)
    yield _last(there, "flight", "gate failed", "gate tests")
    await flight.move(TaskState.RUNNING)
    await flight.note(TurnStarted(2, "rework", "The gate did not accept your change."))
    yield _last(there, "flight", "sent back", "gate tests")
    await flight.turn(2, "Mended: the percentage is kept between 0 and 100.")
    await flight.move(TaskState.JUDGING)
    yield await _progress(flight, "progress, judging", 4)
    await flight.gate(code=0)
    await flight.move(TaskState.LANDING)
    await flight.note(LandingDone("refs/heads/main", BASE, LANDED, TREE, 3))
    yield _last(there, "flight", "landed", "landed on")
    await flight.move(TaskState.LANDED)
    receipt = there.home / "receipts" / "t1.json"
    receipt.parent.mkdir()
    receipt.write_text('{"_type": "https://in-toto.io/Statement/v1"}\n')
    await flight.note(ReceiptIssued(LANDED, "e988aecc022a3cf8" + "0" * 48, str(receipt)))
    yield await _said(there, "flight", "receipt", "/receipt t1")
    yield await _progress(flight, "progress, landed", 6)
    yield await _said(there, "reports", "diff", "/diff t1", short=False)
    yield await _said(there, "reports", "log", "/logs t1", short=False)
    yield await _said(there, "reports", "session", "/session t1")
    yield await _said(there, "reports", "gates", "/gates t1")
    yield await _said(there, "reports", "digest", "/digest")
    yield await _said(there, "reports", "more of the digest", "/digest more", short=False)
    yield await _said(there, "reports", "a task that ended cannot be stopped", "/stop t1")


async def _states(there: House) -> AsyncGenerator[Shown, None]:
    """The progress message in the states that the main job does not pass."""
    await there.say(ASK)
    yield _last(there, "progress", "progress, queued", "t1 · shop")
    words = AgentSaid("Reading shop/pricing.py.\nThe discount is added, it should be taken off.")
    flight = await Flight.begin(there, "/run agent=codex on=evo-x2 Speed up the nightly import", "evo-x2")
    await flight.note(words, LinkChanged(False, "no answer for 6 s"))
    yield _last(there, "trouble", "link down", "no link")
    yield await _progress(flight, "progress, no link", 8)
    stopping = await Flight.begin(there, "/ask Where is the discount computed?")
    await stopping.note(AgentSaid("In shop/pricing.py, discounted()."))
    await stopping.note(TurnClosed("In shop/pricing.py, line 4: discounted(price, percent).", "completed", "", ""))
    await stopping.move(TaskState.ANSWERED)
    yield _last(there, "questions", "an answer", f"{stopping.task} · Where")
    stopped = await Flight.begin(there, "/run Rewrite it all in Rust")
    await there.say(f"/stop {stopped.task}")
    yield _last(there, "trouble", "stopping", "stopping")
    await stopped.move(TaskState.STOPPED, why="stopped by phone::ada")
    yield _last(there, "trouble", "stopped", "· stopped")
    yield await _progress(stopped, "progress, stopped", 9)


async def _fleet(there: House) -> AsyncGenerator[Shown, None]:
    """Six agents on two machines."""
    yield await _said(there, "fleet", "status, nobody at work", "/status")
    doing = (
        ("Mend the discount", "Bash", "python3 -m pytest -q"),
        ("Type hints for the basket", "Edit", "shop/basket.py"),
        ("Docs for the API", "Write", "docs/api.md"),
        ("Speed up the nightly import", "Bash", "python3 -m cProfile -o out.prof tools/import.py"),
        ("Upgrade the iOS target", "Bash", "xcodebuild -scheme Shop test"),
        ("Find the flaky test", "Grep", "sleep\\("),
    )
    for number, (prompt, tool, summary) in enumerate(doing):
        machine = "macbook" if number % 3 == 2 else "evo-x2"
        flight = await Flight.begin(there, f"/run on={machine} {prompt}", machine)
        await flight.note(ToolCallStarted("c1", tool, summary))
        if number == 3:
            await _ask(flight, "rm -rf build && make import")
    await there.store.write(_started_earlier)
    yield await _status(there, "fleet", "status, six agents")
    yield await _said(there, "fleet", "sessions", "/sessions")
    yield await _said(there, "fleet", "machines", "/machines")
    yield await _said(there, "fleet", "repos", "/repos")
    yield await _said(there, "questions", "waiting", "/waiting")
    yield await _said(there, "fleet", "people", "/people", short=False)
    yield await _said(there, "fleet", "help", "/help")
    yield await _said(there, "fleet", "help look", "/help look")
    yield await _said(there, "fleet", "help run", "/help run")


def _started_earlier(tx: Tx) -> None:
    """Every session at work is four minutes old."""
    table = tables.sessions
    tx.connection.execute(update(table).values(started_us=table.c.started_us - 4 * MINUTE_US))


async def _status(there: House, group: str, name: str) -> Shown:
    def work(tx: Tx) -> Card:
        view = replace(look(tx), calls=ToolCalls(ok=21_874, failed=1))
        return status_card(there.config, view, there.fleet.machines())

    return _made(group, name, await there.store.read(work))


def _crowded() -> str:
    more = "".join(
        f'[machines.rack-{n:02}]\nexecutor = "local"\nlabels = ["linux"]\nslots = 4\nrun_as = "agents"\n'
        for n in range(98)
    )
    return FLEET + more


async def _crowd(there: House) -> AsyncGenerator[Shown, None]:
    """A hundred machines, two hundred sessions."""
    assert isinstance(there.fleet, SeenFleet)
    for name in ("rack-07", "rack-31", "rack-64"):
        last = there.fleet.seen[name].seen_us - 900_000_000
        there.fleet.seen[name] = MachineSeen(MachineState.AWAY, last, why="no route to host")
    await there.say("/run on=rack-01 Mend number 0")

    def work(tx: Tx) -> None:
        first = tasks.task(tx, "t1")
        for number in range(200):
            task = first
            if number:
                prompt = f"Mend number {number}"
                task = tasks.create_task(
                    tx, repo="shop", agent="claude", machine="", prompt=prompt, mode=first.mode,
                    requester=first.requester, origin=first.origin,
                )  # fmt: skip
            made = sessions.create_session(
                tx, task=task.id, machine=f"rack-{number % 98:02}", agent="claude", base=BASE,
                isolation=Isolation.SEPARATE_LOGINS,
            )  # fmt: skip
            sessions.update(tx, made.id, seen_us=tx.now_us())
            for state in (TaskState.PREPARING, TaskState.RUNNING):
                tasks.move(tx, task.id, state, "", "airboss")

    await there.store.write(work)
    await there.store.write(_started_earlier)
    yield await _status(there, "crowd", "status, two hundred agents")
    yield await _said(there, "crowd", "machines, a hundred", "/machines")
    yield await _said(there, "crowd", "sessions, two hundred", "/sessions")


async def _ask(
    flight: Flight,
    command: str,
    *,
    ask_id: str = "q1",
    asked_questions: tuple[Question, ...] = (),
    minutes: int = 8 * 60,
) -> None:
    def ask(tx: Tx) -> None:
        refs = Refs(task=flight.task, session=flight.session.id, machine=flight.session.machine)
        reason = "fleet.toml says that Bash needs a yes"
        asked = PermissionAsked(ask_id, "Bash", command, (), "", reason)
        ledger.append(tx, asked, actor="agent:claude", source=Source.AGENT, refs=refs)
        approvals.open_ask(
            tx,
            session=flight.session,
            ask=ask_id,
            tool="Bash",
            request=f'{{"command":"{command}"}}',
            command=command,
            paths=(),
            reason=reason,
            expires_us=tx.now_us() + minutes * MINUTE_US,
            directory="/home/agents/.airboss/work/t1.1",
            questions=questions.to_json(asked_questions),
        )

    await flight.there.store.write(ask)
    await flight.there.settle()


async def _questions(there: House) -> AsyncGenerator[Shown, None]:
    """What waits for a person, and what becomes of it."""
    flight = await Flight.begin(there, ASK)
    await _ask(flight, "pip install --upgrade 'requests>=2.32' && python3 tools/migrate.py --all --yes")
    yield _last(there, "questions", "approval", "asks to run")
    await there.say(f"/deny {flight.task} use the locked versions")
    await flight.note(PermissionDecided("q1", "Bash", "deny", "use the locked versions", ""))
    yield _last(there, "questions", "denied", "denied")
    options = (Option("Keep it", "old callers go on"), Option("Rename it", "clearer, breaks two callers"))
    await _ask(
        flight, "", ask_id="q2", asked_questions=(Question("The old name is misleading. Shall I?", options),)
    )
    yield _last(there, "questions", "a question", "asks you")
    await there.say(f"/approve {flight.task} 1")
    await flight.note(PermissionDecided("q2", "Bash", "deny", "Keep it", ""))
    yield _last(there, "questions", "answered", "answered")
    await _ask(flight, "git push origin main", ask_id="q3", minutes=0)
    await there.store.write(lambda tx: approvals.expire(tx, flight.session.id))
    await flight.note(PermissionDecided("q3", "Bash", "deny", "nobody answered in time", ""))
    yield _last(there, "questions", "expired", "expired")
    await there.say(f"/say {flight.task} Keep the old signature, please")
    yield _last(
        there,
        "questions",
        "words on their way",
        "queued" if flight.session.one_turn else "sent to the running agent",
    )
    await flight.note(PersonSaid("Keep the old signature, please", Taken.STEERED))
    yield _last(there, "questions", "message arrived", "your message")
    await flight.move(TaskState.JUDGING)
    reason = "the change touches what judges it: tests/test_pricing.py, conftest.py"

    def hold(tx: Tx) -> None:
        approvals.open_hold(tx, session=flight.session, commit=COMMIT, tree=TREE, reason=reason)
        tasks.move(tx, flight.task, TaskState.HELD, reason, "airboss")

    await there.store.write(hold)
    await there.settle()
    yield _last(there, "questions", "held", "held")
    yield await _progress(flight, "progress, held", 5)
    await there.say(f"/approve {flight.task}")
    yield _last(there, "questions", "released", "approved")


async def _stalled(there: House) -> AsyncGenerator[Shown, None]:
    """A turn that stopped short, and what a person said to it, aloud too."""
    flight = await Flight.begin(there, ASK)
    limit = "API Error: Request rejected (429) · You've hit your session limit · resets 5:10pm (Europe/Paris)"

    def stall(tx: Tx) -> None:
        turn = sessions.create_turn(tx, flight.session, TurnCause.REQUEST, ASK)
        now, outcome = tx.now_us(), TurnOutcome.LIMITED
        sessions.update_turn(tx, turn.id, ended_us=now, outcome=outcome, error=limit, exit="exit status 1")
        approvals.open_stall(tx, session=flight.session, commit=COMMIT, tree=TREE, reason=limit)
        tasks.move(tx, flight.task, TaskState.STALLED, f"the agent's usage limit is reached: {limit}", "airboss")

    await there.store.write(stall)
    await there.settle()
    yield _last(there, "questions", "stalled", "usage limit")
    yield await _progress(flight, "progress, stalled", 5)
    await there.say(f"/go {flight.task}")
    yield _last(there, "questions", "went on", "continues")
    for name, card in voice_cards(there, flight.task).items():
        yield _made("voice", name, card)
    await there.hand_over(replace(spoken(there, "").message, unreadable=True))
    yield _last(there, "voice", "not set up", "voice message")


async def _trouble(there: House) -> AsyncGenerator[Shown, None]:
    """Ends that are bad, and requests that cannot be."""
    ends = (
        (TaskState.FAILED, "tests: exit status 1"),
        (TaskState.REFUSED, "shop has no gate: neither airboss.toml on main nor fleet.toml defines one"),
        (TaskState.UNAVAILABLE, "no machine can run it: macbook is full (2 of 2), evo-x2 lacks the label ios"),
        (TaskState.LOST, "the agent's process is gone and left no record; what it did is on the machine"),
    )
    for end, why in ends:
        flight = await Flight.begin(there, ASK)
        await flight.move(end, why=why)
        yield _last(there, "trouble", f"{end}", f"· {end}")
    for name, text, sender in (
        ("a stranger", "/status", STRANGER),
        ("no right", "/run mend it", VERA),
        ("a slip of the thumb", "/stauts", None),
        ("no such machine", "/run on=toaster mend it", None),
        ("no such task", "/stop t77", None),
        ("no words", "/run", None),
        ("no locks yet", "/locks", None),
    ):
        await (there.say(text, sender) if sender else there.say(text))
        yield _last(there, "trouble", name)
    yield await _said(there, "questions", "quiet", "/mute 2h")
    yield await _said(there, "questions", "nothing waits", "/waiting")
