"""Witnesses and logs of others: a witness from PyPI signs our openings, and its client has ours sign.

Only in ``make torture``, where a Python of 3.12 is there: a line at the run's end says when it is not.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from fleet.config import WitnessConfig
from fleet.store import ledger
from fleet.store.core import Store
from fleet.verdict import Outcome
from gates.receipts import note, sshsig
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.note import NoteKey, SignedNote
from gates.witness.asking import Witnesses, latest
from gates.witness.server import Witness
from tests.conftest import FULL
from tests.empty_store import filled
from tests.far_end.foreign_witness import NAME, Foreign, installed, serving, younger_python
from tests.scenarios.gate_house import House, airboss_toml
from tests.unit.test_witness import grow, served

#: Their client has our witness sign a checkpoint of our log, and their library reads the whole note.
_CLIENT = """
import sys
from aics_tlog import parse_vkey
from aics_witness import merge_cosignatures, submit_checkpoint
url, key, note = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read()
line = submit_checkpoint(url, note, lambda old, new: [], witness_vkey=key, old_size=0)
sys.stdout.write(merge_cosignatures(note, line).decode())
"""


def config_of(foreign: Foreign) -> WitnessConfig:
    return WitnessConfig(url=foreign.url, key=foreign.key)


if FULL and younger_python():

    async def test_a_witness_of_others_signs_what_continues_and_nothing_else(tmp_path: Path) -> None:
        home = tmp_path / "home"
        with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:
            origin = f"airboss/{store.instance}"
            grow(store, 300)
        ours = note.log_key(origin, sshsig.load_or_create(home))
        (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
        with serving(tmp_path / "foreign", origin, ours.line) as foreign:
            named = {"eve": config_of(foreign)}
            for words, more in (("true", (0, 1, 255, 1_000)), ("forged", (50,))):
                with Store.open(f"sqlite:///{tmp_path / ('a' if words == 'true' else 'b')}.db") as store:
                    asked = Witnesses(store, Checkpoints(store, home), lambda: named)
                    for count in more:
                        grow(store, count, words)
                        found = await asked.sign()
                        assert found.witnesses == (("eve",) if words == "true" else ()), found
            assert "events" in found.missing[0], found
            seen = await latest(foreign.url, origin)
            assert seen is not None and Checkpoint.parse(seen.text).size == 1_556
            assert seen.signed_by(NoteKey.parse(foreign.key)) and seen.signed_by(ours) == 0

    async def test_a_gate_passes_with_a_witness_of_others_and_not_without(tmp_path: Path) -> None:
        files: dict[str, str | bytes] = {"airboss.toml": airboss_toml("/bin/true")}
        house = House(tmp_path, files)
        async with house.open() as judge:
            origin = f"airboss/{judge.store.instance}"
        line = note.log_key(origin, sshsig.load_or_create(house.home)).line
        with serving(tmp_path / "foreign", origin, line) as foreign:
            house.config = house.config.model_copy(
                update={"witnesses": {"eve": config_of(foreign)}, "witnesses_needed": 1}
            )
            async with house.open() as judge:
                assert (await judge.pipeline.judge(await judge.candidate())).outcome is Outcome.PASSED
        async with house.open() as judge:
            assert (await judge.pipeline.judge(await judge.candidate())).outcome is Outcome.UNAVAILABLE

    async def test_a_client_of_others_has_our_witness_sign(tmp_path: Path) -> None:
        witness, home = Witness("ada.example", tmp_path / "ada"), tmp_path / "home"
        with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:
            grow(store, 300)
            point, whole = await Checkpoints(store, home).keep()
            assert point.size == await store.read(ledger.size)
        witness.learn(note.log_key(point.origin, sshsig.load_or_create(home)))
        (tmp_path / "note").write_text(whole)
        async with served(witness) as config:
            command = [str(installed() / "python3"), "-c", _CLIENT, config.url, config.key, str(tmp_path / "note")]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, check=True, timeout=60
            )
        signed = SignedNote.parse(done.stdout)
        assert signed.text == point.text and signed.signed_by(witness.key)
        assert NAME not in done.stdout
