"""A reviewer's endpoint that we did not write: fakellm, as a process of its own. It answers by rules."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class RulesModel:
    """A running server. ``url``: up to and including ``/v1``."""

    def __init__(self, server: str, rules: Path) -> None:
        self.url, self._server, self._rules = f"{server}/v1", server, rules

    def answer(self, *rules: dict[str, Any]) -> None:
        """What it answers from now on: the first rule that fits; none: an echo of the question."""
        self._rules.write_text(json.dumps({"rules": rules}))  # YAML has JSON in it
        request = urllib.request.Request(f"{self._server}/_fakellm/reload", method="POST")
        with urllib.request.urlopen(request, timeout=60) as response:
            response.read()


@contextmanager
def rules_model(room: Path) -> Iterator[RulesModel]:
    """It listens before it runs, so nobody has to wait for it."""
    rules = room / "fakellm.yaml"
    rules.write_text("rules: []\n")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "uvicorn", "fakellm.server:app", "--log-level", "warning"]
        process = subprocess.Popen(
            [*command, "--fd", str(listening.fileno())],
            env={**os.environ, "FAKELLM_CONFIG": str(rules)},
            pass_fds=[listening.fileno()],
        )
        try:
            yield RulesModel(f"http://127.0.0.1:{listening.getsockname()[1]}", rules)
        finally:
            process.kill()
            process.wait()
