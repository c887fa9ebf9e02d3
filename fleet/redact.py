"""The redactor: secrets never reach a log, a chat, a ledger line or a receipt.

It replaces every value of ``.env`` and everything shaped like a known kind of secret. It takes linear time on any
input: patterns are anchored on literal text, and repeat possessively or within bounds.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import re
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from fleet.untrusted import clean, shortened

SHORTEST = 6  # characters: shorter values (a port, a flag) occur in too many harmless places
LOG_LIMIT = 20_000  # characters of one log message

_TEMPLATE = "‹redacted:{}›"


_TELEGRAM = re.compile(r":[\w-]{35}")
_GITHUB = re.compile(r"g(?:h[pousr]_|ithub_pat_)")


class _Shape(NamedTuple):
    """A kind of secret. ``pattern`` cannot match a text that contains none of ``needles`` (lower-cased if
    ``lower``), or no ``hint``. Looking for these first is many times faster than the pattern.

    A group named ``keep`` stays before the mark, one named ``after`` behind it.
    """

    kind: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    lower: bool = False
    hint: re.Pattern[str] | None = None

    def may_be_in(self, text: str) -> bool:
        """False only when the pattern cannot match."""
        searched = text.lower() if self.lower else text
        if self.needles and not any(needle in searched for needle in self.needles):
            return False
        return self.hint is None or self.hint.search(text) is not None

    @property
    def replacement(self) -> str:
        """The template for ``Pattern.sub``."""
        before = r"\g<keep>" if "keep" in self.pattern.groupindex else ""
        after = r"\g<after>" if "after" in self.pattern.groupindex else ""
        return before + _TEMPLATE.format(self.kind) + after


# Case-insensitive needles avoid i, k and s: these also match letters that ``str.lower`` leaves unchanged.
_SHAPES: tuple[_Shape, ...] = (
    _Shape(
        "private-key",
        ("-----BEGIN ",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:(?:(?!-----BEGIN)[\s\S])*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"|(?:[A-Za-z0-9+/=\s]|\\n)*+)"
        ),
    ),
    _Shape("anthropic-key", ("sk-ant-",), re.compile(r"sk-ant-[\w-]{10,}+")),
    _Shape("openai-key", ("sk-",), re.compile(r"(?<![\w-])sk-[A-Za-z0-9_-]{20,}+")),
    _Shape(
        "slack-token", ("xox", "xapp-"), re.compile(r"(?:xox[a-z]|xapp)-[\w-]{10,}+|xoxe\.xox[a-z]-[\w-]{10,}+")
    ),
    _Shape(
        "slack-webhook",
        ("hooks.slack.com/",),
        re.compile(r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]{10,}+"),
    ),
    _Shape(
        "telegram-token",
        (),
        re.compile(r"(?<!\d)\d{5,16}:[\w-]{35}[\w-]*+"),
        hint=_TELEGRAM,
    ),
    _Shape(
        "github-token",
        ("_",),
        re.compile(r"gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+"),
        hint=_GITHUB,
    ),
    _Shape("gitlab-token", ("glpat-",), re.compile(r"glpat-[\w-]{20,}+")),
    _Shape("aws-key", ("AKIA", "ASIA"), re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])")),
    _Shape(
        "aws-secret",
        ("acce",),
        re.compile(r"(?P<keep>(?i:aws_?secret_?access_?key)[\"']?\s{0,4}[=:]\s{0,4}[\"']?)[A-Za-z0-9/+=]{40}"),
        lower=True,
    ),
    _Shape("google-key", ("AIza",), re.compile(r"AIza[\w-]{35}")),
    _Shape("jwt", ("eyJ",), re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+\.[\w-]*+")),
    _Shape(
        "authorization",
        ("author",),
        re.compile(
            r"(?P<keep>(?i:authorization)[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?i:bearer|basic|token)\s{1,4})[^\s\"',;]++"
        ),
        lower=True,
    ),
    _Shape(
        "authorization",
        ("bearer",),
        re.compile(r"(?P<keep>\b(?i:bearer)\s{1,4})[A-Za-z0-9._~+/=-]{16,}+"),
        lower=True,
    ),
    _Shape(
        "api-key",
        ("x-ap", "x-goog-ap"),
        re.compile(r"(?P<keep>(?i:x-api-key|x-goog-api-key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\s\"',;]++"),
        lower=True,
    ),
    _Shape(
        "password",
        ("://",),
        re.compile(r"(?P<keep>://[^\s/@:\"'<>]{0,256}:)[^\s/\"'<>]{1,1024}(?P<after>@)"),
        hint=re.compile("@"),
    ),
)


def _suspicious(text: str) -> bool:
    """The prefilter: whether a text contains a needle or a hint. Without either, no shape matches.

    Written out because a loop over the needles takes three times as long.
    """
    if (
        "sk-" in text
        or "://" in text
        or "eyJ" in text
        or "xox" in text
        or "xapp-" in text
        or "glpat-" in text
        or "-----BEGIN " in text
        or "hooks.slack.com/" in text
        or ("A" in text and ("AKIA" in text or "ASIA" in text or "AIza" in text))
        or ("_" in text and _GITHUB.search(text))
        or (":" in text and _TELEGRAM.search(text))
    ):
        return True
    lowered = text.lower()
    return (
        "author" in lowered
        or "bearer" in lowered
        or "acce" in lowered
        or "x-ap" in lowered
        or "x-goog-ap" in lowered
    )


class Redactor:
    """Callable: takes a text, returns it without secrets. ``secrets`` are values, for example of ``.env``."""

    __slots__ = ("_forms", "_known")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for value in secrets for form in _forms(value)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        # Our own marks match first and stay, so that a secret such as "password" does not split one.
        self._known = re.compile("|".join(map(re.escape, [*_MARKS, *longest_first])))
        # A needle that contains another needle is redundant.
        self._forms = tuple(form for form in longest_first if not any(form != o and o in form for o in forms))

    def __call__(self, text: str) -> str:
        """``text`` with each secret replaced by ``‹redacted:kind›``. Applying it again changes nothing."""
        if len(text) < SHORTEST:  # no known value or shape is that short
            return text
        for form in self._forms:
            if form in text:
                text = self._known.sub(_mark_known, text)
                break
        if not _suspicious(text):
            return text
        for shape in _SHAPES:
            if shape.may_be_in(text):
                text = shape.pattern.sub(shape.replacement, text)
        return text

    def __repr__(self) -> str:
        return "Redactor(…)"


_MARKS = frozenset(_TEMPLATE.format(kind) for kind in ("secret", *(shape.kind for shape in _SHAPES)))


def _mark_known(found: re.Match[str]) -> str:
    return found.group() if found.group() in _MARKS else _TEMPLATE.format("secret")


def _forms(value: str) -> set[str]:
    """The forms in which a value appears: as it is, in a URL, in JSON, and line by line."""
    written = {value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1]}
    written |= {json.dumps(value, ensure_ascii=False)[1:-1]}
    written |= {line.strip() for line in value.splitlines() if len(line.strip()) >= 16}
    return {form for form in written if len(form) >= SHORTEST}


class RedactingFilter(logging.Filter):
    """Redacts and cleans each record of a handler: message, traceback and stack. Add it to handlers.

    (A filter on a logger does not see what its child loggers log.)
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true: records are changed, never dropped."""
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
        # Cleaned first: a terminal code inside a secret would hide it from the redactor.
        return shortened(self._redactor(clean(text, len(text))), LOG_LIMIT)


#: Their INFO lines contain tokens in URLs, or people's whole messages.
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
        for older in Path(self.baseFilename).parent.glob(f"{Path(self.baseFilename).name}.*"):
            with contextlib.suppress(OSError):
                older.chmod(0o600)  # rotated by a version that made it readable for others
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(handle, 0o600)
        return os.fdopen(handle, "a", encoding="utf-8")


def setup_logging(home: Path, *, level: int = logging.INFO, console: bool = True) -> Redactor:
    """Logs to ``home/airboss.log`` (0600, 4 times 5 MB) and, with ``console``, to standard error; redacted.

    Returns the redactor, which knows the values of ``home/.env``. Calling it again replaces the earlier set-up.
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
