"""What somebody types on the first day: who am I, what runs, which repositories, what is wrong, what it cost."""

from __future__ import annotations

from pathlib import Path

from bot.cards import Card, shown
from bot.doctor.findings import Finding, Severity
from bot.logins import log_ins
from fleet.config import parse_fleet
from fleet.events import Refs, Source, UsageReported
from fleet.model import ChatRef, Isolation, TaskState
from fleet.store import landings, leases, ledger, sessions, tasks
from fleet.store.chat import attachments
from fleet.store.core import Tx
from fleet.store.landings import IntentOutcome
from fleet.store.spending import Spent, spent
from gates.people import Right
from tests.chat_house import FLEET, House, house
from tests.rows import asked as queued

TWO_REPOS = FLEET + '[repos.docs]\nurl = "/srv/docs.git"\n'


def rows(card: Card) -> list[str]:
    return [shown(card.title), *(shown(row) for row in card.lines)]


async def test_who_i_am_and_what_runs(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        result, (card,) = await there.say("/whoami")
        assert rows(card)[:2] == ["Ada · admin", "Your id: phone::ada"]
        assert result.data and result.data["rights"] == sorted(Right)
        result, (card,) = await there.say("/version")
        assert (rows(card)[0], result.data and result.data["version"]) == ("airboss 0.1.0", "0.1.0")


async def test_repositories_with_their_gates_and_what_is_wrong(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO_REPOS) as there:
        result, (card,) = await there.say("/repos")
        assert rows(card) == [
            "2 repositories",
            "docs · main",
            "⚠ no answer",
            "shop · main at aaaaaaaaaa",
            "gates: lint (linux), tests (linux)",
            "/use NAME makes one this chat's own.",
        ]
        assert result.data and result.data["count"] == 2


async def test_a_chat_has_a_default_repository(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO_REPOS) as there:
        _, (asked,) = await there.say("/run mend it")
        assert rows(asked)[0] == "Which repository?"
        _, (card,) = await there.say("/use SHOP")
        assert rows(card)[0] == "This chat uses shop"
        await there.say("/run mend it")
        await there.say("/run repo=docs mend it")
        assert [task.repo for task in await there.tasks()] == ["docs", "shop"]
        _, (when,) = await there.say("/schedule every day 9:00 run mend it")
        assert "shop" in when.to_json() and "Which repository" not in when.to_json()
        _, (mine,) = await there.say("/whoami")
        assert "This chat uses shop" in rows(mine)
        await there.say("/use off")
        _, (asked,) = await there.say("/run mend it")
        assert rows(asked)[0] == "Which repository?"
        _, (which,) = await there.say("/use")
        _, (chosen,) = await there.press(which, "docs")
        assert rows(chosen)[0] == "This chat uses docs"
        result, (unknown,) = await there.say("/use nothing-like-it")
        assert result.status == 2 and rows(unknown)[-1] == "Known: docs, shop."


async def test_a_default_repository_that_left_fleet_toml_is_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO_REPOS) as there:
        await there.say("/use docs")
        there.configured(parse_fleet(FLEET, "fleet.toml"))
        await there.say("/run mend it")
        assert [task.repo for task in await there.tasks()] == ["shop"]


