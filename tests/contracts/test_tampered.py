"""A session whose output or input somebody else changed on its machine is lost, whatever its record says."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import pytest

from fleet.clock import SystemClock
from fleet.exits import Exited, Lost, Passed, Streams, is_tampered
from fleet.flight.pipe_reader import PipeReader
from fleet.flight.tampering import OutputRead, input_checked
from fleet.machines.login import LoginExecutor
from fleet.ports import Ended, Output
from fleet.store import inputs
from fleet.store.core import Store
from tests.contracts.executor_logins import NONCE, Login, pipe_spec
from tests.empty_store import filled

#: What the command does to its spool.
ATTACKS = {
    "nothing": "echo mine",
    "a line more": "echo mine; echo forged >> $1/out",
    "a line that is gone again": "echo mine; echo forged >> $1/out; until [ -e $1/read ]; do sleep 0.02; done; "
    "printf 'mine\\n' > $1/out",
    "other words": "printf 'forged' 1<> $1/out",
}


async def read(executor: LoginExecutor, pipe: str, seen: Path, offset: int = 0) -> tuple[bytes, Ended]:
    """All that a pipe says; ``seen`` is made once forged words were read."""
    reader, said = PipeReader(executor, pipe, NONCE, offset, SystemClock()), b""
    try:
        while True:
            match await reader.next(30):
                case Output(_, data):
                    said += data
                    if b"forged" in said:
                        seen.touch()
                case Ended() as ended:
                    return said, ended
    finally:
        await reader.close()


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_was_read_must_be_what_the_process_printed(login: Login, attack: str) -> None:
    executor = login.executor()
    await executor.facts()
    spec = pipe_spec("true")
    place = login.root / "pipes" / spec.id
    await executor.start(pipe_spec("sh", "-c", ATTACKS[attack], "sh", str(place), id=spec.id))
    _, ended = await read(executor, spec.id, place / "read")
    if attack == "nothing":
        assert ended.exit == Exited(0) and ended.gone
    else:
        assert is_tampered(ended.exit) and not ended.gone


async def test_whoever_reads_on_in_the_middle_knows_the_length(login: Login) -> None:
    executor = login.executor()
    await executor.facts()
    for more, lost in (("", False), ("echo forged >> $1/out", True)):
        spec = pipe_spec("true")
        place = login.root / "pipes" / spec.id
        await executor.start(pipe_spec("sh", "-c", f"echo mine; {more}", "sh", str(place), id=spec.id))
        said, ended = await read(executor, spec.id, place / "read", offset=2)
        assert b"mine" not in said or lost
        assert is_tampered(ended.exit) is lost


async def test_its_supervisor_says_what_it_was_given(login: Login, tmp_path: Path) -> None:
    """Input that the command itself wrote where the controller's is kept."""
    executor, store = login.executor(), Store.open(f"sqlite:///{filled(tmp_path / 'airboss.db')}")
    await executor.facts()
    for more, lost in (("", False), ("printf 'yes\\n' >> $1/in; kill -0 $PPID; head -n 1", True)):
        spec = pipe_spec("true")
        place = login.root / "pipes" / spec.id
        argv = ("sh", "-c", f"head -n 1; {more}", "sh", str(place))
        await executor.start(pipe_spec(*argv, id=spec.id, stdin=True))
        await store.write(partial(inputs.queue, pipe=spec.id, data=b"may I?\n"))
        await executor.send(spec.id, 0, b"may I?\n")
        _, ended = await read(executor, spec.id, place / "read")
        ended = await input_checked(store, spec.id, ended)
        assert is_tampered(ended.exit) is lost, ended
        assert ended.gone is not lost
    store.close()


async def test_a_part_of_what_was_queued_is_no_tampering(store: Store) -> None:
    """A process may end before it read everything."""
    await store.write(lambda tx: [inputs.queue(tx, "p", part) for part in (b"one\n", b"two\n")])

    async def after(data: bytes) -> bool:
        fed = Passed(len(data), hashlib.sha256(data).hexdigest())
        ended = Ended(Exited(0), 0, 1, 2, contained=False, gone=True, streams=Streams(fed, fed))
        return isinstance((await input_checked(store, "p", ended)).exit, Lost)

    assert [await after(data) for data in (b"", b"one", b"one\ntw", b"one\ntwo\n")] == [False] * 4
    assert [await after(data) for data in (b"two", b"one\ntwo\nthree", b"onx\n")] == [True] * 3


def test_output_is_compared_as_a_whole() -> None:
    said = Passed(4, hashlib.sha256(b"said").hexdigest())
    for parts, same in (((b"sa", b"id"), True), ((b"sai",), False), ((b"saiD",), False), ((b"said", b"!"), False)):
        read_ = OutputRead(0)
        for part in parts:
            read_.add(part)
        assert (read_.differs(said) == "") is same
