"""The reviewer's wire and schema against servers of others: fakellm, and llama.cpp in ``make torture``."""

from __future__ import annotations

import json
import platform
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fleet.agents.families import named
from fleet.config import ReviewerConfig
from gates.review.asking import PreparedReview, Review, ask, prepare
from gates.review.exchange import WhyNone
from gates.review.shown import read_patch
from tests.conftest import FULL
from tests.far_end.rules_model import RulesModel, rules_model
from tests.far_end.small_model import NAME, small_model

PATCH = b"""\
diff --git a/shop/cart.py b/shop/cart.py
index 1111111..2222222 100644
--- a/shop/cart.py
+++ b/shop/cart.py
@@ -1,3 +1,6 @@
 import math
-TAX = 1
+TAX = 2
 LIMIT = 3
+
+def price(net):
+    return net * TAX
"""
#: How each answer begins, by our schema.
SEEN = re.compile(r'\s*\{\s*"seen"\s*:\s*\[\s*"')
CACHE = Path(__file__).parents[2] / ".cache" / "small-model"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RulesModel]:
    with rules_model(tmp_path_factory.mktemp("rules")) as running:
        yield running


def prepared_for(url: str, name: str) -> tuple[ReviewerConfig, PreparedReview]:
    config = ReviewerConfig.model_validate({"url": url, "model": name})
    return config, prepare(config, read_patch(PATCH, None), "raise the tax", "tests: passed", Random(7))


async def asked(model: RulesModel, rules: list[dict[str, Any]], key: str = "") -> Review:
    """A review by these rules; ``WORDS`` and ``PLANTED`` in them are the question's own."""
    config, prepared = prepared_for(model.url, "qwen3-coder:30b")
    planted = prepared.planted
    blocking = {"file": planted.path, "line": planted.first, "severity": "blocking", "reason": "wrong"}
    text = json.dumps(rules)
    text = text.replace("WORDS", json.dumps(json.dumps(list(prepared.words)))[1:-1])
    text = text.replace("PLANTED", json.dumps(json.dumps(blocking))[1:-1])
    model.answer(*json.loads(text))
    return await ask(config, key, prepared, author="anthropic")


def saying(content: str, **when: str) -> list[dict[str, Any]]:
    return [{"name": "one", "when": {"messages_contain": "raise the tax", **when}, "respond": {"content": content}}]


OTHER = '{"file": "shop/cart.py", "line": 2, "severity": "blocking", "reason": "doubled"}'


@pytest.mark.parametrize(
    ("rules", "none", "found"),
    [
        (saying('{"seen": WORDS, "findings": [PLANTED]}'), None, 0),
        (saying(f'{{"seen": WORDS, "findings": [PLANTED, {OTHER}]}}'), None, 1),
        (saying('{"seen": WORDS, "findings": []}'), WhyNone.MISSED_DEFECT, 0),
        (saying('{"seen": ["a", "b"], "findings": [PLANTED]}'), WhyNone.NOT_READ_WHOLE, 0),
        (saying('{"seen": WORDS, "findings": [], "verdict": "approved"}'), WhyNone.MALFORMED, 0),
        (saying('{"seen": WORDS, "findings": [PLANTED]}', model_matches="llama*"), WhyNone.MALFORMED, 0),
        ([{"name": "busy", "respond": {"status": 429, "error": "Rate limit"}}], WhyNone.BUSY, 0),
        ([{"name": "broken", "respond": {"status": 500}}], WhyNone.BUSY, 0),
        ([{"name": "tool", "respond": {"tool_calls": [{"name": "approve"}]}}], WhyNone.MALFORMED, 0),
        ([], WhyNone.MALFORMED, 0),
    ],
)
async def test_a_server_by_rules(
    model: RulesModel, rules: list[dict[str, Any]], none: WhyNone | None, found: int
) -> None:
    review = await asked(model, rules)
    assert (review.none and review.none.why) is none, review
    assert len(review.findings) == found
    if none is None:
        assert str(review.answered) == "qwen3-coder:30b (qwen, asserted)"


async def test_the_key_is_what_its_rule_wants(model: RulesModel) -> None:
    rules = saying('{"seen": WORDS, "findings": [PLANTED]}', **{"header.authorization": "Bearer k-123"})
    refused = await asked(model, [*rules, {"name": "no", "respond": {"status": 401}}])
    assert refused.none is not None
    assert (await asked(model, rules, key="k-123")).none is None


if FULL and (sys.platform, platform.machine()) == ("linux", "x86_64"):

    @pytest.mark.timeout(1800)
    async def test_a_real_small_model_keeps_to_the_schema_and_gives_no_review() -> None:
        with small_model(CACHE, most=48) as url:
            config, prepared = prepared_for(url, NAME)
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{url}/chat/completions", prepared.body, headers)
            with urllib.request.urlopen(request, timeout=900) as response:
                raw = json.load(response)
            assert named(raw["model"]) == {"huggingface"}
            assert SEEN.match(raw["choices"][0]["message"]["content"]), raw
            review = await ask(config.model_copy(update={"timeout": "15m"}), "", prepared, author="anthropic")
            assert review.none is not None
            assert review.none.why in (WhyNone.MALFORMED, WhyNone.NOT_READ_WHOLE, WhyNone.MISSED_DEFECT), review
