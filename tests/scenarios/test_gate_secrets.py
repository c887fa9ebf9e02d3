"""A change that adds a secret is held, and only that secret's release lets it pass."""

from __future__ import annotations

from pathlib import Path

from fleet.events import HoldReleased, Refs, SecretsReleased, Source
from fleet.store import ledger
from fleet.verdict import Outcome
from tests.scenarios.gate_house import Files, House, airboss_toml

KEY = "demo-Key-81ZQ.0123456789_abcdef"
# Put together here, so that no scanner of this repository takes it for a real one.
TOKEN = "gh" + "p_NqVwYS81VP7Hb1DX8pPd5khxE3pyIgKpaUnA"


async def test_a_change_that_adds_a_secret_is_held_until_that_secret_is_released(tmp_path: Path) -> None:
    old = f"OLD = '{TOKEN[:-1]}B'\n"
    base: Files = {"airboss.toml": airboss_toml("true"), "old.py": old}
    house = House(tmp_path, base, env={"DEMO_KEY": KEY, "DEBUG": "yes"})
    async with house.open() as judge:
        candidate = await judge.candidate(
            {"a.py": f"# yes\nkey = '{KEY}'\n", "b.py": f"token = '{TOKEN}'\n", "new.py": f"{old}#\n"}
        )
        verdict = await judge.pipeline.judge(candidate)
        assert verdict.outcome is Outcome.HELD
        assert verdict.reasons[:2] == (
            "adds a secret: a.py:2 ‹redacted:DEMO_KEY›",
            "adds a secret: b.py:1 ‹redacted:github-pat›",
        )
        assert len(verdict.leaks) == 2, "what the base has is not asked again"
        refs = Refs(task=candidate.task.id)

        async def release(repo: str, *fingerprints: str) -> Outcome:
            event = SecretsReleased(repo, candidate.commit, fingerprints)
            await judge.store.write(
                lambda tx: ledger.append(tx, event, actor="slack:T1:U2", source=Source.PERSON, refs=refs)
            )
            return (await judge.pipeline.judge(candidate)).outcome

        ours, rules = (leak.fingerprint for leak in verdict.leaks)
        assert await release("other", ours, rules) is Outcome.HELD, "released for another repository"
        assert await release("demo", ours) is Outcome.HELD, "the other one is not released"
        assert await release("demo", rules) is Outcome.PASSED
        again = await judge.candidate({"c.py": f"key = '{KEY}'\n"})
        assert (await judge.pipeline.judge(again)).outcome is Outcome.PASSED, "not asked again"
        other = await judge.candidate({"c.py": f"token = '{TOKEN[:-1]}C'\n"})
        assert (await judge.pipeline.judge(other)).outcome is Outcome.HELD, "another token of the same kind is"
        kept = b"".join(recorded.canonical for recorded in await judge.store.read(ledger.read))
        assert KEY.encode() not in kept and TOKEN.encode() not in kept


async def test_a_release_of_a_commit_releases_no_secret(tmp_path: Path) -> None:
    house = House(tmp_path, {"airboss.toml": airboss_toml("true")}, env={"DEMO_KEY": KEY})
    async with house.open() as judge:
        candidate = await judge.candidate({"a.py": KEY})
        event, refs = HoldReleased(candidate.commit, True, ""), Refs(task=candidate.task.id)
        await judge.store.write(
            lambda tx: ledger.append(tx, event, actor="slack:T1:U2", source=Source.PERSON, refs=refs)
        )
        assert (await judge.pipeline.judge(candidate)).outcome is Outcome.HELD
