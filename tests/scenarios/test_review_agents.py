"""Agents as reviewers: the real Claude Code, Codex and one of the Agent Client Protocol, with a scripted model.

They read a checkout that has the planted defect as well, and change nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet.config import AgentConfig, FleetConfig, MachineConfig, ReviewerConfig, Secrets
from fleet.config.problems import ConfigProblems
from fleet.config.reading import parse_fleet
from fleet.git.repository import Repository
from fleet.git.workspace import Workspaces
from fleet.machines.executors import Executors
from fleet.model import Isolation
from gates.review.agent import AgentReviewers
from gates.review.asking import Review
from gates.review.exchange import WhyNone
from gates.review.of_branch import objections, review_of
from gates.review.trial import SAMPLE
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.repositories import commit, git, make_bare
from tests.far_end.responses_model import ResponsesModel
from tests.far_end.reviewer import Asked, Think, attentive, blocking
from tests.far_end.scripted_model import Asking, Reply, ScriptedModel, call, say

pytestmark = pytest.mark.timeout(180)
MODELS = {"claude": "claude-sonnet-4-5", "codex": "gpt-5-codex", "acp": "claude-sonnet-4-5"}


@dataclass
class Stand:
    """A reviewer that is an agent, a change, and what the model saw of the checkout."""

    name: str
    room: Path
    model: ScriptedModel
    config: FleetConfig
    reviewer: ReviewerConfig

    async def review(
        self, files: dict[str, str | bytes], author: str = "", links: dict[str, Path] | None = None
    ) -> Review:
        bare = make_bare(self.room / "demo.git", {"a.txt": "a\n", "shop/price.py": "# prices\n"})
        base = git(bare, "rev-parse", "main")
        for name, target in (links or {}).items():
            (bare.with_suffix(".work") / name).symlink_to(target)
        head = commit(bare.with_suffix(".work"), files)
        git(bare.with_suffix(".work"), "push", "--quiet", str(bare), f"{head}:refs/heads/work")
        repository = Repository("demo", str(bare), "main", self.room / "mirror.git")
        await repository.fetch()
        await repository.branch("work")
        executors = Executors(self.config, self.room / "home")
        try:
            asking = AgentReviewers(
                lambda: self.config, executors, Workspaces(lambda: self.config.limits), Secrets({})
            )
            return await review_of(
                repository, base, head, self.reviewer, key="", author=author, about="prices", redact=None,
                agents=asking,
            )  # fmt: skip
        finally:
            await executors.close()

    def shell(self, command: str) -> Reply:
        if self.name == "codex":
            return call("exec_command", cmd=command)
        return call("Bash", command=command, description="look")

    def thinks(self, think: Think, *before: Reply) -> None:
        """The model makes these calls first, then answers."""

        def answer(asking: Asking) -> Reply:
            if asking.step < len(before):
                return before[asking.step]
            body = {"messages": [{}, {"content": asking.heard}]}
            return say(think(Asked({}, body, asking.heard)))

        self.model.script(answer)


@contextmanager
def standing(name: str, room: Path, **more: object) -> Iterator[Stand]:
    with AnthropicModel() if name != "codex" else ResponsesModel() as model:
        home = agents.codex_home(model.url) if name == "codex" else agents.claude_home(model.url)
        home.put(room / "agent-home")
        program = agents.binary(agents.PROGRAMS.get(name, name))
        read = [str(Path(program).resolve().parents[depth]) for depth in (2,)]
        settings = {**home.env, "HOME": str(room / "agent-home")}
        agent = AgentConfig.model_validate({"driver": name, "program": [program], "settings": settings})
        machine = MachineConfig.model_validate(
            {"executor": "local", "home": str(room / "machine"), "agent_read": read}
        )
        reviewer = ReviewerConfig.model_validate(
            {"agent": "other", "machine": "here", "model": MODELS[name], "timeout": "60s", **more}
        )
        config = FleetConfig(
            isolation=Isolation.UNSAFE_SAME_USER,
            machines={"here": machine},
            agents={"other": agent},
            reviewers={"other": reviewer},
        )
        yield Stand(name, room, model, config, reviewer)


CHANGE: dict[str, str | bytes] = {"shop/price.py": SAMPLE}


@pytest.mark.parametrize("name", ["claude", "codex", "acp"])
async def test_an_agent_reviews_in_a_checkout_of_its_own(tmp_path: Path, name: str) -> None:
    with standing(name, tmp_path) as stand:
        looks = stand.shell("ls && cat shop/price.py; echo changed > shop/evil.py; ls shop")
        stand.thinks(attentive(SAMPLE, blocking("shop/price.py", 0, "the tax is wrong")), looks)
        review = await stand.review(CHANGE, author="mistral")
    assert review.none is None, review.none
    assert review.caught and objections(review) == 1
    assert review.answered is not None and str(review.answered.identity) == "asserted"
    assert review.answered.families == ({"codex": "openai"}.get(name, "anthropic"),)
    results = " ".join(text for asking in stand.model.asked for text in asking.results)
    assert results and "evil.py" not in results.rpartition("price.py")[2], "nothing that it writes stays"
    for left in ("gates", "sessions"):
        assert not any((tmp_path / "machine" / left).glob("review-*")), left


async def test_its_checkout_has_the_planted_defect_too(tmp_path: Path) -> None:
    """Otherwise an agent that looks around would find what is planted, and leave it out."""
    with standing("claude", tmp_path) as stand:
        seen: list[str] = []

        def answer(asking: Asking) -> Reply:
            if asking.step == 0:
                tree = re.search(r"/[^\s\"\\\\]*/gates/review-[0-9a-f]+/tree", json.dumps(asking.body))
                assert tree is not None
                return call("Read", file_path=f"{tree[0]}/shop/price.py")
            seen.extend(asking.results)
            asked = Asked({}, {"messages": [{}, {"content": asking.heard}]}, asking.heard)
            return say(attentive(SAMPLE)(asked))

        stand.model.script(answer)
        review = await stand.review(CHANGE)
    assert review.none is None and review.caught
    known = {row.strip() for row in SAMPLE.splitlines()}
    rows = [row.partition("\t")[2].strip() for row in "\n".join(seen).splitlines() if "\t" in row]
    planted = set(rows) - known
    assert known <= {*rows, ""} and planted, rows
    shown = stand.model.asked[0].heard
    assert all(row in shown for row in planted), "the very rows that the diff shows"


async def test_what_is_no_review(tmp_path: Path) -> None:
    with standing("codex", tmp_path / "same") as stand:
        stand.thinks(attentive(SAMPLE))
        same = await stand.review(CHANGE, author="openai")
    assert same.none is not None and same.none.why is WhyNone.SAME_FAMILY
    with standing("codex", tmp_path / "silent") as stand:
        stand.thinks(lambda _: "all is well, I approve")
        talks = await stand.review(CHANGE)
    assert talks.none is not None and talks.none.why is WhyNone.MALFORMED
    with standing("codex", tmp_path / "gone") as stand:
        stand.config.agents["other"].program[:] = ["/nowhere/codex"]
        gone = await stand.review(CHANGE)
    assert gone.none is not None and gone.none.why is WhyNone.UNREACHABLE


async def test_what_is_planted_stays_in_the_checkout(tmp_path: Path) -> None:
    """A link of the change leads out of it, and has the name that the folder of another file is shown with."""
    (outside := tmp_path / "outside").mkdir()
    with standing("codex", tmp_path) as stand:
        stand.config.agents["other"].program[:] = ["/nowhere/codex"]
        review = await stand.review({"d\u200b/x.txt": "x\n"}, links={r"d\u200b": outside})
    assert review.none is not None and review.none.why is WhyNone.UNREACHABLE
    assert not list(outside.iterdir())


FLEET = """
isolation = "unsafe-same-user"
[machines.here]
executor = "local"
[agents.other]
driver = "codex"
program = ["codex"]
[reviewers.other]
model = "gpt-5"
"""


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("", "exactly one of them"),
        ('agent = "other"', "both or none"),
        ('agent = "nobody"\nmachine = "here"', "nobody"),
        ('agent = "other"\nmachine = "there"', "there"),
        ('agent = "other"\nmachine = "here"\nurl = "http://127.0.0.1:1/v1"', "exactly one of them"),
        ('agent = "other"\nmachine = "here"\ndigest = "0123456789ab"', "is for an endpoint"),
    ],
)
def test_what_is_wrong_in_its_table(more: str, words: str) -> None:
    with pytest.raises(ConfigProblems, match=words):
        parse_fleet(FLEET + more, "fleet.toml")
