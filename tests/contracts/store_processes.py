"""What the store's tests run as processes of their own: ``python -m tests.contracts.store_processes …``."""

from __future__ import annotations

import sys
import time

from fleet.errors import LeaseLost
from fleet.events import AgentSaid, Refs, Source, ToolCallStarted
from fleet.store import boot, leases, ledger
from fleet.store.chat import settings
from fleet.store.core import Store, Tx
from fleet.store.ledger import Entry


def opened(url: str) -> None:
    """Opens the store and says its instance."""
    with Store.open(url) as store:
        print(store.instance)


def append(url: str, name: str, count: str) -> None:
    """At a line of input, appends events one a transaction, and counts them in a setting by reading it first."""

    def work(tx: Tx) -> None:
        ledger.append(tx, AgentSaid(name), actor=name, source=Source.AGENT)
        settings.put(tx, "count", str(int(settings.get(tx, "count", "0")) + 1))

    with Store.open(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(int(count)):
            with store.transaction() as tx:
                work(tx)


def append_until_killed(url: str, name: str) -> None:
    """Appends batches of one to nine events for ever; says the ledger's size once a batch is committed."""
    with Store.open(url) as store:
        number = 0
        while True:
            number += 1
            with store.transaction() as tx:
                calls = [ToolCallStarted(f"{name}-{number}-{at}", "Bash", name) for at in range(1 + number % 9)]
                entries = [Entry(call, name, Source.AGENT, Refs(session=name)) for call in calls]
                made = ledger.append_all(tx, entries)
            print(made[-1].seq, flush=True)


def hold(url: str, ttl_us: str) -> None:
    """Takes a lease, says its token, and at a line of input writes under it."""
    with Store.open(url) as store:
        with store.transaction() as tx:
            lease = leases.acquire(tx, "base", "first", int(ttl_us))
        assert lease is not None
        print(lease.token, flush=True)
        sys.stdin.readline()
        try:
            with store.transaction() as tx:
                settings.put(tx, "last writer", "first")
                leases.check(tx, lease.fence)
        except LeaseLost:
            print("refused", flush=True)


def take(url: str, ttl_us: str) -> None:
    """Asks once for a lease; says its token, or ``held``."""
    with Store.open(url) as store, store.transaction() as tx:
        lease = leases.acquire(tx, "base", "second", int(ttl_us))
    print(lease.token if lease is not None else "held")


def wait(url: str) -> None:
    """Asks for a lease until it has it; says how many microseconds that took on the boot-time clock."""
    with Store.open(url) as store:
        began = boot.now().us
        while True:
            with store.transaction() as tx:
                if leases.acquire(tx, "base", "second", 0) is not None:
                    break
            time.sleep(0.01)
        print(boot.now().us - began)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["opened", url]:
            opened(url)
        case ["append", url, name, count]:
            append(url, name, count)
        case ["append-until-killed", url, name]:
            append_until_killed(url, name)
        case ["hold", url, ttl_us]:
            hold(url, ttl_us)
        case ["take", url, ttl_us]:
            take(url, ttl_us)
        case ["wait", url]:
            wait(url)
        case _:
            sys.exit("unknown program")
