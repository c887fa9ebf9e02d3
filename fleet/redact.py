"""The one redactor: what is secret never reaches a log, a chat, a ledger line or a receipt.

It replaces every value of ``.env`` and everything shaped like a well-known kind of secret. It takes linear time on
any input: patterns are anchored on literal text, and repeat possessively or within bounds.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import re
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from urllib.parse import quote, quote_plus

from fleet.untrusted import clean, shortened

SHORTEST = 6  # characters: a shorter value (a port, a flag) stands in too many innocent places
LOG_LIMIT = 20_000  # characters of one log message

_TEMPLATE = "‹redacted:{}›"

#: (kind, pattern). A group named ``keep`` stays in front, one named ``after`` behind.
_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            "private-key",
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"|(?:[A-Za-z0-9+/=\s]|\\n)*+)",
        ),
        ("anthropic-key", r"sk-ant-[\w-]{10,}+"),
        ("openai-key", r"(?<![\w-])sk-[A-Za-z0-9_-]{20,}+"),
        ("slack-token", r"(?:xox[a-z]|xapp)-[\w-]{10,}+|xoxe\.xox[a-z]-[\w-]{10,}+"),
        ("slack-webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{10,}+"),
        ("telegram-token", r"(?<!\d)\d{5,16}:[\w-]{35}[\w-]*+"),
        ("github-token", r"gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+"),
        ("gitlab-token", r"glpat-[\w-]{20,}+"),
        ("aws-key", r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
        (
            "aws-secret",
            r"(?P<keep>(?i:aws_?secret_?access_?key)[\"']?\s{0,4}[=:]\s{0,4}[\"']?)[A-Za-z0-9/+=]{40}",
        ),
        ("google-key", r"AIza[\w-]{35}"),
        ("jwt", r"(?<![\w-])eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]*+"),
        (
            "authorization",
            r"(?P<keep>(?i:authorization)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?i:bearer|basic|token)\s{1,4})[^\s\"',;]++",
        ),
        ("authorization", r"(?P<keep>\b(?i:bearer)\s{1,4})[A-Za-z0-9._~+/=-]{16,}+"),
        ("api-key", r"(?P<keep>(?i:x-api-key|x-goog-api-key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\s\"',;]++"),
        ("password", r"(?P<keep>://[^\s/@:\"'<>]{0,256}:)[^\s/\"'<>]{1,1024}(?P<after>@)"),
    )
)


class Redactor:
    """Call it with a text, get the text without secrets. ``secrets`` are values, for example of ``.env``."""

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for value in secrets for form in _forms(value)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        # Our own marks match first and stay, so that a secret called "password" does not tear one apart.
        self._known = re.compile("|".join(map(re.escape, [*_MARKS, *longest_first]))) if forms else None

    def __call__(self, text: str) -> str:
        """``text`` with each secret replaced by ``‹redacted:kind›``. Doing it twice changes nothing more."""
        if self._known is not None:
            text = self._known.sub(_mark_known, text)
        for kind, pattern in _SHAPES:
            text = pattern.sub(_replacement(kind, pattern), text)
        return text

    def __repr__(self) -> str:
        return "Redactor(…)"


_MARKS = frozenset(_TEMPLATE.format(kind) for kind in ("secret", *(kind for kind, _ in _SHAPES)))


def _mark_known(found: re.Match[str]) -> str:
    return found.group() if found.group() in _MARKS else _TEMPLATE.format("secret")


def _replacement(kind: str, pattern: re.Pattern[str]) -> str:
    before = r"\g<keep>" if "keep" in pattern.groupindex else ""
    after = r"\g<after>" if "after" in pattern.groupindex else ""
    return before + _TEMPLATE.format(kind) + after


def _forms(value: str) -> set[str]:
    """The ways a value gets written: as it is, in a URL, in JSON, and line by line."""
    written = {value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    written |= {json.dumps(value, ensure_ascii=False)[1:-1]}
    written |= {line.strip() for line in value.splitlines() if len(line.strip()) >= 16}
    return {form for form in written if len(form) >= SHORTEST}


class RedactingFilter(logging.Filter):
    """Redacts and cleans each record a handler gets: message, traceback and stack. Put it on handlers.

    (A filter on a logger would not see what its children log.)
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: nothing is left out, only changed."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"{record.msg} {record.args}"
        record.msg, record.args = self._safe(message), None
        if record.exc_info:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self._safe(record.exc_text)
        if record.stack_info:
            record.stack_info = self._safe(record.stack_info)
        return True

    def _safe(self, text: str) -> str:
        # Cleaned first: a terminal code in the middle of a secret would hide it from the redactor.
        return shortened(self._redactor(clean(text, len(text))), LOG_LIMIT)


#: Their INFO lines carry tokens in URLs, or whole messages of people.
QUIET_LOGGERS = (
    "aiohttp",
    "alembic",
    "apscheduler",
    "asyncssh",
    "httpcore",
    "httpx",
    "matplotlib",
    "slack_bolt",
    "slack_sdk",
    "sqlalchemy",
    "telegram",
)


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """A rotating log that only its owner can read."""

    def _open(self) -> TextIOWrapper:
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(handle, "a", encoding="utf-8")


def setup_logging(home: Path, *, level: int = logging.INFO, console: bool = True) -> Redactor:
    """Logs to ``home/airboss.log`` (0600, 4 times 5 MB) and, with ``console``, to standard error; redacted.

    Answers the redactor, which knows what ``home/.env`` holds. Calling it again replaces what it set up before.
    Raises ``Misused`` when ``.env`` cannot be read, ``OSError`` when the log cannot be written.
    """
    from fleet.config.secrets import Secrets

    redactor = Redactor(Secrets.load(home).values())
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    handlers: list[logging.Handler] = [_PrivateLog(home / "airboss.log", maxBytes=5_000_000, backupCount=3)]
    if console:
        handlers.append(logging.StreamHandler())
    root = logging.getLogger()
    for old in [
        handler for handler in root.handlers if any(isinstance(f, RedactingFilter) for f in handler.filters)
    ]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.addFilter(RedactingFilter(redactor))
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    return redactor
