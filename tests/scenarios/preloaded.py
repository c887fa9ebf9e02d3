"""What the process that is forked into controllers has made already: the runner, compiled."""

from __future__ import annotations

from fleet.machines.bootstrap import compiled_runner

compiled_runner()
