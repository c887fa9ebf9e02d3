"""The words for limits, and which of two limits counts."""

from __future__ import annotations

import pytest

from fleet.config import MachineConfig
from fleet.limits import LimitedResource, Reached, amount_of, words_for


@pytest.mark.parametrize(
    ("size", "words"),
    [(900, "900 bytes"), (1 << 20, "1 MB"), (3 << 29, "1.5 GB"), (4 << 30, "4 GB"), (2 << 40, "2048 GB")],
)
def test_amounts_for_people(size: int, words: str) -> None:
    assert amount_of(size) == words


def test_each_limit_is_said_once() -> None:
    hog = Reached(LimitedResource.MEMORY, 4 << 30, "pytest")
    assert words_for([hog, hog]) == "memory limit 4 GB reached; process pytest ended"
    bomb = Reached(LimitedResource.PROCESSES, 2048)
    assert words_for([hog, bomb]).endswith("; process limit 2048 reached; run ended")


@pytest.mark.parametrize(
    ("machine", "gate", "counts"),
    [("", "", 0), ("2G", "", 2 << 30), ("", "1G", 1 << 30), ("2G", "1G", 1 << 30), ("2G", "3G", 2 << 30)],
)
def test_a_gate_may_ask_for_less_than_its_machine_allows(machine: str, gate: str, counts: int) -> None:
    config = MachineConfig(executor="local", run_memory=machine)
    assert config.run_limits("/x", memory=gate).memory == counts
