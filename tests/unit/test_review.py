"""The independent reviewer, one exchange at a time: what it is shown, who answers, and what counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from gates.leaks.added import added
from gates.review.asking import Review, ask, prepare
from gates.review.exchange import NoReview, WhyNone, read_answer
from gates.review.independence import Identity
from gates.review.shown import Mark, read_patch, redact_lines, render
from tests.far_end.reviewer import Asked, FakeReviewer, answer, attentive, blocking, obedient

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
@@ -20,2 +23,3 @@ def later():
 old
+new
 end
"""
ADDED = "TAX = 2\n\ndef price(net):\n    return net * TAX\nnew"
CODE = read_patch(PATCH, None)


async def review(
    server: FakeReviewer,
    *,
    patch: bytes = PATCH,
    key: str = "",
    author: str = "anthropic",
    allow_asserted: bool = True,
    task: str = "raise the tax",
    **config: Any,
) -> Review:
    reviewer = server.config(**config)
    prepared = prepare(reviewer, read_patch(patch, None), task, "tests: passed")
    return await ask(reviewer, key, prepared, author=author, allow_asserted=allow_asserted)


# --- what is shown -------------------------------------------------------------------------------------


def test_each_line_has_its_number_in_the_new_file() -> None:
    (file,) = CODE
    assert file.path == "shop/cart.py"
    assert file.numbers() == {1, 2, 3, 4, 5, 6, 23, 24, 25}
    assert "     2 + TAX = 2" in str(file)
    assert "       - TAX = 1" in str(file)


def test_no_line_of_a_file_passes_for_a_header() -> None:
    patch = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-a\n+++ b/y\n+diff --git a/z b/z\n"
    (file,) = read_patch(patch, None)
    assert [line.text for line in file.hunks[0] if line.mark is Mark.ADDED] == ["++ b/y", "diff --git a/z b/z"]


def test_what_is_invisible_is_shown() -> None:
    patch = "diff --git a/x b/x\n@@ -0,0 +1 @@\n+ok = 1 # \u202e\u200b\r\n".encode()
    (file,) = read_patch(patch, None)
    assert "\u202e" not in str(file)
    assert "u202e" in str(file)
    (file,) = read_patch(
        "diff --git a/x b/x\n@@ -0,0 +1 @@\n+const { a, \u3164 } = b; // é ❤\ufe0f\n".encode(), None
    )
    assert "const { a, \\u3164 } = b; // é ❤\ufe0f" in str(file), "a letter that shows nothing"


def test_a_reviewer_cannot_read_a_binary_file() -> None:
    with pytest.raises(NoReview, match="binary") as caught:
        read_patch(b"diff --git a/x b/x\n@@ -0,0 +1 @@\n+a\0b\n", None)
    assert caught.value.why is WhyNone.BINARY


def test_a_patch_that_was_cut_is_no_change() -> None:
    with pytest.raises(NoReview):
        read_patch(PATCH[:-20], None)


def test_a_secret_over_several_lines_hides_them_and_moves_none() -> None:
    lines = ["a", "-----BEGIN", "SECRET", "-----END", "b"]
    shown = redact_lines(lines, lambda text: text.replace("-----BEGIN\nSECRET\n-----END", "‹redacted:key›"))
    assert (shown[0], shown[-1], len(shown)) == ("a", "b", 5)
    assert "SECRET" not in "".join(shown)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (b'"b/\\303\\244 b/x.py"', "ä b/x.py"),
        (b"b/a b/x.py\t", "a b/x.py"),
        (b'"b/tab\\there.py"', "tab\there.py"),
    ],
)
def test_a_secret_is_hidden_in_a_file_of_any_name(written: bytes, path: str) -> None:
    head = b"diff --git " + written.replace(b"b/", b"a/", 1).rstrip() + b" " + written.rstrip()
    patch = head + b"\n--- /dev/null\n+++ " + written + b"\n@@ -0,0 +1,2 @@\n+a\n+token\n"
    assert added(patch)[0].path == path
    (file,) = read_patch(patch, None, {(path, 2)})
    assert [line.text for line in file.hunks[0]] == ["a", "‹redacted›"]


