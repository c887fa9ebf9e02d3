"""The controller's side of the runner's protocol, over a link that the test holds in its hands."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fleet.errors import MachineFaulty, Malformed, Refused, Unavailable, Unreachable
from fleet.exits import Exited, Lost
from fleet.machines.answers import End, judge
from fleet.machines.channel import FRAME_COST, WINDOW, Channel, Frame, Framer

HEADERS = st.dictionaries(
    st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=4
)
FRAMES = st.lists(st.builds(Frame, HEADERS, st.binary(max_size=300)), max_size=8)


@given(FRAMES, st.lists(st.integers(1, 400), max_size=30))
def test_frames_survive_any_chunking(frames: list[Frame], sizes: list[int]) -> None:
    wire = b"".join(frame.encode() for frame in frames)
    framer, found = Framer(), []
    for size in sizes:
        found += framer.feed(wire[:size])
        wire = wire[size:]
    assert found + framer.feed(wire) == frames


@pytest.mark.parametrize(
    "noise", [b"Welcome to this machine!\n", struct.pack(">II", 2, 0) + b"[]", struct.pack(">II", 2, 0) + b"{'"]
)
def test_a_far_end_that_speaks_something_else_is_malformed(noise: bytes) -> None:
    with pytest.raises(Malformed, match="shell start-up"):
        Framer().feed(noise)


class Wire:
    """A link whose far end is the test."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes] = asyncio.Queue()
        self.sent: asyncio.Queue[Frame] = asyncio.Queue()
        self.closed = False
        self._framer = Framer()

    async def read(self) -> bytes:
        return await self.incoming.get()

    async def write(self, data: bytes) -> None:
        for frame in self._framer.feed(data):
            self.sent.put_nowait(frame)

    async def close(self) -> None:
        self.closed = True
        self.incoming.put_nowait(b"")

    def say(self, payload: bytes = b"", **header: Any) -> None:
        self.incoming.put_nowait(Frame(header, payload).encode())


def channel_on(wire: Wire, interval: float = 60, misses: int = 2) -> Channel:
    return Channel("machine", wire, interval=interval, misses=misses)


async def test_answers_find_their_calls_whatever_their_order() -> None:
    wire = Wire()
    channel = channel_on(wire)
    calls = [asyncio.create_task(channel.ask("x", attempted="try", which=n)) for n in range(3)]
    requests = [await wire.sent.get() for _ in calls]
    for request in reversed(requests):
        wire.say(id=request.header["id"], done=True, which=request.header["which"])
    assert [(await call).header["which"] for call in calls] == [0, 1, 2]
    await channel.close()


@pytest.mark.parametrize(("kind", "raised"), [("refused", Refused), ("unavailable", Unavailable)])
async def test_an_error_is_raised_where_the_call_was_made(kind: str, raised: type[Exception]) -> None:
    wire = Wire()
    channel = channel_on(wire)
    call = asyncio.create_task(channel.ask("x", attempted="try this"))
    wire.say(id=(await wire.sent.get()).header["id"], error=kind, cause="because")
    with pytest.raises(raised, match=r"try this.*because"):
        await call
    await channel.close()


async def test_what_came_before_the_link_broke_is_still_handed_out() -> None:
    wire = Wire()
    channel = channel_on(wire)
    with pytest.raises(Unreachable):
        async with channel.call("attach", attempted="follow") as call:
            wire.say(b"early", id=call.number, ev="out")
            await wire.close()
            assert (await call.next()).payload == b"early"
            await call.next()
    with pytest.raises(Unreachable):
        await channel.ask("x", attempted="try")
    await channel.close()


async def test_leaving_a_call_early_takes_it_back() -> None:
    wire = Wire()
    channel = channel_on(wire)
    async with channel.call("attach", attempted="follow") as call:
        number = call.number
    assert (await wire.sent.get()).header["op"] == "attach"
    assert (await wire.sent.get()).header == {"op": "cancel", "id": number}
    wire.say(b"late", id=number, ev="out")
    await channel.close()


