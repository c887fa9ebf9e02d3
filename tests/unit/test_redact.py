"""No secret passes the redactor, whoever made it and however it is written."""

from __future__ import annotations

import base64
import json
import logging
import re
import textwrap
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.events import AgentSaid, Refs, Source, ToolCallStarted
from fleet.events.codec import Unwritten, encode_all
from fleet.logs import setup_logging
from fleet.redact import _SHAPES, Redactor

LETTERS = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eFhGiJkLlMnOoPqRrStUuVwXxYzADcfI"


def body(size: int) -> str:
    return (LETTERS * (size // len(LETTERS) + 1))[:size]


# Put together here, so that no scanner of this repository takes them for real ones.
SHAPES = {
    "anthropic-key": ["sk-" + "ant-api03-" + body(40)],
    "openai-key": ["sk-" + body(40), "sk-" + "proj-" + body(40)],
    "slack-token": ["xo" + "xb-12345-67890-" + body(24), "xa" + "pp-1-A1-" + body(30)],
    "slack-webhook": ["hooks.slack.com/" + "services/T0/B0/" + body(24)],
    "telegram-token": ["123456789:" + "AA" + body(33)],
    "github-token": [
        *("gh" + "p_" + body(36), "github" + "_pat_" + body(60)),
        "gh" + "s_12345678_ey" + "JhbGciOiJSUzI1NiJ9.ey" + "JpYXQiOjE3fQ." + body(60),
    ],
    "access-token": [
        *(start + "_" + body(36) for start in ("np" + "m", "h" + "f", "gs" + "k", "sk" + "_live", "rk" + "_live")),
        *("sh" + f"p{which}_" + "0123456789abcdef" * 2 for which in ("at", "ca", "pa", "ss")),
        "hv" + "s." + body(40),
        "xa" + "i-" + body(60),
        "ATA" + "TT3xFfGF0" + body(60) + "=1A2B3C4D",
        "AGE-" + "SECRET-KEY-1" + "QPZRY9X8GF2TVDW0" * 3,
        "gl" + "pat-" + body(20),
        "gl" + "pat-" + body(27) + ".0w0a1b2c3",
        "dc" + "kr_pat_a-B1_" + body(22),
        "SG" + ".a-B1_" + body(17) + "." + body(43),
        "M" + body(23) + ".Ab1_-x." + body(38),
        "abc8" + "Q~" + body(34),
        "S" + "K" + "0123456789abcdef" * 2,
        "ya" + "29.a0-B1_" + body(60),
        "da" + "pi" + "0123456789abcdef" * 2,
    ],
    "aws-key": ["AK" + "IA" + "ABCDEFGHIJKLMNOP"],
    "google-key": ["AI" + "za" + body(35)],
    "jwt": ["ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxIn0aaaa." + body(43)],
    "private-key": [
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n" + f"{body(64)}\n" * 5 + "-----END OPENSSH PRIVATE KEY-----",
    ],
}


@pytest.mark.parametrize(("kind", "secret"), [(kind, secret) for kind, all_ in SHAPES.items() for secret in all_])
@pytest.mark.parametrize("around", ["{}", "a {} b", '"{}"', "({})", "KEY={}\nnext"])
def test_well_known_shapes(kind: str, secret: str, around: str) -> None:
    told = Redactor()(around.replace("{}", secret))
    assert told == around.replace("{}", f"‹redacted:{kind}›")


def test_a_bots_token_in_its_address() -> None:
    token = SHAPES["telegram-token"][0]
    assert Redactor()(f"https://api/bot{token}/getMe") == "https://api/bot‹redacted:telegram-token›/getMe"


def test_a_private_key_whose_end_is_missing() -> None:
    text = "-----BEGIN " + "PRIVATE KEY-----\n" + f"{body(64)}\n{body(30)}==\n[then this]"
    assert Redactor()(text) == "‹redacted:private-key›[then this]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer ‹redacted:authorization›"),
        ('{"authorization": "Basic dXNlcg=="}', '{"authorization": "Basic ‹redacted:authorization›"}'),
        ("x-api-key: k1", "x-api-key: ‹redacted:api-key›"),
        ("https://me:p@ss@host/x", "https://me:‹redacted:password›@host/x"),
        ("postgresql+psycopg://u:pw@h/db?x=1", "postgresql+psycopg://u:‹redacted:password›@h/db?x=1"),
        (
            "aws_secret_access_key = " + body(40),
            "aws_secret_access_key = ‹redacted:aws-secret›",
        ),
        ("AWS_SESSION_TOKEN=" + body(200), "AWS_SESSION_TOKEN=‹redacted:aws-secret›"),
        ("EndpointSuffix;AccountKey=" + body(86) + "==", "EndpointSuffix;AccountKey=‹redacted:access-token›"),
        (
            "https://discord.com/api/webhooks/12345/" + body(68),
            "https://discord.com/api/webhooks/12345/‹redacted:access-token›",
        ),
        ("?se=2026&sig=" + body(42) + "%3D&x", "?se=2026&sig=‹redacted:access-token›&x"),
    ],
)
def test_what_gives_a_secret_away_is_kept_beside_it(text: str, told: str) -> None:
    assert Redactor()(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "3 passed in 12:30, task-list-of-a-very-long-name-indeed-it-is, commit 3f2a9c1d",
        "https://example.org:8080/path?x=1@2",
        "git@github.com:owner/name.git",
        "the bearer of news",
        "re_compile_each_pattern_of_them, secret_manager_client_of_ours and hf_hub_download_with_retries",
        "task_0123456789abcdef01234567, toolu_01XyZaBcDeFgHiJkLmNoPqRs and msg_01AbCdEfGhIjKlMnOpQrStUv",
        "sha256:" + "0123456789abcdef" * 4,
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert Redactor(["", "8080", "true"])(text) == text


SECRET = st.text(st.characters(exclude_characters="‹›", exclude_categories=["Cs"]), min_size=8, max_size=60)


@given(st.lists(SECRET, min_size=1, max_size=4), st.lists(st.text(max_size=20), min_size=5, max_size=5))
@example(["anthropic", "password"], [""] * 5)
def test_a_known_value_never_passes(secrets: list[str], between: list[str]) -> None:
    redactor = Redactor(secrets)
    text = "".join(gap + secret for gap, secret in zip(between, secrets, strict=False)) + between[-1]
    for written in (text, json.dumps(text), json.dumps(text, ensure_ascii=False), quote(text, safe="")):
        told = redactor(written)
        unmarked = re.sub("‹redacted:[a-z-]+›", "‹›", told)
        assert redactor(told) == told
        assert not any(secret in unmarked for secret in secrets)


@pytest.mark.parametrize("write", [str, quote, quote_plus, json.dumps, lambda value: quote(value, safe="")])
def test_a_known_value_is_found_however_it_is_written(write: Callable[[str], str]) -> None:
    secret = 'p"a/ss +wörd'
    assert Redactor([secret])(write(secret)).strip('"') == "‹redacted:secret›"


@given(st.text(LETTERS + "+/ -_ß€", min_size=8, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_and_hex_give_no_value_away_wherever_it_begins(value: str, before: bytes, after: bytes) -> None:
    redactor, data = Redactor([value]), before + value.encode() + after
    for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data), data.hex().encode()):
        told = redactor(encoded.decode())
        assert "‹redacted:secret›" in told
        assert redactor(told) == told
    assert "‹redacted:secret›" in redactor(value.encode().hex().upper())


KEY = "demo-Key/81+ZQ.0123456789_abcdef"
SPLIT = [
    f"{KEY[:12]}\n{KEY[12:]}",
    f'key = "{KEY[:12]}" + \\\r\n    "{KEY[12:]}"',
    f"key: >-\n  {KEY[:9]}\n  {KEY[9:20]}\n  {KEY[20:]}",
    f"+  '{KEY[:15]}'\n+  '{KEY[15:]}'",
    f"# {KEY[:15]}\n# {KEY[15:]}",
    "\n".join(KEY),
    "\n".join(textwrap.wrap(base64.b64encode(f"user:{KEY}".encode()).decode(), 20)),
    "\n".join(textwrap.wrap(KEY.encode().hex(), 16)),
]


@pytest.mark.parametrize("text", SPLIT)
def test_a_value_that_is_split_over_lines_does_not_pass(text: str) -> None:
    told = Redactor(["hunter2", KEY])(f"before\n{text}\nafter it")
    assert told.startswith("before\n") and told.endswith("\nafter it")
    assert "‹redacted:secret›" in told
    assert not any(piece in told for piece in (KEY[:9], KEY[-9:], KEY.encode().hex()[:16]))
    assert Redactor(["hunter2", KEY])(told) == told


def test_what_only_resembles_a_value_in_one_line_or_is_too_short_stays() -> None:
    redactor = Redactor(["correct-horse-battery", "ab-cd-ef-gh"])
    for text in ("correct horse battery", "correct horse battery\n", "ab\ncd\nef\ngh"):
        assert redactor(text) == text


def test_an_edited_env_is_known_from_then_on() -> None:
    redactor = Redactor(["the-old-value-of-it"])
    redactor.know(["the-new-value-of-it"])
    assert redactor("the-new-value-of-it") == "‹redacted:secret›"


def test_of_two_known_values_the_longer_is_cut_out_whole() -> None:
    assert Redactor(["hunter2-", "hunter2-and-more"])("x hunter2-and-more") == "x ‹redacted:secret›"


def test_a_known_key_of_many_lines_is_cut_out_line_by_line() -> None:
    value = f"first line of it {body(10)}\nsecond line of it {body(10)}"
    assert Redactor([value])("seen: second line of it " + body(10)) == "seen: ‹redacted:secret›"


@given(st.text(max_size=300))
@example("Authorization: Bearer Authorization: Bearer x")
@example("://a:b@c://d:e@f")
def test_twice_is_once(text: str) -> None:
    redactor = Redactor(["hunter2hunter2"])
    assert redactor(redactor(text)) == redactor(text)


# What the prefilter looks for, and letters that a case-insensitive pattern takes for s, i and k.
PIECES = st.sampled_from(
    [secret for each in SHAPES.values() for secret in each]
    + [
        "npm_", "hf_", "k_live_", "shpat_", "hvs.", "xai-", "ATATT3", "AGE-SECRET-KEY-1",
        "sk-", "ant-", "eyJ", ".", "://", "a:", "p@", "AKIA", "hooks.slack.com/", "services/", "gh", "p_", "12345",
        ":", "Authorızation: ", "AUTHORIZATION=", "bEaReR ", "Bearer\t", "token ", "X-API-KEY: ",
        "x-goog-api-\u212aey=", "aws_\u017fecret_acce\u017f\u017f_key=", "AWS_SECRET_ACCESS_KEY: ",
        body(40), body(20), "hunter2hunter2",
        "‹redacted:secret›", "‹redacted:authorization›", "-----BEGIN ", "PRIVATE KEY-----", "\n", " ", "x", "İ",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=4), max_size=8).map("".join))
