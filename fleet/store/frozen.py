"""Ends the session of a process that was frozen while it wrote to PostgreSQL.

The server itself ends a transaction that is idle for too long. It does not end one whose process has sent a part of
a pipeline and no end of it: that session counts as active while the server waits for the rest, with the lock that
every other writer needs. So whoever waited for the lock in vain ends it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

#: As long as an idle transaction may last, and by the same setting.
_END: Final = text("""
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
AND classid = CAST(:high AS bigint)::oid AND objid = CAST(:low AS bigint)::oid
AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND wait_event = 'ClientRead' AND clock_timestamp() - state_change >
    (SELECT current_setting('idle_in_transaction_session_timeout')::interval)
""")


def end_frozen_writer(reader: Engine, key: int) -> None:
    """Ends who holds the advisory lock ``key``, if the server has waited for it for too long. Says nothing of its
    own errors: whoever asks has one already, and tries again."""
    with suppress(DBAPIError), reader.connect() as connection:
        connection.execute(_END, {"high": key >> 32, "low": key & 0xFFFFFFFF})
