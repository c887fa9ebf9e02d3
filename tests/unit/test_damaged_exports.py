"""A file that was an export once: not verified, whatever is left of it; and days that no export can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cli import main
from bot.days import days_of
from fleet.errors import Misused
from gates.receipts import sshsig
from tests.unit.test_bundle import PIN, exported, work


def test_what_is_no_whole_export_any_more_is_not_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = b"".join(exported(tmp_path / "ledger", work(20)))
    first = bytearray(whole)
    first[3] ^= 1
    file, pins = tmp_path / "sent" / "export", tmp_path / "pins"
    file.parent.mkdir()
    pins.write_text(sshsig.allowed_signers_line(PIN))
    for left, why in ((bytes(first), "no whole export"), (b"", "no whole export"), (whole[:-1], "signatures")):
        file.write_bytes(left)
        assert main(["verify", str(file), "--allowed-signers", str(pins)]) == 1
        assert why in capsys.readouterr().out
    file.write_bytes(whole)
    assert main(["verify", str(file), "--allowed-signers", str(pins)]) == 0


def test_days_beyond_every_event_are_refused() -> None:
    for first, last in (("2026-11-01", "2999-12-31"), ("0001-01-03", "0001-01-03")):
        with pytest.raises(Misused, match="so early, or so late"):
            days_of(first, last, "UTC")
