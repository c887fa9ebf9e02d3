"""A process whose wall clock is wrong: libfaketime, loaded before everything else."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def wall_clock(offset: str, directory: Path) -> dict[str, str]:
    """An environment whose wall clock is off by ``offset``, such as ``+3600``; the other clocks are right."""
    found = find_spec("libfaketime")
    assert found is not None and found.origin is not None
    stamp = directory / f"clock{offset}"
    stamp.write_text(f"{offset}\n")
    return {
        "LD_PRELOAD": str(Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # else threads that wait with a timeout wait for too long
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
    }