@example("x-goog-api-\u212aey=abcdefgh")
@example("aws_\u017fecret_acce\u017f\u017f_key=" + body(40))
@example("bearer " + body(16))
@example("://a:b@")
@example("://:b@")
@example("x-api-key:k")
def test_the_prefilter_changes_no_result(text: str) -> None:
    """Each pattern over each text, one after the other, is what the redactor must come to."""
    expected = re.sub("‹redacted:[a-z-]+›|hunter2hunter2", lambda found: _known(found.group()), text)
    for shape in _SHAPES:
        expected = shape.pattern.sub(shape.replacement, expected)
    assert Redactor(["hunter2hunter2"])(text) == expected


def _known(found: str) -> str:
    return "‹redacted:secret›" if found == "hunter2hunter2" else found


@pytest.mark.parametrize(
    "piece",
    ["a", "1", " ", "\n", "eyJ", "eyJa.", "hunter2\nhunter2", "hunter\n2",
     "://", "://a:", "@", "-----BEGIN PRIVATE KEY-----",
     "authorization: bearer ", "sk-", "xoxb-", "AKIA", "11111:a", "hunter2hunte",
     "aws_secret_access_key = a", "bearer "],
)  # fmt: skip
def test_a_megabyte_costs_no_more_than_in_proportion(piece: str) -> None:
    """Not a timing: a quadratic pattern would run for many minutes and meet the suite's time limit."""
    text = (piece * (1 << 20))[: 1 << 20]
    assert len(Redactor(["hunter2hunter2", "another-secret"])(text)) >= 10


