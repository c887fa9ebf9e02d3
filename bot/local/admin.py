"""Operator commands that need no running controller: fleet.toml, doctor, and reports from the store."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import re
import socket
import subprocess
import sys
import tempfile
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from bot.local.options import print_json, tell
from bot.local.owner import caller
from bot.local.stores import has_store, store_of_home
from bot.revoking import revoked, unlist, without_admin
from fleet.clock import SystemClock
from fleet.config import FleetConfig, Secrets, edit_fleet, load_fleet
from fleet.config.home import FLEET_FILE
from fleet.errors import DiskFull, Misused, Unavailable

if TYPE_CHECKING:
    from bot.doctor import Finding

_SSH = re.compile(
    r"(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@(?P<host>[A-Za-z0-9\[][A-Za-z0-9.:\]_-]*?)(?::(?P<port>\d+))?$"
)


def _out(text: str) -> None:
    sys.stdout.write(text + "\n")


def list_machines(options: argparse.Namespace, home: Path) -> int:
    """Lists the machines in fleet.toml."""
    config = load_fleet(home / FLEET_FILE)
    rows = []
    for name, machine in config.machines.items():
        where = (
            f"{machine.agent_logins[0]}@{machine.host}:{machine.port}"
            if machine.executor == "ssh"
            else "this machine"
        )
        gates = ", ".join(machine.gate_as) or (
            "no gates" if not machine.runs_gates(config.isolation) else "the same login"
        )
        agents = ", ".join(filter(None, machine.agent_logins)) or "the controller's own login"
        rows.append(f"{name}: {where}, {machine.slots} slots, agents as {agents}, gates as {gates}")
    data = {name: machine.model_dump(mode="json") for name, machine in config.machines.items()}
    return tell(options, data, rows)


def add_machine(options: argparse.Namespace, home: Path) -> int:
    """Adds a machine to fleet.toml. A person compares and pins its host key; it is never trusted on first use."""
    fields: dict[str, Any] = {"labels": options.label, "slots": options.slots}
    if options.ssh:
        fields |= _ssh_fields(options)
    else:
        fields |= {"executor": "local", "run_as": options.run_as}
    if options.gate_as:
        fields["gate_as"] = options.gate_as
    with edit_fleet(home / FLEET_FILE) as editor:
        editor.add_machine(options.name, **{key: value for key, value in fields.items() if value not in ("", [])})
    _out(
        f"{options.name} is in {home / FLEET_FILE}. A running controller loads it automatically. "
        "Check it with: airboss doctor"
    )
    return 0


def _ssh_fields(options: argparse.Namespace) -> dict[str, Any]:
    found = _SSH.match(options.ssh)
    if found is None:
        raise Misused(attempted="add the machine", on=options.ssh, cause="write USER@HOST or USER@HOST:PORT")
    host, port = found["host"].strip("[]"), int(found["port"] or 22)
    if not options.host_key:
        raise Misused(
            attempted="pin the machine's host key",
            on=f"{host}:{port}",
            cause=f"it shows:\n{_scanned_keys(host, port)}",
            hint="Compare it on the machine (cat /etc/ssh/ssh_host_ed25519_key.pub), then add "
            "--host-key 'ssh-ed25519 AAAA…'",
        )
    return {
        "executor": "ssh",
        "host": host,
        "port": port,
        "user": found["user"],
        "host_key": options.host_key,
        "identity": options.identity,
    }


def _scanned_keys(host: str, port: int) -> str:
    try:
        scanned = subprocess.run(
            ["ssh-keyscan", "-T", "10", "-t", "ed25519", "-p", str(port), "--", host],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(
            attempted="ask the machine for its host key",
            on=host,
            cause=str(error),
            hint="Pass the key with --host-key.",
        ) from error
    keys = [line.split(" ", 1)[1] for line in scanned.stdout.splitlines() if " " in line and line[0] != "#"]
    if not keys:
        raise Unavailable(
            attempted="ask the machine for its host key", on=f"{host}:{port}", cause="it returned no key"
        )
    return "\n".join(keys)


def list_people(options: argparse.Namespace, home: Path) -> int:
    """Lists who may do what."""
    people = load_fleet(home / FLEET_FILE).people
    rows = (f"{person.name}: {person.role}, {', '.join(person.ids)}" for person in people)
    return tell(options, [person.model_dump(mode="json") for person in people], rows)


def add_person(options: argparse.Namespace, home: Path) -> int:
    """Adds a person to fleet.toml."""
    with edit_fleet(home / FLEET_FILE) as editor:
        editor.add_person(options.name, options.role, options.ids)
    _out(f"{options.name} is {options.role} in {home / FLEET_FILE}. A running controller loads it automatically.")
    return 0


def revoke_person(options: argparse.Namespace, home: Path) -> int:
    """Ends every right of an id, with or without a running controller."""
    name = unlist(home, options.id)
    if has_store(home):
        with store_of_home(home) as store:
            actor = str(caller())
            asyncio.run(store.write(lambda tx: revoked(tx, options.id, name, actor)))
    _out(f"{options.id} ({name}) has no rights any more. A running controller knows it within seconds.")
    if last := without_admin(load_fleet(home / FLEET_FILE)):
        _out(last)
    return 0


def doctor(options: argparse.Namespace, home: Path) -> int:
    """Tests the isolation by trying to break it."""
    config = load_fleet(home / FLEET_FILE)
    return asyncio.run(_doctor(config, home, as_json=options.json))


async def _doctor(config: FleetConfig, home: Path, *, as_json: bool) -> int:
    from bot.doctor import Severity, examine, reach_table, status_of, to_json
    from bot.doctor.controller import other_controllers
    from bot.doctor.gates import check_gate_network
    from bot.doctor.offers import check_offers
    from bot.doctor.programs import check_programs
    from bot.doctor.repositories import apart, check_repositories
    from bot.doctor.reviewers import check_reviewers
    from bot.doctor.speech import check_speech
    from bot.local.client import ControllerFrozen, NotServed, ask
    from fleet.machines.executors import Executors
    from fleet.store.controllers import Contender
    from gates.review.agent import AgentReviewers

    served: dict[str, Any] = {}
    with contextlib.suppress(NotServed):
        try:
            served = await asyncio.to_thread(ask, str(home), "status")
        except ControllerFrozen:
            served = {"frozen": True}
    executors = Executors(config, home)
    try:
        findings = await examine(config, home, executors, controller_pid=int(served.get("pid", 0)))
        findings += await check_programs(config, home, executors)
        agents = AgentReviewers.of(lambda: config, executors, Secrets.load(home))
        findings += await check_reviewers(config, Secrets.load(home), agents)
        offered, seen = await check_offers(config, executors)
    finally:
        await executors.close()
    with tempfile.TemporaryDirectory(prefix="airboss-doctor-") as scratch:
        apart_from_it = partial(apart, config, home, scratch=Path(scratch))
        findings += offered + await check_repositories(config, apart_from_it, seen)
        findings += await check_speech(config, Secrets.load(home), Path(scratch))
    own = version("airboss")
    if served.get("version", own) == own:  # this version's schema may be too new for a controller that runs
        findings += await check_gate_network(config, lambda: store_of_home(home))
    asks = Contender("", socket.gethostname(), str(home), own)
    findings += await other_controllers(served, own, home, asks, lambda: store_of_home(home))
    findings += _kept(config, home, findings)
    if as_json:
        print_json(to_json(findings))
        return status_of(findings)
    sign = {Severity.OK: "✓", Severity.WARN: "!", Severity.BAD: "✗"}
    for finding in findings:
        _out(f"{sign[finding.level]} {finding.subject}: {finding.what}")
        if finding.remedy and finding.level is not Severity.OK:
            _out(f"    {finding.remedy}")
    table = reach_table(findings)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))] if table else []
    for row in table:
        _out("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return status_of(findings)


def _kept(config: FleetConfig, home: Path, findings: list[Finding]) -> list[Finding]:
    """Keeps what cards and reviews say of it; a finding where that fails."""
    from bot.doctor import Finding, Severity, bypass, reach

    try:
        bypass.keep(home, findings, config.repos)
        reach.keep(home, findings)
    except DiskFull:
        return []  # a finding of its own says so
    except Unavailable as error:
        what = f"what was found cannot be kept in {error.on}: {error.cause}"
        return [Finding(Severity.BAD, "home", what, error.hint)]
    return []


def digest(options: argparse.Namespace, home: Path) -> int:
    """Prints figures from the store, without a controller."""
    from bot.digest import UTC, in_period, make_digest, parse_days, parse_span
    from bot.digest_card import digest_card
    from bot.look import look_at

    period = parse_days(options.span, UTC.key, datetime.now(UTC).date())
    span = parse_span(options.span)
    if period is None and span is None:
        raise Misused(attempted="make a digest", on=options.span, hint="Write 24h, 7d, 2026-11-01 or all.")
    config = load_fleet(home / FLEET_FILE)
    with store_of_home(home) as store:
        made = asyncio.run(in_period(store, period) if period is not None else make_digest(store, span or 0))
        with store.transaction() as tx:
            look = look_at(tx)
    from bot.chats.console.render import render

    card = digest_card(made, config.isolation, look=look, asked=period)
    text = render(card, lambda _: 0, colour=sys.stdout.isatty()).rstrip("\n")
    return tell(options, made.to_json(), (text,))


def digest_days(options: argparse.Namespace, home: Path) -> int:
    """Prints the figures of whole days, straight from the store."""
    from bot.days import days_of
    from fleet.agent_events import ToolOutcome
    from fleet.figures import UNFINISHED
    from fleet.reading_figures import figures_in

    if options.span:
        cause = "--from, --to, --csv and --tz are for days, and this is a span up to now"
        raise Misused(attempted="make a digest", on=options.span, cause=cause, hint="Give one or the other.")
    days = days_of(options.first, options.last, options.tz or "UTC")
    with store_of_home(home) as store:
        figures = asyncio.run(figures_in(store, days.period, days.zone)).figures
    if options.csv:
        names = ("date", "calls", *map(str, ToolOutcome), UNFINISHED)
        table = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        table.writeheader()
        table.writerows(figures.by_days())
        return 0
    plain = {"v": 1, **days.to_json(), **figures.to_json()}
    return tell(options, plain, (f"{name}: {value}" for name, value in plain.items()))


def agents(options: argparse.Namespace, home: Path) -> int:
    """The agents of ``fleet.toml``, without a controller: then nobody looks where they are installed."""
    from bot.agent_view import agent_lines, agent_plain, seen_agents
    from bot.cards import shown

    config = load_fleet(home / FLEET_FILE)
    seen = {name: seen_agents(config, name, {}) for name in sorted(config.agents)}
    rows = [shown(row) for name, each in seen.items() for row in agent_lines(name, config.agents[name], each)]
    data = [agent_plain(config, name, each) for name, each in seen.items()]
    return tell(options, {"v": 1, "agents": data}, rows)


def schedules(options: argparse.Namespace, home: Path) -> int:
    """The schedules, without a controller: then none of them starts."""
    from bot.cards import shown
    from bot.schedules.cards import plain, schedule_line
    from fleet.store import schedules as rows
    from fleet.zones import machine_zone

    with store_of_home(home) as store:
        listed = asyncio.run(store.read(rows.listed))
    now = SystemClock().now_us()
    lines = (shown(schedule_line(schedule, ZoneInfo(machine_zone()), now)) for schedule in listed)
    return tell(options, {"v": 1, "schedules": [plain(schedule, now) for schedule in listed]}, lines)


def show_controllers(options: argparse.Namespace, home: Path) -> int:
    """Who leads this store, and who stands by, as the store has it."""
    from bot.controller_view import full_line, plain
    from fleet.store import controllers

    with store_of_home(home) as store:
        seen = asyncio.run(store.read(controllers.seen))
    rows = [full_line(each) for each in seen] or ["No controller leads this store, and none stands by."]
    return tell(options, {"v": 1, "controllers": [plain(each) for each in seen]}, rows)


def unlanded(options: argparse.Namespace, home: Path) -> int:
    """The changes that did not land, without a controller."""
    from bot.unlanded import plain, where
    from fleet.store import trees

    with store_of_home(home) as store:
        found = asyncio.run(store.read(lambda tx: [(tree, plain(tx, tree)) for tree in trees.unlanded(tx)]))
    rows = (f"{tree.task.id} {tree.task.repo} {tree.task.state}: {where(tree)}" for tree, _ in found)
    return tell(options, {"v": 1, "unlanded": [data for _, data in found]}, rows)


def receipt(options: argparse.Namespace, home: Path) -> int:
    """Prints where a receipt is, without a controller."""
    from fleet.events import ReceiptIssued
    from fleet.store import tasks
    from fleet.store.recent import last_events

    with store_of_home(home) as store:
        task = asyncio.run(store.read(lambda tx: tasks.find(tx, options.task)))
        found = asyncio.run(store.read(lambda tx: last_events(tx, 1, kinds=(ReceiptIssued.KIND,), task=task.id)))
    for recorded in found:
        if isinstance(recorded.event, ReceiptIssued):
            issued = recorded.event
            data = {"task": task.id, "commit": issued.commit, "sha256": issued.sha256, "path": issued.path}
            return tell(options, data, (issued.path,))
    raise Misused(attempted="find the receipt", on=task.id, cause=f"there is none: the task is {task.state}")
