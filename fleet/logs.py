"""The one log: redacted, private, and the same for every command that keeps one."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path

from fleet.config.secrets import Secrets
from fleet.errors import Unavailable
from fleet.redact import Redactor
from fleet.untrusted import clean, shortened

LOG_LIMIT = 20_000  # characters of one log message


class RedactingFilter(logging.Filter):
    """Redacts and cleans each record of a handler: message, traceback and stack. Add it to handlers.

    (A filter on a logger does not see what its child loggers log.)
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor

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
        return shortened(self.redactor(clean(text, len(text))), LOG_LIMIT)


def log_redactors() -> list[Redactor]:
    """The redactors of the log's handlers."""
    every = [each for handler in logging.getLogger().handlers for each in handler.filters]
    return [each.redactor for each in every if isinstance(each, RedactingFilter)]


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
    """A rotating log that only its owner can read. Where somebody moved it away, the next line begins a new one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        with contextlib.suppress(OSError, ValueError):
            if self.stream is not None and not self._is(self.stream):
                self.stream.close()
                self.stream = self._open()
        super().emit(record)

    def _is(self, stream: TextIOWrapper) -> bool:
        try:
            return os.path.samestat(Path(self.baseFilename).stat(), os.fstat(stream.fileno()))
        except FileNotFoundError:
            return False

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
    Raises ``Misused`` when ``.env`` cannot be read, ``Unavailable`` when the log cannot be written.
    """
    redactor = Redactor(Secrets.load(home).values())
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        handlers: list[logging.Handler] = [_PrivateLog(home / "airboss.log", maxBytes=5_000_000, backupCount=3)]
    except OSError as error:
        raise Unavailable(
            attempted="write the log", on=str(home / "airboss.log"), cause=error.strerror or str(error),
            hint="Check AIRBOSS_HOME, whose directory it is, and the disk.",
        ) from error  # fmt: skip
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
