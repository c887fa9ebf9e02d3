"""A gate whose opening somebody else signs before it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config import WitnessConfig
from fleet.errors import DiskFull
from fleet.events import GateClosed, GateWitnessed
from fleet.faults import Fault, Point, injected, site_of
from fleet.store import tree
from fleet.verdict import Outcome
from gates.receipts import runs, sshsig
from gates.receipts.note import SignedNote, log_key
from gates.witness.server import Witness
from tests.scenarios.gate_house import House, airboss_toml
from tests.unit.test_witness import served

SH = "/bin/sh"


async def test_an_opening_is_signed_before_the_gate_runs_and_without_witnesses_nothing_passes(
    tmp_path: Path,
) -> None:
    """Two of three must sign: one that is away changes nothing, two that are stop everything."""
    ada, ben = (Witness(f"{name}.example", tmp_path / name) for name in ("ada", "ben"))
    files: dict[str, str | bytes] = {"airboss.toml": airboss_toml(SH, "-c", "cat change.txt")}
    async with served(ada) as first:
        async with served(ben) as second:
            gone = WitnessConfig(url="http://127.0.0.1:9", key=first.key)
            house = House(tmp_path, files, witnesses={"ada": first, "ben": second, "eve": gone}, witnesses_needed=2)
            async with house.open() as judge:
                origin = f"airboss/{judge.store.instance}"
                for witness in (ada, ben):
                    witness.learn(log_key(origin, sshsig.load_or_create(house.home)))
                verdict = await judge.pipeline.judge(await judge.candidate())
                assert verdict.outcome is Outcome.PASSED, verdict
                opened, witnessed, _ = await judge.events("gate.opened", "gate.witnessed", "gate.closed")
                assert isinstance(witnessed.event, GateWitnessed)
                assert opened.seq <= witnessed.event.size < witnessed.seq
                assert runs.witnessed_by([opened, witnessed], opened) == ("ada", "ben") == witnessed.event.witnesses
                assert [reason.split(":")[0] for reason in witnessed.event.missing] == ["eve"]
                note = SignedNote.parse(witnessed.event.note)
                assert note.signed_by(ada.key) and note.signed_by(ben.key)
                name = f"{witnessed.event.size:012}-{witnessed.event.root_sha256[:8]}.note"
                assert (house.home / "checkpoints" / name).read_text() == witnessed.event.note
        async with house.open() as judge:  # ben is away, too
            verdict = await judge.pipeline.judge(await judge.candidate())
            assert verdict.outcome is Outcome.UNAVAILABLE
            assert "1 signed, 2 must (ben: it does not answer" in verdict.reasons[0]
            assert not (house.home / "gates" / f"{verdict.gates[0].run}.log").exists(), "the gate ran"


async def test_a_store_that_is_away_before_a_gate_begins_costs_no_run(tmp_path: Path) -> None:
    """It was opened and did not begin: begun again from the store, it would be lost."""
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", "cat change.txt")})
    async with house.open() as judge:
        candidate = await judge.candidate()
        with injected(Fault(Point.STORE_READ, site=site_of(tree.frontier))) as away:
            verdict = await judge.pipeline.judge(candidate)
        assert away.raised == 1
        assert (verdict.outcome, verdict.gates[0].earlier) == (Outcome.PASSED, ())


@pytest.mark.parametrize(("first", "began"), [(1, False), (7, False), (8, True)])
async def test_a_full_disk_of_the_controller_closes_the_run_and_passes_nothing(
    tmp_path: Path, first: int, began: bool
) -> None:
    """While the opening is signed, while the checkout is sent, and while the gate runs."""
    script = "echo out; while :; do sleep 0.02; done"
    house = House(tmp_path, {"airboss.toml": airboss_toml(SH, "-c", script)})
    async with house.open() as judge:
        candidate = await judge.candidate()
        with (
            injected(Fault(Point.FILE_WRITE, first=first, times=100)),
            pytest.raises(DiskFull, match="No space left on device"),
        ):
            await judge.pipeline.judge(candidate)
        closed = [item.event for item in await judge.events("gate.closed")]
        assert [event.outcome for event in closed if isinstance(event, GateClosed)] == ["unavailable"]
        ended = list((tmp_path / "machine").glob(".airboss*/pipes/*/exit"))
        assert bool(ended) is began, "what ran on the machine was ended"
        assert not list((tmp_path / "machine").glob(".airboss*/gates/*")), "the checkout is discarded"
        assert not await judge.events("verdict.given")
