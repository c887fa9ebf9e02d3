"""What is planted in a change before a reviewer sees it, and who may review whom."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fleet.config import AgentConfig
from gates.review.defects import DefectKind, plant
from gates.review.exchange import NoReview, Remark, RemarkSeverity, WhyNone
from gates.review.independence import author_family, choose
from gates.review.shown import read_patch
from tests.far_end.reviewer import FakeReviewer
from tests.unit.test_review import CODE

# --- the planted defect --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_findings_about_the_change_get_their_own_numbers_back(seed: int) -> None:
    planted = plant(CODE, random.Random(seed))
    copy = next(file for file in planted.files if file.path == planted.path)
    lines = {line.number: line.text for hunk in copy.hunks for line in hunk if line.number}
    real = {line.text: line.number for hunk in CODE[0].hunks for line in hunk if line.number}
    on_plant = [Remark(planted.path, planted.first + 1, RemarkSeverity.BLOCKING, "bad")]
    assert planted.caught(on_plant)
    assert planted.without(on_plant) == []
    assert sorted(lines) == sorted(set(lines))
    for number, text in lines.items():
        if text in real:
            moved = planted.without([Remark(planted.path, number, RemarkSeverity.MINOR, "x")])
            assert text == "" or [each.line for each in moved] == [real[text]]


def test_what_is_planted_differs_from_time_to_time() -> None:
    planted = [plant(CODE, random.Random(seed)) for seed in range(60)]
    assert {each.kind for each in planted} == set(DefectKind)
    assert len({each.first for each in planted}) > 1
    assert len({each.name for each in planted}) > 20


def test_a_change_without_code_gets_a_file_of_its_own() -> None:
    text = read_patch(b"diff --git a/doc/a.txt b/doc/a.txt\n@@ -0,0 +1 @@\n+hello\n", None)
    planted = plant(text, random.Random(1))
    assert planted.own_file
    assert planted.path.startswith("doc/")
    assert planted.path.endswith(".py")
    assert planted.without([Remark(planted.path, 0, RemarkSeverity.BLOCKING, "x")]) == []


def test_a_file_of_its_own_is_in_a_directory_that_the_change_leaves() -> None:
    gone = b"diff --git a/old/a.txt b/old/a.txt\ndeleted file mode 100644\n@@ -1 +0,0 @@\n-hello\n"
    here = b"diff --git a/doc/a.txt b/doc/a.txt\n@@ -0,0 +1 @@\n+hello\n"
    assert plant(read_patch(here + gone, None), random.Random(1)).path.startswith("doc/")
    assert "/" not in plant(read_patch(gone, None), random.Random(1)).path


def test_an_objection_at_a_line_of_its_own_stays_whatever_its_reason_names() -> None:
    """A change could ask for the names of all functions in each reason."""
    planted = plant(CODE, random.Random(3))
    (kept,) = planted.without([Remark("shop/cart.py", 2, RemarkSeverity.BLOCKING, f"like {planted.name}")])
    assert (kept.line, kept.reason) == (2, "like another function")
    assert planted.without([Remark("shop/cart.py", 0, RemarkSeverity.BLOCKING, f"see {planted.name}")]) == []
    (elsewhere,) = planted.without([Remark("shop/words.py", 0, RemarkSeverity.BLOCKING, f"see {planted.name}")])
    assert elsewhere.reason == "see another function"


def test_a_minor_remark_is_no_catch() -> None:
    planted = plant(CODE, random.Random(3))
    assert not planted.caught([Remark(planted.path, planted.first + 1, RemarkSeverity.MINOR, "hm")])


# --- who may review whom -------------------------------------------------------------------------------


def agent(**fields: Any) -> AgentConfig:
    return AgentConfig.model_validate({"driver": "claude", "program": ["claude"], **fields})


def test_the_authors_family_is_what_was_configured_and_what_was_seen() -> None:
    assert author_family([("a", agent())], ["claude-opus-4"]) == "anthropic"
    assert author_family([("a", agent(driver="command", family="Qwen"))], []) == "qwen"
    assert author_family([("a", agent(driver="command", family="own"))], ["own-model-2"]) == "own"


@pytest.mark.parametrize(
    ("agents", "observed"),
    [
        ([("a", agent())], ["gpt-5"]),
        ([("a", agent(model="gpt-5", family="anthropic"))], []),
        ([("a", agent()), ("b", agent(driver="codex"))], []),
        ([("a", agent())], ["house-model"]),
        ([("a", agent(driver="command"))], []),
        ([("a", None)], ["claude-opus-4"]),
        ([("a", agent())], ["deepseek-r1-distill-qwen"]),
        ([], []),
    ],
)
def test_a_conflict_or_an_unknown_author_means_no_review(
    agents: list[tuple[str, AgentConfig | None]], observed: list[str]
) -> None:
    with pytest.raises(NoReview) as caught:
        author_family(agents, observed)
    assert caught.value.why is WhyNone.AUTHOR_UNKNOWN


def test_the_reviewer_is_one_of_another_family() -> None:
    server = FakeReviewer(url="http://127.0.0.1:1/v1")
    both = {"a": server.config(model="claude-sonnet-4"), "b": server.config(model="qwen3")}
    assert choose(both, "", "anthropic") == "b"
    assert choose(both, "a", "openai") == "a"
    for reviewers, wanted in ((both, "a"), ({"a": both["a"]}, ""), (both, "c"), ({}, "")):
        with pytest.raises(NoReview):
            choose(reviewers, wanted, "anthropic")
