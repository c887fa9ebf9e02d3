"""``airboss lock`` and ``airboss locks``: through the running controller, else as the leader of a quiet home.

A secret never stands in the process list: the client makes it, sends its digest to acquire, and reads it from
``--secret-file`` (``-``: standard input) or from the file that acquire left in the home to release and renew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bot.local import client
from fleet import files

_KEPT: Final = "locks"
_US: Final = 1_000_000
_STANDARD_INPUT: Final = "-"

_PATIENCE_S: Final = 30.0
"""How long a command waits for a controller that does not answer, beyond its time in line; and for another command
that leads a home which no controller serves."""

_AGAIN_S: Final = 0.1

_LONGEST_SECRET: Final = 4096

_KEPT_S: Final = 8 * 24 * 3600.0
"""A secret that nobody used for so long opens nothing any more: no lock lasts longer than a week."""


def acquire(options: argparse.Namespace, home: Path) -> int:
    """Takes all of the resources, or none and says who holds them."""
    secret = secrets.token_urlsafe(16)
    last = ask(
        home,
        op="acquire",
        resources=options.resources,
        repo=options.repo,
        holder=options.holder,
        ttl_us=round(options.ttl * _US),
        shared=options.shared,
        wait_s=options.wait,
        hold=secrets.token_hex(8),
        secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
    )
    data = _with_secret(last, secret)
    if not last["end"]:
        why = _keep(home, options.holder, [lease["resource"] for lease in data["leases"]], secret)
        if why:
            printed = "Keep the printed one." if options.json else f"It is {secret}, for --secret-file."
            sys.stderr.write(f"The secret is not kept in {home}: {why}. {printed}\n")
    return _print(options, last, data)


def release(options: argparse.Namespace, home: Path) -> int:
    """Gives the resources back; only with their secrets."""

    def given_back(names: Sequence[str], secret: str) -> tuple[dict[str, Any], dict[str, Any]]:
        last = ask(home, op="release", resources=names, repo=options.repo, secret=secret)
        if not last["end"]:
            for name in (last.get("data") or {}).get("released", ()):
                with contextlib.suppress(OSError):  # in a home of another login
                    _file(home, options.holder, name).unlink()
        return last, last.get("data") or {}

    return _for_each_secret(options, home, given_back)


def renew(options: argparse.Namespace, home: Path) -> int:
    """Makes the resources' leases last for ``--ttl`` from now; only with their secrets."""
    ttl_us = round(options.ttl * _US)

    def renewed(names: Sequence[str], secret: str) -> tuple[dict[str, Any], dict[str, Any]]:
        last = ask(home, op="renew", resources=names, repo=options.repo, secret=secret, ttl_us=ttl_us)
        if not last["end"]:
            _used(home, options.holder, names)
        return last, _with_secret(last, secret)

    return _for_each_secret(options, home, renewed)


def _for_each_secret(
    options: argparse.Namespace,
    home: Path,
    do: Callable[[Sequence[str], str], tuple[dict[str, Any], dict[str, Any]]],
) -> int:
    """One request for the resources of each secret, since what was taken apart has secrets of its own; prints the
    answers as one. Ends with the first that is refused."""
    whole: dict[str, Any] = {}
    said, last = "", dict[str, Any]()
    for secret, names in _secrets(options, home).items():
        last, data = do(names, secret)
        said += str(last.get("text", ""))
        for name, value in data.items():
            whole[name] = [*whole.get(name, ()), *value] if isinstance(value, list) else value
        if last["end"]:
            break
    return _print(options, {**last, "text": said}, whole)


def show(options: argparse.Namespace, home: Path) -> int:
    """Who holds what, and who waits."""
    last = ask(home, op="list")
    return _print(options, last, last.get("data") or {})


def _with_secret(last: dict[str, Any], secret: str) -> dict[str, Any]:
    """The data of an answer; its leases with the secret, which only this side knows."""
    data: dict[str, Any] = last.get("data") or {}
    if "leases" in data:
        data["leases"] = [
            {"resource": row["resource"], "token": row["token"], "secret": secret, "expires_at": row["expires_at"]}
            for row in data["leases"]
        ]
    return data


