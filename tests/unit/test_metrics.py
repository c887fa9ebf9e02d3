"""The page for Prometheus, and the dashboard that reads it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from pathlib import Path

import pytest
from aiohttp import ClientConnectorError, ClientSession

from bot.metrics import Metric, metrics, text_of, totals
from bot.metrics_server import MetricsServer, counts
from bot.telemetry_view import look
from fleet.config import FleetConfig, MachineConfig
from fleet.config.outside import MetricsConfig
from fleet.events import Refs, Source, ToolCallEnded
from fleet.faults import Fault, Point, injected, site_of
from fleet.machines.watch import MachineSeen, MachineState
from fleet.store import ledger
from fleet.store.core import Store
from tests.chat_house import house
from tests.empty_store import filled
from tests.far_end.ports import unused_port

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana.json"
LINE = re.compile(r'[a-z_]+(\{[a-z]+="[^"]*"\})? \d+')


def page(store: Store) -> str:
    config = FleetConfig(machines={"evo": MachineConfig(executor="local"), "mac": MachineConfig(executor="local")})
    seen = {"evo": MachineSeen(MachineState.WELL, 1), "mac": MachineSeen(MachineState.AWAY, 1)}
    with store.transaction() as tx:
        return text_of(metrics(config, look(tx), totals(tx), seen, troubles=2, version="1.2.3"))


def test_each_line_is_one_that_prometheus_reads(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:
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
    with Store.open(f"sqlite:///{filled(tmp_path / 'a.db')}") as store:
        there = set(re.findall(r"^# TYPE (\S+)", page(store), re.MULTILINE))
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [set(re.findall(r"airboss_[a-z_]+", panel["targets"][0]["expr"])) for panel in panels]
    assert all(asked)
    assert set().union(*asked) == there


async def get(port: int, host: str) -> tuple[int, str]:
    async with ClientSession() as session:
        while True:
            with contextlib.suppress(ClientConnectorError):
                async with session.get(f"http://127.0.0.1:{port}/metrics", headers={"Host": host}) as answer:
                    return answer.status, await answer.text()
            await asyncio.sleep(0.05)


async def test_the_page_is_for_this_machine_only_and_survives_a_store_that_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path) as there:
        port = unused_port()
        taken = socket.create_server(("127.0.0.1", port))
        there.configured(there.config.model_copy(update={"metrics": MetricsConfig(port=port)}))
        there.supervisor.run("metrics", MetricsServer(there.core.context).run)
        while "no metrics at" not in caplog.text:
            await asyncio.sleep(0.05)
        taken.close()
        status, text = await get(port, f"localhost:{port}")
        assert status == 200 and "airboss_ledger_events" in text
        assert (await get(port, "evil.example"))[0] == 403, "a web page whose name points here"
        with injected(Fault(Point.STORE_READ, site=site_of(counts), times=1)):
            assert (await get(port, "127.0.0.1"))[0] == 503
    assert caplog.text.count("no metrics at") == 1
