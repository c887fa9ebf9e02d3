"""Which gates doctor says may need ``network = true``."""

from __future__ import annotations

from pathlib import Path

from bot.doctor.findings import Severity
from bot.doctor.gates import check_gate_network
from fleet.config import FleetConfig, RepoConfig
from fleet.exits import Exited
from fleet.store import gates
from fleet.store.core import Store
from fleet.verdict import Evidence, GateResult, Outcome
from gates.runs.surroundings import NO_NETWORK
from tests.contracts.test_store_gates import candidate
from tests.empty_store import filled
from tests.far_end.old_homes import HOME_0002, unpack_home

EVIDENCE = Evidence(Exited(1), 256, "tree", "evo", "gate", True, "5ha", 12, 100, 200)
SHOP = FleetConfig(repos={"shop": RepoConfig(url="/srv/shop.git")})


def opener(path: Path) -> Store:
    return Store.open(f"sqlite:///{path}", create=False)


async def test_a_gate_whose_last_run_found_no_network_is_named(tmp_path: Path) -> None:
    path = filled(tmp_path / "airboss.db")
    lacking = f"exit status 1; {NO_NETWORK}; `network = true` in its definition allows it"
    with opener(path) as store, store.transaction() as tx:
        of = candidate(tx)
        for gate, reasons in {
            "tests": [lacking],
            "lint": ["exit status 1"],
            "docs": [lacking, "exit status 0"],
        }.items():
            for reason in reasons:
                run = gates.open_run(
                    tx, of, gate=gate, argv=("make",), definition_sha256="d", machine="evo", nonce="n"
                )
                gates.close_run(
                    tx, run, GateResult(run, gate, ("make",), Outcome.FAILED, reason, EVIDENCE, None, "")
                )
    (finding,) = await check_gate_network(SHOP, lambda: opener(path))
    assert (finding.level, finding.subject) == (Severity.WARN, "gate tests of shop")
    assert "failed without network" in finding.what and "`network = true` to [gates.tests]" in finding.remedy
    assert await check_gate_network(FleetConfig(), lambda: opener(path)) == [], "the repository is gone"
    assert await check_gate_network(SHOP, lambda: opener(tmp_path / "none.db")) == [], "a new home"


async def test_a_home_from_before_the_walls_names_the_gates_that_had_the_network(tmp_path: Path) -> None:
    unpack_home(HOME_0002, tmp_path)
    (finding,) = await check_gate_network(SHOP, lambda: opener(tmp_path / "home" / "airboss.db"))
    assert finding.subject == "gate check of shop"
    assert "last ran with the machine's network" in finding.what
