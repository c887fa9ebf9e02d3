"""What the store's tests run as processes of their own: ``python -m tests.contracts.store_processes …``."""

from __future__ import annotations

import sys

from fleet.errors import LeaseLost
from fleet.events import AgentSaid, Source
from fleet.store import leases, ledger
from fleet.store.chat import settings
from fleet.store.core import Store, Tx


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


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["opened", url]:
            opened(url)
        case ["append", url, name, count]:
            append(url, name, count)
        case ["hold", url, ttl_us]:
            hold(url, ttl_us)
        case _:
            sys.exit("unknown program")