async def test_doctor_says_the_worst_first_and_stays_short(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        there.fleet.found = [Finding(Severity.OK, "git", "git version 2.39")]
        _, (card,) = await there.say("/doctor")
        assert rows(card) == ["Nothing is wrong"]
        there.fleet.found += [Finding(Severity.WARN, f"part {n}", "old", "renew it") for n in range(9)]
        there.fleet.found.append(Finding(Severity.BAD, "repository shop", "no answer", "start its server"))
        result, (card,) = await there.say("/doctor")
        assert rows(card)[:3] == ["10 findings", "✗ repository shop: no answer", "  start its server"]
        assert rows(card)[-1] == "and 6 more" and len(rows(card)) <= 12
        assert result.data and result.data["status"] == 1


def test_where_to_log_in() -> None:
    config = parse_fleet(
        """
[machines.evo-x2]
executor = "local"
run_as = ["agents", "agents2"]
[machines.macbook]
executor = "ssh"
host = "macbook.local"
port = 2222
user = "agents"
host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPFbbd0Eal0aQEw1Zr1oiVOJPyQ9qsqYaN0a1yhc0vB"
[agents.claude]
driver = "claude"
program = ["claude"]
env = ["ANTHROPIC_API_KEY"]
[agents.codex]
driver = "codex"
program = ["codex"]
[agents.own]
driver = "command"
program = ["cat"]
""",
        "fleet.toml",
    )
    assert [(step.agent, step.machine, step.command, step.note) for step in log_ins(config)] == [
        ("claude", "evo-x2", "sudo -iu agents claude", "in place of its key; also as agents2"),
        ("claude", "macbook", "ssh -t -p 2222 agents@macbook.local claude", "in place of its key"),
        ("codex", "evo-x2", "sudo -iu agents codex login", "also as agents2"),
        ("codex", "macbook", "ssh -t -p 2222 agents@macbook.local codex login", ""),
    ]


# --- what was ---------------------------------------------------------------------------------------------


def asked(tx: Tx, repo: str, prompt: str, state: TaskState = TaskState.STOPPED) -> str:
    task = queued(tx, repo=repo, prompt=prompt, origin=ChatRef("phone", "elsewhere"))
    if state is not TaskState.QUEUED:
        tasks.move(tx, task.id, state, "", "airboss")
    return task.id


async def test_history_page_by_page_and_by_repository(tmp_path: Path) -> None:
    async with house(tmp_path, fleet_toml=TWO_REPOS) as there:
        _, (none,) = await there.say("/history")
        assert rows(none) == ["Tasks", "No tasks here."]

        def fill(tx: Tx) -> None:
            for number in range(23):
                asked(tx, "docs" if number % 2 else "shop", f"number {number}")

        await there.store.write(fill)
        result, (first,) = await there.say("/history")
        assert rows(first)[0] == "Tasks · 1-10" and len(first.lines) == 10
        assert rows(first)[1].startswith("■ t23 shop · stopped ") and rows(first)[1].endswith(" · number 22")
        assert result.data and result.data["more"] is True
        _, (second,) = await there.press(first, "More")
        _, (third,) = await there.press(second, "More")
        assert [action.label for action in third.actions] == ["t3", "t2", "t1", "Back"]
        _, (docs,) = await there.say("/history docs 2")
        assert rows(docs)[0] == "Tasks of docs · 11-11"
        assert rows(docs)[1].startswith("■ t2 · stopped ")
        _, (back,) = await there.press(docs, "Back")
        assert rows(back)[0] == "Tasks of docs · 1-10"
        result, _ = await there.say("/history nowhere")
        assert result.status == 2


def session_of(tx: Tx, task: str, agent: str) -> str:
    unsafe = Isolation.UNSAFE_SAME_USER
    return sessions.create_session(
        tx, task=task, machine="macbook", agent=agent, base="b" * 40, isolation=unsafe
    ).id


async def test_cost_by_agent_and_what_a_subscription_pays(tmp_path: Path) -> None:
    fleet_toml = FLEET + '[agents.claude]\ndriver = "claude"\nprogram = ["claude"]\n'
    async with house(tmp_path, fleet_toml=fleet_toml) as there:
        _, (nothing,) = await there.say("/cost")
        assert rows(nothing)[0] == "Cost · $0.00 today · $0.00 in 7 days"

        def spend(tx: Tx) -> None:
            task = asked(tx, "shop", "x", TaskState.QUEUED)
            for agent, cost in (("claude", 2_500_000), ("demo", 0)):
                refs = Refs(task=task, session=session_of(tx, task, agent))
                used = UsageReported(1_000, 500, cost)
                ledger.append(tx, used, actor="airboss", source=Source.AGENT, refs=refs)
            imported = Refs(session="claude:elsewhere")
            entry = UsageReported(9, 9, 9_000_000)
            ledger.append(tx, entry, actor="airboss", source=Source.IMPORT, refs=imported)

        await there.store.write(spend)
        result, (card,) = await there.say("/cost")
        assert rows(card) == [
            "Cost · $2.50 today · $2.50 in 7 days",
            "claude* · $2.50 today · $2.50 in 7 days",
            "demo · 1,500 tokens today · 1,500 tokens in 7 days",
            "* list price: a subscription pays these, by its own limits",
        ]
        assert result.data
        now = await there.store.read(Tx.now_us)
        assert await spent(there.store, now + 1, now + 1) == {}
        since = await spent(there.store, 0, now + 1)
        assert since["claude"] == Spent(0, 2_500_000, 0, 1_500), "reported before today"


def landed(tx: Tx, prompt: str) -> str:
    task = asked(tx, "shop", prompt, TaskState.QUEUED)
    lease = leases.seize(tx, "landing:shop", "test", 60_000_000)
    intent = landings.intend(
        tx, lease.fence, repo="shop", ref="refs/heads/main", old="a" * 40, new="c" * 40, tree="d" * 40, task=task
    )
    landings.finish(tx, intent.id, IntentOutcome.DONE)
    return task


async def test_undo_is_a_task_with_the_reverse_of_what_landed(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.store.write(lambda tx: landed(tx, "fix the discount\nand more"))
        await there.store.write(lambda tx: asked(tx, "shop", "never landed"))
        result, (card,) = await there.say("/revert t1")
        assert (result.status, result.task) == (0, "t3")
        assert rows(card)[0].startswith("t3 · shop · Undo t1: fix the discount")
        (made, *_) = await there.tasks()
        assert made.prompt.startswith("Undo t1: fix the discount\n\nTake back exactly what t1 changed (commit cccc")
        (file,) = await there.store.read(lambda tx: attachments.of_note(tx, "t3", attachments.REQUEST))
        assert file.name == "t1-undo.patch" and "+new" in Path(file.path).read_text()
        result, (twice,) = await there.say("/undo t1")
        assert result.status == 2 and "t3 does it already" in twice.to_json()
        result, (nothing,) = await there.say("/undo t2")
        assert result.status == 2 and "it landed nothing: it is stopped" in nothing.to_json()


async def test_a_fork_needs_words_and_a_snapshot(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        await there.store.write(lambda tx: asked(tx, "shop", "fix it"))
        result, (card,) = await there.say("/fork t1")
        assert result.status == 2 and "it does not say what to do" in card.to_json()
        result, (card,) = await there.say("/fork t1 more")
        assert result.status == 2 and "it has no snapshot" in card.to_json()
        result, (card,) = await there.say("/fork t1 budget=5calls more")
        assert result.status == 2 and "the limits of its task" in card.to_json()
        result, (card,) = await there.say("/fork t1 -- budget=5calls is a word")
        assert "it has no snapshot" in card.to_json()
        assert len(await there.tasks()) == 1


async def test_fleet_before_a_verb_is_that_verb(tmp_path: Path) -> None:
    async def title(there: House, text: str) -> str:
        _, (card,) = await there.say(text)
        return rows(card)[0]

    async with house(tmp_path) as there:
        assert await title(there, "/fleet whoami") == "Ada · admin"
        assert await title(there, "fleet history shop") == "Tasks of shop"
        assert (await title(there, "/fleet")).startswith("fleet: ")
        assert (await title(there, "/fleet nonsense")).startswith("fleet: ")
