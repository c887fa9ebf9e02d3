"""Compares two ways of doing something in one run, so that the machine's mood falls on both.

A figure is a ratio of medians of interleaved runs; the spread is printed beside it. ``make bench`` runs every
module of this directory; each prints its table and ends with one line of JSON, and exits 1 when a bar is missed.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: One run of one side; answers how many seconds it took.
Trial = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Side:
    """One side's runs, in seconds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles below and above the median."""
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True, slots=True)
class Comparison:
    """``ours`` against ``base``; ``bar`` is the largest ratio that we promise."""

    name: str
    ours: Side
    base: Side
    bar: float

    @property
    def ratio(self) -> float:
        return self.ours.median / self.base.median

    @property
    def ratios(self) -> tuple[float, float]:
        """Quartiles of the ratio, run by run: neighbours in time are compared with each other."""
        pairs = zip(self.ours.seconds, self.base.seconds, strict=True)
        low, _, high = statistics.quantiles([ours / base for ours, base in pairs], n=4, method="inclusive")
        return low, high

    @property
    def kept(self) -> bool:
        return self.ratio <= self.bar


def timed(work: Callable[[], object]) -> Trial:
    """A trial that takes as long as ``work`` does."""

    def trial() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return trial


def command(argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None) -> Trial:
    """A trial that runs a program to its end. A program that fails ends the benchmark with what it said."""

    def work() -> None:
        done = subprocess.run(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")[-2000:]
            sys.exit(f"bench: {' '.join(argv)} ended with {done.returncode}:\n{said}")

    return timed(work)


def compare(
    name: str, ours: tuple[str, Trial], base: tuple[str, Trial], *, bar: float, rounds: int = 21, warm: int = 2
) -> Comparison:
    """Runs both sides ``rounds`` times in turn, the first of each pair changing, after ``warm`` unmeasured ones."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(-warm, rounds):
        for is_ours in (True, False) if number % 2 else (False, True):
            seconds = (ours if is_ours else base)[1]()
            if number >= 0:
                times[is_ours].append(seconds)
    return Comparison(name, Side(ours[0], tuple(times[True])), Side(base[0], tuple(times[False])), bar)


def report(comparisons: Sequence[Comparison]) -> int:
    """Prints the table and the line of JSON. Answers the exit status: 1 when a bar was missed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    print(f"\nPython {platform.python_version()}, {cores} cores, load {load:.1f}")
    print(f"{'':44} {'median':>9}  {'quartiles':>19}")
    for found in comparisons:
        print(found.name)
        for side in (found.ours, found.base):
            low, high = side.spread
            print(f"  {side.name:42} {_ms(side.median):>9}  {_ms(low):>9} {_ms(high):>9}")
        low, high = found.ratios
        word = "kept" if found.kept else "MISSED"
        print(f"  {'ratio':42} {found.ratio:>8.2f}x  {low:>8.2f}x {high:>8.2f}x   bar {found.bar:g}x: {word}")
    print(
        json.dumps({"figures": [_as_json(found) for found in comparisons], "cores": cores, "load": round(load, 2)})
    )
    return 0 if all(found.kept for found in comparisons) else 1


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _as_json(found: Comparison) -> dict[str, object]:
    return {
        "name": found.name,
        "ratio": round(found.ratio, 3),
        "ratio_quartiles": [round(ratio, 3) for ratio in found.ratios],
        "bar": found.bar,
        "kept": found.kept,
        "runs": len(found.ours.seconds),
        **{
            label: {"name": side.name, "median_us": round(side.median * 1e6)}
            for label, side in (("ours", found.ours), ("base", found.base))
        },
    }
