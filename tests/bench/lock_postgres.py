"""Locks in PostgreSQL beside what one would write by hand: a row that a conditional UPDATE takes and gives back.

One client against the bare UPDATE; sixteen on one key, who wait in line, against sixteen who poll. Ours has its
ledger events; every commit of both is durable.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg

from fleet.clock import SystemClock
from fleet.locks import Granted, LockCause, Resource, Want
from fleet.store.core import Store
from fleet.supervise import own
from gates.locks import book
from gates.locks.service import LockService
from tests.bench.harness import Comparison, Trial, compare, report
from tests.far_end.postgres import running_postgres

CLIENTS = 16
SECONDS = 3.0
ONE_BAR, LINE_BAR = 1 / 0.8, 1 / 5
_POLL_S = 0.1  # as redis-py's Lock polls
_TTL_US = 60_000_000
_TAKE = (
    "UPDATE bare SET holder = %s, token = token + 1, until = clock_timestamp() + interval '60 s' "
    "WHERE name = %s AND (holder = '' OR until < clock_timestamp())"
)
_GIVE = "UPDATE bare SET holder = '' WHERE name = %s AND holder = %s"


async def our_client(service: LockService, key: str, until: float) -> int:
    """How many cycles one client does, in line."""
    done = 0
    for number in itertools.count():
        if time.monotonic() > until:
            return done
        secret = book.new_secret()
        request = book.Request(
            f"c{number}", (Want(Resource(key)),), _TTL_US, LockCause.COMMAND, secret_sha256=book.digest(secret)
        )
        answer = await service.acquire(request, wait_seconds=60)
        if not isinstance(answer, Granted):
            sys.exit("bench: a client waited for a minute")
        await service.release([Resource(key)], secret)
        done += 1
    return done


def ours(loop: asyncio.AbstractEventLoop, service: LockService, clients: int) -> Trial:
    async def together() -> int:
        until = time.monotonic() + SECONDS
        running = [own(our_client(service, f"thing-{clients}", until), f"client {at}") for at in range(clients)]
        return sum(await asyncio.gather(*running))

    return lambda: SECONDS / loop.run_until_complete(together())


def bare_client(where: str, key: str, until: float, *, polls: bool) -> int:
    """How many cycles one connection does. With others (``polls``) it polls, also after it gave the row back: else
    they would never get it."""
    done, me = 0, f"{threading.get_ident()}"
    with psycopg.connect(where, autocommit=True) as connection:
        while time.monotonic() < until:
            while connection.execute(_TAKE, (me, key)).rowcount == 0 and time.monotonic() < until:
                time.sleep(_POLL_S)
            done += connection.execute(_GIVE, (key, me)).rowcount
            if polls:
                time.sleep(_POLL_S)
    return done


def bare(where: str, clients: int) -> Trial:
    def trial() -> float:
        until = time.monotonic() + SECONDS
        with ThreadPoolExecutor(clients) as threads:
            client = partial(bare_client, where, "thing", until, polls=clients > 1)
            return SECONDS / sum(future.result() for future in [threads.submit(client) for _ in range(clients)])

    return trial


def main() -> int:
    loop = asyncio.new_event_loop()
    with running_postgres(durable=True) as server:
        url = server.new_database()
        where = url.replace("+psycopg", "")
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE bare (name text PRIMARY KEY, holder text, token bigint, until timestamptz)"
            )
            connection.execute("INSERT INTO bare VALUES ('thing', '', 0, clock_timestamp())")
        with Store.open(url) as store:
            service = LockService(store, SystemClock())
            found: list[Comparison] = []
            for clients, what, bar in ((1, "one client", ONE_BAR), (CLIENTS, "sixteen on one key", LINE_BAR)):
                theirs = "the bare UPDATE" if clients == 1 else "polling the bare UPDATE"
                sides = ("airboss", ours(loop, service, clients)), (theirs, bare(where, clients))
                found.append(compare(f"PostgreSQL, {what}: one cycle", *sides, bar=bar, rounds=3, warm=0))
            loop.run_until_complete(service.close())
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
