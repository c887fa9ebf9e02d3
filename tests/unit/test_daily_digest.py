"""The daily digest: one post a day with the receipt of its range, also after days without a controller."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.cards import Card, shown
from bot.cli import main
from bot.schedules import daily
from fleet.errors import StoreUnavailable
from fleet.events import (
    DayIssued,
    PipeEnded,
    Refs,
    RootPosted,
    SessionPlaced,
    Source,
    ToolCallEnded,
    ToolCallStarted,
)
from fleet.exits import Exited
from fleet.faults import Fault, Point, injected
from fleet.model import ChatRef
from fleet.schedule.model import ScheduleState
from fleet.schedule.times import local_time
from fleet.store import ledger, schedules
from fleet.store.core import Store, Tx
from gates.receipts import against
from gates.receipts import verify as receipts
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.sshsig import load_or_create, public_of
from tests.chat_house import ADA, CHAT, House, house
from tests.schedule_house import UTC, SetClock, look, text
from tests.schema import load, problems


def work(tx: Tx) -> None:
    """Three calls of one session: ok, failed, without an end."""
    refs = Refs(task="t1", session="t1.1", machine="evo-x2")
    placed = SessionPlaced("evo-x2", "demo", "abc", "unsafe-same-user", ())
    ledger.append(tx, placed, actor="airboss", source=Source.CONTROLLER, refs=refs)
    for number, outcome in enumerate(("ok", "failed", "")):
        started = ToolCallStarted(f"c{number}", "Task" if number else "Bash", "x")
        ledger.append(tx, started, actor="agent", source=Source.AGENT, refs=refs)
        if outcome:
            ended = ToolCallEnded(f"c{number}", outcome, None, "")
            ledger.append(tx, ended, actor="agent", source=Source.AGENT, refs=refs)
    pipe = PipeEnded("p", Exited(0), 0, True, 0)
    ledger.append(tx, pipe, actor="airboss", source=Source.SUPERVISOR, refs=refs)


async def days(there: House) -> list[DayIssued]:
    found = await there.store.read(lambda tx: ledger.read(tx, kinds=(DayIssued.KIND,)))
    return [recorded.event for recorded in found if isinstance(recorded.event, DayIssued)]


def pin(home: Path) -> None:
    (home / "pinned").mkdir(exist_ok=True)
    (home / "pinned" / "here.pub").write_text(public_of(load_or_create(home)).line + "\n")


async def posted(there: House, clock: SetClock, when: str) -> Card:
    clock.at(when)
    titles = await look(there)
    assert len(titles) == 1, titles
    return there.last()


async def test_one_post_a_day_with_a_receipt_that_verifies(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        pin(tmp_path)
        _, cards = await there.say("/digest daily 19:00 UTC")
        assert "every day at 19:00 · UTC" in text(cards[0])
        await there.store.write(work)
        card = await posted(there, clock, "2026-11-28T19:00")
        rows = text(card).splitlines()
        assert rows[:3] == [
            "Digest · Sat 28 Nov",
            "3 tool calls · 1 session · 2 subagents",
            "Calls: 1 failed · 1 unfinished · 50% err",
        ]
        assert len(card.lines) <= 8
        assert card.root is not None
        named = f"/receipt 2026-11-28-{card.root.partition(':')[0]}"
        assert rows[-2].startswith("Root ") and rows[-2].endswith(f"unwitnessed · checkpoint: {named}")
        assert [action.label for action in card.actions] == ["More", "Verify"]
        assert Path(card.picture).read_bytes().startswith(b"\x89PNG")
        assert await look(there) == []
        assert there.store is not None
        (posted_,) = await there.store.read(lambda tx: ledger.read(tx, kinds=(RootPosted.KIND,)))
        assert isinstance(posted_.event, RootPosted) and posted_.event.message
        noted = Checkpoints(there.store, tmp_path).folder
        assert any(point.size == posted_.event.size for point, _ in noted.newest_first()), "no daily checkpoint"
        assert card.root == f"{posted_.event.size}:{posted_.event.root_sha256}"
        _, cards = await there.press(card, "Verify")
        assert "2026-11-28 · receipt verified" in text(cards[0])
        _, cards = await there.press(card, "More")
        assert shown(cards[0].title) == "Digest"
        _, cards = await there.say(named)
        assert cards[0].document == card.document
        (issued,) = await days(there)
        signed = tmp_path / "from-the-chat.note"
        assert cards[0].body is not None
        signed.write_text(cards[0].body.text().strip("\n"))  # as it is copied from a chat
        (point,) = against.read(signed, [public_of(load_or_create(tmp_path))])
        assert (point.size, point.root.hex()) == (issued.last_seq, issued.root_sha256)
        statement = json.loads(Path(issued.path).read_bytes())
        assert statement["predicate"]["figures"]["by_machine"] == {"evo-x2": 3}


async def test_events_that_are_not_there_are_refused_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        for words in ("5-2", "1-999999999999999", "0-1"):
            result, cards = await there.say(f"/digest {words}")
            assert result.status == 2 and "there are no events" in text(cards[0])


async def test_what_deserves_a_look_is_said_in_the_post_and_in_the_digest(tmp_path: Path) -> None:
    def pause(tx: Tx) -> None:
        other = daily.switch_on(tx, str(ADA), ChatRef("phone", "other"), zone="UTC", at=(8, 0), now_us=tx.now_us())
        schedules.move(tx, other, ScheduleState.PAUSED, "its repository is gone", str(ADA))

    clock, said = SetClock(), "Look at: s2 paused (/schedules)."
    async with house(tmp_path, clock=clock) as there:
        await there.say("/digest daily 19:00 UTC")
        _, cards = await there.say("/digest")
        assert "Look at" not in text(cards[0])
        await there.store.write(pause)
        assert said in text(await posted(there, clock, "2026-11-28T19:00"))
        for asked in ("/digest", "/digest 7d more"):
            _, cards = await there.say(asked)
            assert said in text(cards[0])


async def test_a_range_starts_where_the_last_one_ended_and_missed_days_are_named(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/digest daily 19:00 UTC")
        await posted(there, clock, "2026-11-28T19:00")
        await there.store.write(work)
    async with house(tmp_path, clock=clock) as there:
        card = await posted(there, clock, "2026-12-01T20:00")
        assert "Not posted: Sun 29 Nov, Mon 30 Nov. They are in this one." in text(card)
        first, second = await days(there)
        assert second.first_seq == first.last_seq + 1
        assert await look(there) == []
        late = await posted(there, clock, "2026-12-04T10:00")  # no day is left out, and none has two posts
        assert text(late).startswith("Digest · Thu 3 Dec\n") and "Not posted: Wed 2 Dec. They" in text(late)
        assert text(await posted(there, clock, "2026-12-04T19:00")).startswith("Digest · Fri 4 Dec\n")
        assert [each.day[-2:] for each in await days(there)] == ["28", "01", "03", "04"]


async def test_a_failed_commit_posts_nothing_and_a_full_disk_posts_without_a_receipt(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/digest daily 19:00 UTC")
        clock.at("2026-11-28T19:00")
        with injected(there.taking_fails()), pytest.raises(StoreUnavailable):
            await there.beats.look()
        assert await days(there) == []
        with injected(Fault(Point.FILE_WRITE, times=50)):
            assert await look(there) == ["Digest · Sat 28 Nov"]
        assert "unwitnessed · no receipt: No space left on device" in text(there.last())
        await there.store.write(work)
        await posted(there, clock, "2026-11-29T19:00")
        (issued,) = await days(there)
        assert issued.first_seq == 1


async def test_a_changed_receipt_or_ledger_does_not_verify(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        await there.say("/digest daily 19:00 UTC")
        await there.store.write(work)
        await posted(there, clock, "2026-11-28T19:00")
        (issued,) = await days(there)
        data = Path(issued.path).read_bytes()
        shape, statement = receipts.check_shape(data)
        assert shape.ok
        assert (await receipts.check_ledger(data, statement, there.store)).ok
        for path, value in (("figures", {"tool_calls": 0}), ("day", "2026-11-27")):
            said = json.loads(data)
            said["predicate"][path] = value
            changed = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
            shape, statement = receipts.check_shape(changed)
            check = await receipts.check_ledger(changed, statement, there.store)
            assert not check.ok or path == "day"
        for cut in ("ledger", "figures", "zone"):
            said = json.loads(data)
            del said["predicate"][cut]
            cut_data = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
            assert not receipts.check_shape(cut_data)[0].ok


async def test_it_is_offered_to_the_first_admin_once_and_can_be_switched_off(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        for _ in range(2):
            await there.store.write(lambda tx: daily.offer(tx, str(ADA), CHAT, "Europe/Berlin", clock.now))
            (made,) = await there.store.read(schedules.listed)
        assert (made.channel, made.zone, made.owner) == (CHAT, "Europe/Berlin", str(ADA))
        await there.say("/digest daily off")
        await there.store.write(lambda tx: daily.offer(tx, str(ADA), CHAT, "Europe/Berlin", clock.now))
        assert await there.store.read(schedules.listed) == []
        result, cards = await there.say("/digest daily soon")
        assert result.status == 2
        assert "“soon” is not understood" in text(cards[0])


def test_figures_of_whole_days_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as store, store.transaction() as tx:
        work(tx)
        now = tx.now_us()
    day = local_time(now, UTC).date().isoformat()
    command = ["--home", str(tmp_path), "digest", "--from", day, "--to", day, "--json"]
    assert main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert problems(said, load("digest-range.json")) == []
    assert (said["tool_calls"], said["failed"], said["unfinished"], said["subagents"]) == (3, 1, 1, 2)
    assert (said["error_rate"], said["active_days"], said["peak"]) == (0.5, 1, {"date": day, "calls": 3})
    assert main([*command[:-1], "--tz", "Nowhere/Land"]) == 2
    assert "Nowhere/Land" in (said := capsys.readouterr().err) and "no such time zone" in said
    assert main(["--home", str(tmp_path), "digest", "--from", "2020-01-02", "--to", "2020-01-01"]) == 2


async def test_each_chats_post_verifies_its_own_receipt_of_a_day(tmp_path: Path) -> None:
    clock = SetClock()
    async with house(tmp_path, clock=clock) as there:
        pin(tmp_path)
        await there.say("/digest daily 18:00 UTC")
        other = there.message("/digest daily 18:30 UTC", chat=ChatRef(CHAT.adapter, "c2"))
        await there.core.call(other)
        await there.store.write(work)
        first = await posted(there, clock, "2026-11-29T18:00")
        await there.store.write(work)
        clock.at("2026-11-29T18:30")
        await there.beats.look()
        await there.settle(ChatRef(CHAT.adapter, "c2"))
        one, two = await days(there)
        assert (one.day, two.day) == ("2026-11-29", "2026-11-29") and one.sha256 != two.sha256
        verify = next(button.command for button in first.actions if button.label == "Verify")
        assert verify == f"/verify 2026-11-29-{one.last_seq}"
        for command, issued in ((verify, one), ("/verify 2026-11-29", two)):
            Path(two.path if issued is one else one.path).rename(tmp_path / "aside")
            _, (card,) = await there.say(command)
            assert shown(card.title) == "2026-11-29 · receipt verified", command
            (tmp_path / "aside").rename(two.path if issued is one else one.path)
        _, (card,) = await there.say(verify.replace("verify", "receipt"))
        assert card.document == one.path
