"""The end of the demo: the day's figures, its receipt, and forty lines of Python that get the same figures."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bot.days import days_of
from bot.local import exporting
from bot.local.verify import verify
from fleet.config import load_fleet
from fleet.config.home import FLEET_FILE
from fleet.reading_figures import figures_in
from fleet.store import ledger
from fleet.store.core import Store
from gates.receipts import day as receipts
from gates.receipts.day import DayRange
from gates.receipts.sshsig import allowed_signers_line, load_or_create, public_of

_BUNDLE: Final = "day.bundle"
_IN_CHECKOUT: Final = Path(__file__).resolve().parents[2] / "docs" / "verify_bundle.py"
#: A wheel has no docs: there it is beside us.
VERIFIER: Final = _IN_CHECKOUT if _IN_CHECKOUT.exists() else Path(__file__).with_name("verify_bundle.py.txt")


async def day_agrees(home: Path, directory: Path) -> dict[str, bool]:
    """What was checked, and whether it holds. Prints the commands and what they say."""
    today = datetime.now(UTC).date().isoformat()
    days, key = days_of(today, today, "UTC"), public_of(load_or_create(home))
    with Store.open(f"sqlite:///{home / 'airboss.db'}", create=False) as store:
        receipt = await _receipt(store, home, today)
        figures = (await figures_in(store, days.period, days.zone)).figures.to_json()
        await exporting.write(store, home, days, directory / _BUNDLE)
    _say(f"$ airboss digest --from {today} --to {today} --json", json.dumps(figures, ensure_ascii=False))
    _say(f"$ airboss verify {receipt.name} --ledger airboss.db")
    signed = await verify(receipt, home=home, keys=[key.line], ledger=str(home / "airboss.db")) == 0
    _say(f"$ airboss export --from {today} --to {today} -o {_BUNDLE}")
    counted = await asyncio.to_thread(_stranger, directory, allowed_signers_line(key))
    return {
        "the day's receipt is verified": signed,
        "forty lines of Python get the day's figures": bool(counted) and counted.items() <= figures.items(),
    }


async def _receipt(store: Store, home: Path, today: str) -> Path:
    wanted = DayRange(today, "UTC", 1, await store.read(ledger.size))
    isolation = str(load_fleet(home / FLEET_FILE).isolation)
    return await receipts.write(home, wanted, await receipts.compute(store, wanted, isolation), store.instance)


def _stranger(directory: Path, pin: str) -> dict[str, Any]:
    """The figures that somebody without Airboss gets from the export; none when it does not hold."""
    bundle, keys = directory / _BUNDLE, directory / "keys"
    keys.write_text(pin, "utf-8")
    _say(f"$ python3 {VERIFIER.name} {bundle.name} {keys.name}")
    command = [sys.executable, "-I", str(VERIFIER), str(bundle), str(keys)]
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    sys.stdout.write(ran.stdout + ran.stderr)
    if ran.returncode:
        return {}
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def _say(command: str, answer: str = "") -> None:
    sys.stdout.write(f"\n  {command}\n" + (f"{answer}\n" if answer else ""))
    sys.stdout.flush()
