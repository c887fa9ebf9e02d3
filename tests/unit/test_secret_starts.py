"""The beginnings of tokens, beside the rules that others keep: what those know of this kind, the redactor knows."""

from __future__ import annotations

import json
import re
import string
import subprocess
import warnings
from re import _constants as kinds  # type: ignore[attr-defined] # the parser that ``re`` itself has
from re import _parser as parser  # type: ignore[attr-defined] # as above
from typing import Any, Final

import kingfisher

from fleet.redact import Redactor
from fleet.secret_starts import STARTS

_START: Final = re.compile(r"[A-Za-z0-9]+(?:[_.-][A-Za-z0-9]+)*[_.-]")
_LETTERS: Final = string.ascii_lowercase + string.digits + string.ascii_uppercase
#: Rules that need a word beside the token (``cloudflare = …``), and patterns that Python writes in another way.
_OTHER: Final = re.compile(r"=\|>|\{0,(?:16|24|32)\}|\\z|\[:alnum:\]|\\s")
#: What anybody may know (ids, addresses), and what has too few letters behind a common word.
_LEFT: Final = frozenset(
    (
        *("1password-secret-key", "aikido-client-id", "artifactory-jfrog-url", "auth0-domain.1", "ebay-client-id"),
        *("authress-service-client-access-key", "devcycle-client-sdk-key", "devcycle-mobile-sdk-key"),
        *("devcycle-server-sdk-key", "flutterwave-encryption-key", "flutterwave-public-key", "lark-app-id"),
        *("cloudflare-origin-ca-key", "configcat-sdk-key-extended", "harness-api-key", "langfuse-public-key.1"),
        *("mongodb-atlas-service-account-id", "posthog-project-api-key", "ramp-client-id", "razorpay-key-id.1"),
        *("salesforce-instance-url.1", "snowflake-account-host.1", "tableau-server-host.1", "maxmind-license-key"),
        *("slack-app-token", "slack-legacy-token", "slack-legacy-workspace-token", "workato-developer-api-token.1"),
        *("huggingface-access-token", "huggingface-organization-api-token"),  # both cases; the example has one
        *("temporal-cloud-api-key.1", "gitlab-incoming-mail-address-token", "miro-access-token", "jwt"),
    )
)


def _example(parsed: Any, used: list[int]) -> str:
    """One text that a parsed pattern matches."""
    made = ""
    for kind, of in parsed:
        if kind is kinds.LITERAL:
            made += chr(of)
        elif kind is kinds.IN:
            fitting = [letter for letter in _LETTERS if any(_fits(letter, choice) for choice in of)]
            used[0] += 7  # another letter each time
            made += fitting[used[0] % len(fitting)] if fitting else " "
        elif kind is kinds.SUBPATTERN:
            made += _example(of[3], used)
        elif kind is kinds.BRANCH:
            made += _example(of[1][0], used)
        elif kind is kinds.MAX_REPEAT:
            made += "".join(
                _example(of[2], used) for _ in range(of[0] if of[0] < 8 else max(of[0], min(of[1], 16)))
            )
    return made


def _fits(letter: str, choice: tuple[Any, Any]) -> bool:
    kind, of = choice
    if kind is kinds.RANGE:
        return bool(of[0] <= ord(letter) <= of[1])
    if kind is kinds.CATEGORY:
        return of is kinds.CATEGORY_WORD or (of is kinds.CATEGORY_DIGIT and letter.isdigit())
    return bool(kind is kinds.LITERAL and chr(of) == letter)


def test_what_the_kept_rules_know_by_its_beginning_is_taken_out() -> None:
    argv = [kingfisher.get_binary_path(), "rules", "list", "--format", "json", "--no-update-check"]
    listed = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    redact, passed, seen = Redactor(), [], 0
    for rule in listed:
        name, pattern = rule["id"].rpartition("/")[2].removeprefix("betterleaks."), rule["pattern"]
        if _OTHER.search(re.sub(r"\(\?:.{0,12}\[\\s;\].*$|\(\?:\[\\x60.*$", "", pattern)):
            continue
        with warnings.catch_warnings(action="ignore"):
            text = _example(parser.parse(pattern.replace("(?i)", "")), [0]).strip()
        if _START.match(text):
            seen += 1
            if name not in _LEFT and redact(text) == text:
                passed.append(f"{name}: {text}")
    assert seen > 150, "the rules are read"
    assert not passed


def test_each_beginning_counts_and_none_is_a_word_of_names_in_code() -> None:
    redact = Redactor()
    for start in STARTS:
        assert start[-1] in "_-."
        assert redact(f"{start}a1B2c3D4e5F6g7H8") == "‹redacted:access-token›"
        assert redact(f"{start}some_name_of_code_here") == f"{start}some_name_of_code_here"
