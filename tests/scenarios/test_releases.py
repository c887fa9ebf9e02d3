"""What a person's release of a held change covers."""

from __future__ import annotations

from pathlib import Path

from fleet.config import RepoConfig
from fleet.config.gates import GateTightening
from fleet.events import HoldReleased, Refs, Source
from fleet.store import ledger, verdicts
from fleet.verdict import Outcome
from tests.scenarios.gate_house import House, airboss_toml

PROTECTED = 'protected = ["tests/**"]'


async def test_a_release_dies_with_the_definition_of_a_gate(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("true", more=PROTECTED), "tests/a.py": "one\n"})
    async with house.open() as judge:
        candidate = await judge.candidate({"tests/a.py": "two\n"})
        place = {"commit": candidate.commit, "tree": candidate.tree, "base": candidate.base}

        async def seen() -> tuple[Outcome, bool]:
            verdict = await judge.pipeline.judge(candidate)
            task = candidate.task.id
            return verdict.outcome, await judge.store.read(lambda tx: verdicts.lets_land(tx, task, **place))

        async def release() -> None:
            word, refs = HoldReleased(candidate.commit, True, ""), Refs(task=candidate.task.id)
            await judge.store.write(lambda tx: ledger.append(tx, word, actor="a", source=Source.PERSON, refs=refs))

        assert await seen() == (Outcome.HELD, False)
        await release()
        assert await seen() == (Outcome.APPROVED, True)
        stricter = RepoConfig(url="/none", gates={"tests": GateTightening(protected=["src/**"])})
        house.config = house.config.model_copy(update={"repos": {"demo": stricter}})
        assert await seen() == (Outcome.HELD, False), "it was released as another definition held it"
        await release()
        assert await seen() == (Outcome.APPROVED, True)