def test_a_redactor_does_not_tell_what_it_knows() -> None:
    assert "hunter2hunter2" not in repr(Redactor(["hunter2hunter2"]))


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / ".env").write_text("TOKEN=hunter2hunter2\n")
    root = logging.getLogger()
    level, before = root.level, list(root.handlers)
    setup_logging(tmp_path, console=False)
    setup_logging(tmp_path, console=False)
    yield tmp_path / "airboss.log"
    for handler in [handler for handler in root.handlers if handler not in before]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_a_log_holds_no_secret_in_message_arguments_or_traceback(logs: Path) -> None:
    log = logging.getLogger("airboss.test")
    hidden = "\x1b[0m".join("hunter2hunter2")
    log.info("token %s and %s", "hunter2hunter2", hidden, stack_info=True)
    try:
        raise ValueError("the token hunter2hunter2 is wrong")
    except ValueError:
        log.exception("failed")
    text = logs.read_text()
    assert "hunter2" not in text
    assert "\x1b" not in text
    assert "ValueError: the token ‹redacted:secret› is wrong" in text
    assert text.count("failed") == 1
    assert logs.stat().st_mode & 0o777 == 0o600


def test_a_log_that_was_moved_away_is_begun_anew(logs: Path) -> None:
    log = logging.getLogger("airboss.test")
    log.info("before")
    logs.rename(logs.with_suffix(".moved"))
    log.info("after")
    assert "before" not in (text := logs.read_text()) and "after" in text
    assert logs.stat().st_mode & 0o777 == 0o600
    logs.unlink()
    log.info("once more")
    assert "once more" in logs.read_text()


