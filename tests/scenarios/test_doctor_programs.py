"""doctor says which program the first word of each gate and setup is."""

from __future__ import annotations

from pathlib import Path

from bot.doctor.findings import Severity
from bot.doctor.programs import check_programs
from fleet.config import MachineConfig
from tests.scenarios.gate_house import House, airboss_toml

SETUP = """\
[setup.tools]
run = [["no-installer"], ["no-second", "step"]]
inputs = ["list.txt"]
provides = ["tools"]
"""


async def test_the_first_words_of_gates_and_setups(tmp_path: Path) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "own-check").write_text("#!/bin/sh\n")
    (place / "own-check").chmod(0o755)
    here = MachineConfig(executor="local", home=str(tmp_path / "machine"), gate_path=[str(place)])
    gates = airboss_toml("own-check") + airboss_toml("no-linter", name="lint") + airboss_toml("bin/x", name="own")
    for setup, made in (("", False), (SETUP, True)):
        room = tmp_path / str(made)
        room.mkdir()
        house = House(room, {"airboss.toml": setup + gates, "list.txt": ""}, machines={"here": here})
        async with house.open() as judge:
            assert await check_programs(house.config, house.home, judge.executors) == [], "nothing was fetched yet"
            await house.repository.fetch()
            findings = await check_programs(house.config, house.home, judge.executors)
        told = {finding.subject: (finding.level, finding.what, finding.remedy) for finding in findings}
        level, what, _ = told["gate tests of demo"]
        assert level is Severity.OK and what.startswith(f"own-check is {place}/own-check on here")
        level, what, remedy = told["gate lint of demo"]
        assert (level, what.startswith("here has no no-linter")) == (Severity.OK if made else Severity.WARN, True)
        assert made or "[machines.here] gate_path" in remedy
        assert "gate own of demo" not in told, "a file of the repository"
        if made:
            missing = [finding for finding in findings if finding.subject == "setup tools of demo"]
            assert [finding.level for finding in missing] == [Severity.WARN, Severity.OK]