def test_a_file_that_is_gone_keeps_its_name() -> None:
    patch = b"diff --git a/x b/x\ndeleted file mode 100644\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
    assert [file.path for file in read_patch(patch, None)] == ["x"]


# --- the exchange --------------------------------------------------------------------------------------


async def test_a_reviewer_that_finds_the_defect_has_no_objection_to_the_rest() -> None:
    async with FakeReviewer(attentive(ADDED)).serving() as server:
        done = await review(server)
    assert done.none is None
    assert (done.caught, done.findings) == (True, ())
    assert str(done.answered) == "qwen3-coder:30b (qwen, asserted)"


async def test_an_objection_points_at_the_line_of_the_change() -> None:
    async with FakeReviewer(attentive(ADDED.replace("TAX = 2", ""))).serving() as server:
        for _ in range(10):
            done = await review(server)
            assert [(each.file, each.line) for each in done.findings] == [("shop/cart.py", 2)]


async def test_a_reviewer_that_misses_the_defect_gives_no_review() -> None:
    async with FakeReviewer(obedient).serving() as server:
        done = await review(server)
    assert done.none is not None
    assert done.none.why is WhyNone.MISSED_DEFECT
    assert (done.caught, done.findings) == (False, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I approve this change.",
        "{}",
        '{"seen": SEEN, "findings": "none"}',
        '{"seen": SEEN, "findings": [], "approved": true}',
        '{"seen": SEEN, "findings": [{"file": "shop/cart.py", "line": "2", "severity": "minor", "reason": "x"}]}',
        '{"seen": SEEN, "findings": [{"file": "shop/cart.py", "line": 2, "severity": "huge", "reason": "x"}]}',
        '{"seen": SEEN, "findings": [{"file": "other.py", "line": 2, "severity": "blocking", "reason": "x"}]}',
        '{"seen": SEEN, "findings": [',
        '{"seen": ["a", "b"], "findings": []}',
        '{"seen": [], "findings": []}',
        "[" * 100_000,
    ],
)
async def test_an_answer_off_the_schema_is_no_review(text: str) -> None:
    def think(asked: Asked) -> str:
        return text.replace("SEEN", json.dumps(asked.seen))

    async with FakeReviewer(think).serving() as server:
        done = await review(server)
    assert done.none is not None
    assert done.none.why in (WhyNone.MALFORMED, WhyNone.NOT_READ_WHOLE)


def test_more_findings_than_a_person_reads_are_no_review() -> None:
    many = json.dumps({"seen": ["a", "b"], "findings": [blocking("x", 1)] * 201})
    with pytest.raises(NoReview):
        read_answer(many, ("a", "b"))


async def _slow(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def _half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"model": "qwen3')
    assert request.transport is not None
    request.transport.close()
    return response


async def _redirect(request: web.Request) -> web.StreamResponse:
    if request.query:
        return web.Response(status=429)  # it was followed
    raise web.HTTPTemporaryRedirect(f"{request.path}?moved=1")


async def _busy(request: web.Request) -> web.StreamResponse:
    return web.Response(status=429)


async def _forbidden(request: web.Request) -> web.StreamResponse:
    return web.Response(status=401)


async def _nameless(request: web.Request) -> web.StreamResponse:
    return web.json_response({"choices": [{"finish_reason": "stop", "message": {"content": "{}"}}]})


async def _compressed(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\x1f\x8b\x08", headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("respond", "why"),
    [
        (_slow, WhyNone.UNREACHABLE),
        (_half, WhyNone.UNREACHABLE),
        (_redirect, WhyNone.UNREACHABLE),
        (_busy, WhyNone.BUSY),
        (_forbidden, WhyNone.NOT_CONFIGURED),
        (_nameless, WhyNone.MALFORMED),
        (_compressed, WhyNone.MALFORMED),
    ],
)
async def test_a_broken_answer_is_no_review(
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]], why: WhyNone
) -> None:
    async with FakeReviewer(respond=respond).serving() as server:
        done = await review(server, timeout="1s" if respond is _slow else "60s")
    assert done.none is not None
    assert done.none.why is why


async def test_an_unreachable_reviewer_is_no_review() -> None:
    async with FakeReviewer().serving() as server:
        pass
    done = await review(server)
    assert done.none is not None
    assert done.none.why is WhyNone.UNREACHABLE


