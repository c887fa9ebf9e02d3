"""The page for Prometheus, and the dashboard that reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bot.metrics import Metric, metrics, text_of, totals
from bot.telemetry_view import look
from fleet.config import FleetConfig, MachineConfig
from fleet.events import Refs, Source, ToolCallEnded
from fleet.machines.watch import MachineSeen, MachineState
from fleet.store import ledger
from fleet.store.core import Store

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana.json"
LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"\})? \d+')


def page(store: Store) -> str:
    config = FleetConfig(machines={"evo": MachineConfig(executor="local"), "mac": MachineConfig(executor="local")})
    seen = {"evo": MachineSeen(MachineState.WELL, 1), "mac": MachineSeen(MachineState.AWAY, 1)}
    with store.transaction() as tx:
        return text_of(metrics(config, look(tx), totals(tx), seen, troubles=2, version="1.2.3"))


def test_each_line_is_one_that_prometheus_reads(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        with store.transaction() as tx:
            for outcome in ("ok", "ok", "failed"):
                event = ToolCallEnded("c", outcome, None, "")
                ledger.append(tx, event, actor="agent", source=Source.AGENT, refs=Refs(session="t1.1"))
        lines = page(store).splitlines()
    assert all(LINE.fullmatch(line) for line in lines if not line.startswith("#"))
    for wanted in (
        'airboss_tool_calls_total{outcome="ok"} 2',
        'airboss_tool_calls_total{outcome="failed"} 1',
        "airboss_ledger_events 3",
        "airboss_troubles 2",
        'airboss_machine_well{machine="evo"} 1',
        'airboss_machine_well{machine="mac"} 0',
        'airboss_info{version="1.2.3"} 1',
    ):
        assert wanted in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_a_label_of_any_text_stays_one_line() -> None:
    (*_, line) = Metric("a", "gauge", "x", [({"b": 'q"\\\n'}, 1)]).lines()
    assert line == r'a{b="q\"\\\n"} 1'


def test_the_dashboard_asks_for_what_there_is(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        there = set(re.findall(r"^# TYPE (\S+)", page(store), re.MULTILINE))
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [set(re.findall(r"airboss_[a-z_]+", panel["targets"][0]["expr"])) for panel in panels]
    assert all(asked)
    assert set().union(*asked) == there
