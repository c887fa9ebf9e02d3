"""The provider that docs/pools.md writes out, run as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fleet.store.core import Store
from tests.empty_store import filled
from tests.far_end.farm import Farm
from tests.far_end.sshd import new_key
from tests.pool_yard import Yard

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pools.md"


async def test_the_shelf_gives_each_machine_to_one_slot(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    script, key = tmp_path / "slot", new_key(tmp_path / "host_key")
    script.write_text(found[1])
    script.chmod(0o755)
    shelf = [{"host": f"mac{number}.local", "user": "agents", "host_key": key} for number in (1, 2)]
    (tmp_path / "shelf.json").write_text(json.dumps(shelf))
    filled(tmp_path / "airboss.db")
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as store:
        yard = Yard(store, Farm.of(tmp_path / "farm", key), tmp_path)
        yard.configure(most=3, **{verb: [str(script), verb] for verb in ("acquire", "release", "inventory")})
        yard.wants = 3
        await yard.look()
        await yard.look()
        assert sorted(machine.host for machine in yard.live().machines.values()) == ["mac1.local", "mac2.local"]
        assert "every machine of the shelf is taken" in yard.troubles["farm"]
        yard.wants = 0
        for _ in range(3):
            await yard.look()
            yard.clock.us += 11 * 60_000_000
        await yard.look()
        assert (await yard.states(), json.loads((tmp_path / "held.json").read_text())) == ([], {})
        await yard.executors.close()
