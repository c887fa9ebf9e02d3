"""The fleet's state as Prometheus reads it: text, one line a number. Names and counts only, no words of anybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bot.telemetry_view import FleetView
from fleet.config import FleetConfig
from fleet.figures import ToolCalls
from fleet.machines.watch import MachineSeen, MachineState
from fleet.store import ledger, rollups
from fleet.store.core import Tx

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One name, its type and help, and a value for each set of labels."""

    name: str
    type: str
    help: str
    values: Sequence[tuple[Mapping[str, str], int]]

    def lines(self) -> Iterator[str]:
        """As Prometheus reads it."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.type}"
        for labels, value in self.values:
            shown = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items())
            yield f"{self.name}{{{shown}}} {value}" if shown else f"{self.name} {value}"


@dataclass(frozen=True, slots=True)
class Totals:
    """What the store has counted since its start."""

    calls: ToolCalls
    events: int


def totals(tx: Tx) -> Totals:
    """Reads them; neither reads the ledger."""
    return Totals(rollups.total(tx), ledger.size(tx))


def metrics(
    config: FleetConfig,
    view: FleetView,
    counted: Totals,
    seen: Mapping[str, MachineSeen],
    *,
    troubles: int,
    version: str,
) -> list[Metric]:
    """All of them."""
    now, calls = view.overview, counted.calls
    ends = {"ok": calls.ok, "failed": calls.failed, "denied": calls.denied, "unfinished": calls.unfinished}
    machines = sorted(config.machines)
    well = {name for name in machines if name in seen and seen[name].state is MachineState.WELL}
    return [
        Metric("airboss_info", "gauge", "The version that runs.", [({"version": version}, 1)]),
        Metric(
            "airboss_tool_calls_total",
            "counter",
            "Tool calls by how they ended, what was imported included; there, one without an end is not counted.",
            [({"outcome": name}, count) for name, count in ends.items()],
        ),
        _one("airboss_ledger_events", "counter", "Events in the ledger.", counted.events),
        _one("airboss_sessions_active", "gauge", "Agents seen at work within a minute.", now.active),
        _one("airboss_tasks_queued", "gauge", "Tasks that wait for a slot.", now.queued_count),
        _one("airboss_waiting_for_a_person", "gauge", "Questions that wait for a person.", now.waiting_count),
        _one("airboss_pauses", "gauge", "Places where nothing new starts.", len(view.pauses)),
        _one("airboss_troubles", "gauge", "What is wrong with the controller.", troubles),
        Metric(
            "airboss_machine_well",
            "gauge",
            "Whether the machine's last answer was good.",
            [({"machine": name}, int(name in well)) for name in machines],
        ),
        Metric(
            "airboss_machine_slots",
            "gauge",
            "Slots of a machine.",
            [({"machine": name}, config.machines[name].slots) for name in machines],
        ),
        Metric(
            "airboss_machine_slots_busy",
            "gauge",
            "Slots that sessions hold.",
            [({"machine": name}, now.busy.get(name, 0)) for name in machines],
        ),
    ]


def text_of(found: Sequence[Metric]) -> str:
    """The page."""
    return "".join(f"{line}\n" for metric in found for line in metric.lines())


def _one(name: str, kind: str, about: str, value: int) -> Metric:
    return Metric(name, kind, about, [({}, value)])