def test_a_log_that_others_could_read_is_closed_to_them_also_after_it_rotates(tmp_path: Path) -> None:
    log, older = tmp_path / "airboss.log", tmp_path / "airboss.log.1"
    for path in (log, older):
        path.write_text("from an older version\n")
        path.chmod(0o644)
    root = logging.getLogger()
    before = list(root.handlers)
    setup_logging(tmp_path, console=False)
    (handler,) = (handler for handler in root.handlers if handler not in before)
    assert isinstance(handler, RotatingFileHandler)
    assert [path.stat().st_mode & 0o777 for path in (log, older)] == [0o600, 0o600]
    handler.doRollover()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("airboss.log*")} == {0o600}
    root.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("name", ["httpx", "telegram.ext.Updater", "slack_bolt.AsyncApp", "slack_sdk.web"])
def test_libraries_that_log_addresses_with_tokens_are_quiet(logs: Path, name: str) -> None:
    logging.getLogger(name).info("POST https://api.telegram.org/botTOKEN/getMe")
    logging.getLogger(name).warning("a warning still counts")
    assert "POST" not in logs.read_text()
    assert "a warning still counts" in logs.read_text()


@pytest.mark.parametrize(
    "known", ["", "s3cret-of-the-house", 'with "quotes" and a\\slash', "zwölf-geheime-Wörter", "秘密の言葉です"]
)
def test_lines_are_redacted_as_their_texts_are(known: str) -> None:
    """Many events at once: those that the prefilter leaves alone have nothing to redact."""
    redactor = Redactor([known] if known else [])
    secrets = [secret for all_ in SHAPES.values() for secret in all_]
    secrets += ["Authorization: BEARER abc.defghijklmnop", "X-Goog-Api-Key: k1", "https://me:p@ss@host/x"]
    secrets += [f"AWS_SECRET_ACCESS_KEY = {body(40)}", "99999:" + "ä" * 40]
    if known:
        encoded = base64.b64encode(known.encode()).decode()
        secrets += [known, quote(known), json.dumps(known), encoded, known.encode().hex(), known[:5] + "…"]
        secrets += [f"'{known[:7]}'\n + '{known[7:]}'", f"{encoded[:9]}\n{encoded[9:]}"]
    texts = [around.replace("{}", secret) for secret in secrets for around in ("{}", 'a\n"{}" b', "nothing here")]
    drafts = [
        Unwritten(seq, "", 1, "a", Refs(), Source.AGENT, ToolCallStarted(text, "Bash", text[::-1]))
        for seq, text in enumerate(texts, start=1)
    ]
    told = encode_all(drafts, redactor)
    assert told == encode_all(drafts, redactor.__call__)
    assert sum("redacted:" in str(each.event) for each in told) >= len(secrets)
    clean = encode_all([each._replace(event=AgentSaid("all well: 12 of 40 done")) for each in drafts])
    assert not redactor.suspects([each.canonical for each in clean])