def ask(
    home: Path, *, patience_s: float = _PATIENCE_S, wait_s: float | None = None, **request: Any
) -> dict[str, Any]:
    """Through the controller's socket, else as the leader for a moment; waits while another command does that.
    ``wait_s``: how long to wait in line.

    Raises ``Unavailable`` when nobody answers: what was asked for was not done, or is undone.
    """
    give_up, silence_s = time.monotonic() + patience_s, patience_s + (wait_s or 0.0)
    while True:
        try:
            return client.ask(str(home), "lock", quiet=True, silence_s=silence_s, wait_s=wait_s, **request)
        except TimeoutError:
            from fleet.errors import Unavailable

            raise Unavailable(
                attempted="handle a lock",
                on=str(home),
                cause=f"the controller said nothing for {silence_s:.0f} s",
                hint="It may be frozen: airboss.log says what it did last.",
            ) from None
        except client.NotServed:
            pass
        from bot.home_lock import HomeInUse
        from bot.local.alone import lock_alone

        try:
            return asyncio.run(lock_alone(home, {**request, "wait": wait_s}))
        except HomeInUse:
            if time.monotonic() > give_up:
                raise
        time.sleep(_AGAIN_S)


def _print(options: argparse.Namespace, last: dict[str, Any], data: dict[str, Any]) -> int:
    status = int(last["end"])
    text = str(last.get("text", ""))
    if options.json and data:
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    elif text and not status:
        sys.stdout.write(text)
    if status and text:
        sys.stderr.write(text)
    return status


def _secrets(options: argparse.Namespace, home: Path) -> dict[str, list[str]]:
    """The secrets, each with the resources that it is for. An empty one opens nothing, and the answer says why."""
    given = options.secret_file
    if given:
        return {_read(given): options.resources}
    found: dict[str, list[str]] = {}
    for name in _names(options):
        found.setdefault(_kept(home, options.holder, name), []).append(name)
    return dict(sorted(found.items(), key=lambda each: bool(each[0])))  # what is refused comes first


def _read(file: str) -> str:
    from fleet.errors import Misused

    try:
        if file == _STANDARD_INPUT:
            secret = sys.stdin.readline(_LONGEST_SECRET).strip()
        else:
            with open(file, encoding="utf-8-sig", errors="replace", opener=_at_once) as lines:
                secret = lines.read(_LONGEST_SECRET).strip()  # a wrong file may be long, or have no end
        why = "" if secret else "it is empty"
    except OSError as error:
        secret, why = "", str(error.strerror)
    if why:
        raise Misused(
            attempted="read the secret of a lock",
            on=file,
            cause=why,
            hint="--secret-file takes a file, or - for standard input. Others can read the words of a command.",
        )
    return secret


def _at_once(path: str, flags: int) -> int:
    """Opens a file. A pipe to which nobody writes is empty, and not waited for."""
    opened = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(opened, True)
    return opened


def _names(options: argparse.Namespace) -> Sequence[str]:
    from fleet.locks import Resource

    return [str(Resource.parse(text, options.repo)) for text in options.resources]


def _file(home: Path, holder: str, resource: str) -> Path:
    digest = hashlib.sha256(f"{holder}\0{resource}".encode()).hexdigest()
    return home / _KEPT / f"{digest[:32]}.secret"


def _kept(home: Path, holder: str, resource: str) -> str:
    with contextlib.suppress(OSError):
        return _file(home, holder, resource).read_text(encoding="utf-8").strip()
    return ""


def _used(home: Path, holder: str, resources: Sequence[str]) -> None:
    """Their secrets are needed for as long again."""
    for resource in resources:
        with contextlib.suppress(OSError):
            os.utime(_file(home, holder, resource))


def _keep(home: Path, holder: str, resources: Sequence[str], secret: str) -> str:
    """Leaves the secret in the home, for this login alone. Returns why it could not, as in a home that is another
    login's; empty when it could."""
    try:
        (home / _KEPT).mkdir(mode=0o700, exist_ok=True)
        for resource in resources:
            files.replace(_file(home, holder, resource), f"{secret}\n".encode())
        for old in (home / _KEPT).glob("*.secret"):
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > _KEPT_S:
                    old.unlink()
    except OSError as error:
        return error.strerror or str(error)
    return ""