async def test_credit_is_given_for_what_was_taken_and_only_then_and_not_for_each_frame() -> None:
    wire, half = Wire(), bytes(WINDOW // 8)
    channel = channel_on(wire)
    async with channel.call("attach", attempted="follow") as call:
        await wire.sent.get()
        for _ in range(2):
            wire.say(half, id=call.number, ev="out")
            await asyncio.sleep(0)
        assert wire.sent.empty()
        await call.next()
        assert wire.sent.empty(), "the far side still has three quarters of its window"
        await call.next()
        owed = 2 * (len(half) + FRAME_COST)
        assert (await wire.sent.get()).header == {"op": "credit", "id": call.number, "n": owed}
        wire.say(b"more", id=call.number, ev="out")
        await call.next()
        assert wire.sent.empty(), "what was given back is not given twice"
    await channel.close()


async def test_input_waits_for_credit() -> None:
    wire = Wire()
    channel = channel_on(wire)
    async with channel.call("write", attempted="write") as call:
        await call.write(bytes(WINDOW), last=False)
        waiting = asyncio.create_task(call.write(b"more", last=True))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        wire.say(id=call.number, ev="credit", n=WINDOW)
        await waiting
    await channel.close()


async def test_a_silent_far_side_is_pinged_and_then_given_up() -> None:
    wire = Wire()
    channel = channel_on(wire, interval=0.02, misses=2)
    with pytest.raises(Unreachable, match="no answer"):
        await channel.ask("x", attempted="try")
    await wire.sent.get()
    assert [(await wire.sent.get()).header["op"] for _ in range(2)] == ["ping", "ping"]
    assert wire.closed
    await channel.close()


async def test_a_far_side_that_answers_pings_is_kept() -> None:
    wire = Wire()
    channel = channel_on(wire, interval=0.02, misses=2)
    for _ in range(6):
        assert (await wire.sent.get()).header["op"] == "ping"
        wire.say(id=0, done=True)
    assert channel.closed is None
    await channel.close()


RECORD = {
    "pipe": "p",
    "how": "ended",
    "status": 0,
    "started_us": 1,
    "ended_us": 2,
    "timeout_us": 0,
    "contained": False,
    "walled": False,
    "gone": True,
    "tree": "",
    "unavailable": "",
}
HEADER = End(missing="", recorded=True, doubled=False)


def signed(nonce: str, **changes: Any) -> bytes:
    import hashlib
    import hmac

    line = json.dumps({**RECORD, **changes}).encode()
    return line + b"\n" + hmac.new(nonce.encode(), line, hashlib.sha256).hexdigest().encode() + b"\n"


def test_only_a_record_with_the_proof_is_believed() -> None:
    good = signed("nonce")
    assert judge("p", "nonce", HEADER, good).exit == Exited(0)
    for header, record in (
        (HEADER, signed("guess")),
        (HEADER, good + good),
        (HEADER, signed("nonce", pipe="q")),
        (HEADER, b""),
        (structs.replace(HEADER, doubled=True), good),
        (structs.replace(HEADER, recorded=False), good),
        (structs.replace(HEADER, missing="no pipe"), good),
        (HEADER, signed("nonce", status=None)),
        (HEADER, signed("nonce", status="0")),
        (HEADER, signed("nonce", status=1 << 40)),
        (HEADER, signed("nonce", ended_us=1 << 63)),
        (HEADER, signed("nonce", how="vanished")),
        (HEADER, signed("nonce", how="unavailable", status=None, unavailable="no program")),
    ):
        assert isinstance(judge("p", "nonce", header, record).exit, Lost)


@given(st.binary(max_size=400))
def test_no_bytes_without_the_nonce_are_ever_believed(record: bytes) -> None:
    assert isinstance(judge("p", "nonce", HEADER, record).exit, Lost)


@given(st.integers(0, len(signed("nonce")) - 1), st.integers(0, 255))
def test_one_changed_byte_spoils_a_record(at: int, byte: int) -> None:
    record = bytearray(signed("nonce"))
    if record[at] != byte:
        record[at] = byte
        assert isinstance(judge("p", "nonce", HEADER, bytes(record)).exit, Lost)


async def test_a_malformed_frame_ends_the_link_and_every_caller_hears_why() -> None:
    wire = Wire()
    channel = channel_on(wire)
    callers = [asyncio.create_task(channel.ask("x", attempted="try")) for _ in range(3)]
    for _ in callers:
        await wire.sent.get()
    wire.say(id="1", done=True)
    for caller in callers:
        with pytest.raises(MachineFaulty, match=r"malformed answer.*`int`"):
            await caller
    assert wire.closed
    with pytest.raises(MachineFaulty):
        await channel.ask("x", attempted="try")
    await channel.close()


async def test_what_comes_for_a_call_that_is_over_is_bounded() -> None:
    wire = Wire()
    channel = channel_on(wire)
    async with channel.call("attach", attempted="follow") as call:
        number = call.number
    for _ in range(1 + WINDOW // 50_000):
        wire.say(bytes(50_000), id=number, ev="out")
    wire.say(id=0, done=True)
    await settle(wire)
    assert not wire.closed
    for _ in range(4):
        wire.say(bytes(50_000), id=number, ev="out")
    await settle(wire)
    assert "which has ended" in str(channel.closed)
    await channel.close()


async def test_a_reader_that_is_away_gets_the_last_pulse_and_all_output() -> None:
    wire = Wire()
    channel = channel_on(wire)
    async with channel.call("attach", attempted="follow") as call:
        for _ in range(30_000):
            wire.say(id=call.number, ev="pulse")
        wire.say(b"output", id=call.number, ev="out")
        await settle(wire)
        assert [(await call.next()).header["ev"] for _ in range(2)] == ["pulse", "out"]
    await channel.close()


async def test_a_cancelled_caller_does_not_wait_for_a_slow_far_side() -> None:
    class Full(Wire):
        """Takes the first frame and no further one."""

        async def write(self, data: bytes) -> None:
            await super().write(data)
            if self.sent.qsize() > 1:
                await asyncio.Event().wait()

    wire = Full()
    channel = channel_on(wire)
    caller = asyncio.create_task(channel.ask("x", attempted="try"))
    while wire.sent.empty():
        await asyncio.sleep(0)
    caller.cancel()
    async with asyncio.timeout(60):
        await asyncio.wait([caller])
        await channel.close()
    assert caller.cancelled() and asyncio.all_tasks() == {asyncio.current_task()}


async def settle(wire: Wire) -> None:
    """Until the channel has read all that was said."""
    while not wire.incoming.empty() and not wire.closed:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
