"""The outcomes that turns of earlier versions get at an upgrade, on both databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, MetaData, Table, create_engine, insert

from fleet.agent_events import TurnOutcome
from fleet.store import sessions
from fleet.store.core import Store

ROOT = Path(__file__).resolve().parents[2]


def at_version(store_url: str, version: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """A store of that version with these rows; columns that a row does not name are empty."""
    level = "AUTOCOMMIT" if store_url.startswith("sqlite") else "READ COMMITTED"
    engine = create_engine(store_url, isolation_level=level)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "fleet/store/migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        for name, given in rows.items():
            table = Table(name, MetaData(), autoload_with=connection)
            empty = {column.name: _nothing(column.type) for column in table.columns}
            for row in given:
                connection.execute(insert(table), {**empty, **row})
    engine.dispose()


def _nothing(kind: object) -> Any:
    match kind:
        case Boolean():
            return False
        case Integer() | BigInteger():
            return 0
        case LargeBinary():
            return b""
    return ""


def closed(*, ok: bool, error: str = "") -> bytes:
    return json.dumps({"body": {"claim": '"ok":false', "ok": ok, "error": error}}).encode()


def test_turns_get_their_outcome_from_the_ledger(store_url: str) -> None:
    killed = "the program ended: killed by SIGKILL"
    events = [("t1.1.1", closed(ok=True)), ("t1.1.2", closed(ok=False, error=killed))]
    at_version(
        store_url,
        "0002",
        {
            "tasks": [{"number": 1, "id": "t1", "state": "running", "mode": "change"}],
            "sessions": [{"id": "t1.1", "task": "t1", "number": 1, "isolation": "separate-logins"}],
            "turns": [
                {"id": f"t1.1.{number}", "session": "t1.1", "number": number, "ended_us": ended, "cause": "said"}
                for number, ended in ((1, 5), (2, 9), (3, 0))
            ],
            "ledger": [
                {"seq": seq, "id": str(seq), "kind": "turn.closed", "turn": turn, "canonical": body}
                for seq, (turn, body) in enumerate(events, 1)
            ],
        },
    )
    with Store.open(store_url) as store, store.transaction() as tx:
        ended = [(turn.id, turn.outcome, turn.error) for turn in sessions.turns(tx, "t1.1")]
    assert ended == [
        ("t1.1.1", TurnOutcome.COMPLETED, ""),
        ("t1.1.2", TurnOutcome.FAILED, killed),
        ("t1.1.3", None, ""),
    ]