async def test_a_huge_answer_is_no_review() -> None:
    async with FakeReviewer(attentive(ADDED), pad=5 << 20).serving() as server:
        done = await review(server)
    assert done.none is not None
    assert done.none.why is WhyNone.MALFORMED


async def test_a_cut_answer_is_no_review() -> None:
    async with FakeReviewer(attentive(ADDED), finish="length").serving() as server:
        done = await review(server)
    assert done.none is not None


async def test_a_change_too_large_to_be_shown_whole_gets_no_review() -> None:
    async with FakeReviewer(attentive(ADDED)).serving() as server:
        rows = b"".join(b"+%d\n" % number for number in range(2000))
        with pytest.raises(NoReview) as caught:
            await review(server, patch=b"diff --git a/x b/x\n@@ -0,0 +1,2000 @@\n" + rows, diff_bytes=1000)
        assert caught.value.why is WhyNone.TOO_LARGE
        assert server.asked == []


# --- who answered --------------------------------------------------------------------------------------

LISTED = {"name": "qwen3-coder:30b", "digest": "ab" * 32, "details": {"family": "qwen3moe"}}


@pytest.mark.parametrize(
    "answers", ["claude-sonnet-4", "llama-3.3-70b", "gpt-4o", "house-model", "qwen-claude-merge"]
)
async def test_another_model_behind_the_name_is_no_review(answers: str) -> None:
    async with FakeReviewer(attentive(ADDED), model=answers).serving() as server:
        done = await review(server)
    assert done.none is not None
    assert done.none.why is WhyNone.SWAPPED


async def test_weights_of_the_authors_family_behind_another_name_are_no_review() -> None:
    listed = {**LISTED, "details": {"family": "llama"}}
    async with FakeReviewer(attentive(ADDED), listing=[listed]).serving() as server:
        done = await review(server, author="meta")
    assert done.none is not None
    assert done.none.why is WhyNone.SAME_FAMILY


async def test_a_digest_pins_the_model() -> None:
    async with FakeReviewer(attentive(ADDED), listing=[LISTED]).serving() as server:
        done = await review(server, digest="ab" * 6, allow_asserted=False)
        assert done.none is None
        assert done.answered is not None
        assert done.answered.identity is Identity.PINNED
        other = await review(server, digest="cd" * 6)
        server.listing = None
        gone = await review(server, digest="ab" * 6)
    assert other.none is not None and other.none.why is WhyNone.SWAPPED
    assert gone.none is not None and gone.none.why is WhyNone.SWAPPED


async def test_a_model_that_is_swapped_while_it_answers_is_no_review() -> None:
    server = FakeReviewer(listing=[LISTED])

    def think(asked: Asked) -> str:
        server.listing = [{**LISTED, "digest": "cd" * 32}]
        return attentive(ADDED)(asked)

    server.think = think
    async with server.serving():
        done = await review(server)
    assert done.none is not None
    assert done.none.why is WhyNone.SWAPPED


async def test_a_repository_may_refuse_a_model_that_nothing_pins() -> None:
    async with FakeReviewer(attentive(ADDED), listing=[LISTED]).serving() as server:
        done = await review(server, allow_asserted=False)
    assert done.none is not None
    assert done.none.why is WhyNone.NOT_PINNED


async def test_whoever_squats_the_port_cannot_know_what_is_planted() -> None:
    said = '{"seen": ["a", "b"], "findings": []}'
    for think in (lambda _: said, obedient, lambda asked: answer(asked, [blocking("shop/cart.py", 2)])):
        async with FakeReviewer(think).serving() as server:
            done = await review(server)
        assert done.none is not None


async def test_the_key_goes_in_a_header_and_nowhere_else() -> None:
    async with FakeReviewer(attentive(ADDED)).serving() as server:
        done = await review(server, key="k-123456789")
    (asked,) = server.asked
    assert asked.headers["Authorization"] == "Bearer k-123456789"
    assert "k-123456789" not in asked.raw + repr(done)


def test_two_questions_share_no_mark() -> None:
    server = FakeReviewer(url="http://127.0.0.1:1/v1")
    first, second = (prepare(server.config(), CODE, "", "") for _ in range(2))
    assert not set(first.words) & set(second.words)
    assert render(CODE)
