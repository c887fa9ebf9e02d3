"""The process that asks for slots, killed with SIGKILL at every named place: none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.store.core import Store
from tests.conftest import sampled
from tests.far_end.farm import Farm
from tests.kill_points import OF_POOLS
from tests.pool_yard import Yard

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sampled(OF_POOLS, 2))
async def test_a_process_that_is_killed_leaves_no_slot_behind(tmp_path: Path, name: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.pool_yard", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "AIRBOSS_FAILPOINT": name},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, f"{name} is on no slot's way"
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}", create=False) as store:
        yard = Yard(store, Farm(tmp_path / "farm"), tmp_path)
        yard.configure()
        assert await yard.slots(), "the row is there before its effect, and until it has ended"
        await yard.keeper.load()
        await yard.idle()
        assert (await yard.states(), yard.farm.slots) == ([], [])
        assert set(yard.verbs("acquire")) <= set(yard.verbs("release"))
        await yard.executors.close()
