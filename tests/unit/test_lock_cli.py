"""``airboss lock`` where the controller is there and says nothing."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bot.local import lock_cli
from fleet.errors import Unavailable


def test_a_frozen_controller_is_unavailable_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a Unix socket is short
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind("control.sock")
        frozen.listen()
        with pytest.raises(Unavailable, match="said nothing"):
            lock_cli.ask(Path("."), patience_s=0.2, op="acquire", wait=0.1)
