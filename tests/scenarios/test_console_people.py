"""Who is at the console: the login that the kernel names, with the rights that fleet.toml gives it."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import socket
import stat
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.cards import Card, line
from bot.local import client
from bot.telling.alarms import Alarms, FleetAlarm
from fleet.config import parse_fleet
from fleet.errors import Misused
from fleet.questions import Option, Question
from fleet.store import approvals, tables
from fleet.store.approvals import ApprovalDecision
from fleet.store.core import Tx
from gates.people import CONSOLE_MAIN, console_chat, console_owner, console_person
from tests.chat_flight import Flight
from tests.chat_house import FLEET
from tests.console_house import exchange, request, served
from tests.far_end.logins import throwaway_login


def listed(login: str, role: str) -> str:
    return f'[[people]]\nname = "Cleo"\nrole = "{role}"\nids = ["{console_person(login)}"]\n'


async def test_the_controllers_own_login_is_admin_only_while_no_console_person_is_listed(tmp_path: Path) -> None:
    me = console_owner()
    async with served(tmp_path) as (there, _):
        assert (await exchange(tmp_path, request(do="say", text="/run mend it")))[-1]["end"] == 0
        assert (await there.tasks())[0].requester == str(me)
    async with served(tmp_path, people=listed("somebody-else", "admin")) as (there, _):
        for verb in ("say", "press", "call", "wait", "follow", "lock", "reset"):
            (answer,) = await exchange(tmp_path, request(do=verb, text="/run mend it", task="t1", op="list"))
            assert answer["end"] == 2, verb
            assert str(answer["error"]).startswith(f"🚫 {me.user} is not registered here.")
            assert str(me) in str(answer["error"]) and str(answer["error"]).count("\n") == 0
        assert (await exchange(tmp_path, request(do="status")))[-1]["end"] == 0, "doctor asks who serves"
        assert len(await there.tasks()) == 1


async def test_a_listed_login_has_the_rights_of_its_role_until_they_end(tmp_path: Path) -> None:
    me = console_owner()
    async with served(tmp_path, people=listed(me.user, "operator")) as (there, _):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / client.SOCKET))
        writer.write(request(do="follow"))
        assert json.loads(await reader.readline())["out"] == ""
        assert (await exchange(tmp_path, request(do="say", text="/run mend it")))[-1]["end"] == 0
        assert (await exchange(tmp_path, request(do="reset", reason="x")))[-1]["end"] == 2
        there.configured(parse_fleet(FLEET + listed("somebody-else", "admin"), "fleet.toml"))
        assert (await exchange(tmp_path, request(do="say", text="/status")))[-1]["end"] == 2
        await there.store.write(lambda tx: there.outbox.open(tx).post(CONSOLE_MAIN, Card(line("a secret"))))
        shown = ""
        while '"end"' not in shown:
            shown += (await reader.readline()).decode()
        assert "a secret" not in shown and "not registered here" in shown
        writer.close()


async def test_an_answer_goes_to_the_terminal_that_asked_and_the_rest_to_all_of_that_person(tmp_path: Path) -> None:
    async with served(tmp_path) as (there, _):
        terminals = {}
        for name in ("left", "right"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / client.SOCKET))
            writer.write(request(do="follow", terminal=name))
            await reader.readline()
            terminals[name] = reader, writer
        await exchange(tmp_path, request(do="say", text="/people", quiet=True, terminal="left"))
        await exchange(tmp_path, request(do="say", text="/gates", quiet=True, terminal="right"))
        alone = await exchange(tmp_path, request(do="say", text="/machines"))
        assert "macbook" in str(alone[0]["out"])
        await there.store.write(lambda tx: there.outbox.open(tx).post(CONSOLE_MAIN, Card(line("for all"))))
        other = console_chat(console_person("somebody-else"))
        await there.store.write(lambda tx: there.outbox.open(tx).post(other, Card(line("for another"))))
        await there.settle(CONSOLE_MAIN)
        await there.settle(other)
        for name, (mine, theirs) in {"left": ("viewer:", "No gate"), "right": ("No gate", "viewer:")}.items():
            reader, writer = terminals[name]
            seen = ""
            while "for all" not in seen:
                seen += json.loads(await reader.readline())["out"]
            assert mine in seen and theirs not in seen and "2 machines" not in seen and "another" not in seen
            writer.close()


async def test_a_plain_line_answers_the_one_question_that_waits_at_the_console(tmp_path: Path) -> None:
    question = Question("Which database?", (Option("Postgres"), Option("SQLite")))
    async with served(tmp_path) as (there, _):
        await exchange(tmp_path, request(do="say", text="/run mend it"))
        flight = await Flight.begin(there, begun=True)
        first = await flight.ask("{}", questions=(question,))
        await there.settle(CONSOLE_MAIN)
        assert (await exchange(tmp_path, request(do="say", text="/t1")))[-1]["end"] == Misused.status
        assert (await exchange(tmp_path, request(do="say", text="neither, a flat file")))[-1]["end"] == 0
        asked = await there.store.read(lambda tx: approvals.approval(tx, first.id))
        assert (asked.decision, asked.decided_why) == (ApprovalDecision.ANSWER, "neither, a flat file")
        assert asked.decided_by == str(console_owner())
        for name in ("q2", "q3"):
            await flight.ask("{}", questions=(question,), name=name)
        await there.settle(CONSOLE_MAIN)
        await exchange(tmp_path, request(do="say", text="the first one"))
        assert len(await there.store.read(lambda tx: approvals.waiting(tx, "t1"))) == 2, "nobody knows which"


async def test_an_admin_whom_only_the_console_reaches_is_asked_and_alarmed_there(tmp_path: Path) -> None:
    bea = f'[[people]]\nname = "Bea"\nrole = "admin"\nids = ["{console_person("bea")}"]\n'
    own = f'[[people]]\nname = "Both"\nrole = "admin"\nids = ["{console_person("both")}", "phone::both"]\n'
    async with served(tmp_path, people=bea + own) as (there, _):
        flight = await Flight.begin(there)
        await flight.hold()
        alarm = FleetAlarm("disk", "The controller's disk is almost full")
        await Alarms(there.outbox, lambda: there.config, lambda: [alarm], ("phone",)).look()

        def cards(tx: Tx) -> Counter[tuple[str, str]]:
            rows = tx.connection.execute(
                select(tables.cards.c.adapter, tables.cards.c.chat, tables.cards.c.card_key)
            )
            return Counter((row.adapter, row.chat) for row in rows if row.card_key.startswith(("ask:", "alarm:")))

        seen = await there.store.read(cards)
    assert seen[("console", f"bea@{socket.gethostname()}")] == 2
    assert seen[("phone", "both")] == 2 and ("console", f"both@{socket.gethostname()}") not in seen


async def test_a_group_gets_the_socket_and_nothing_else_of_the_home(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    tmp_path.chmod(0o700)
    async with served(tmp_path, people=f'[console]\ngroup = "{group}"\n') as (there, server):
        assert server.trouble == ""
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o710
        assert (stat.S_IMODE(server.path.stat().st_mode), server.path.stat().st_gid) == (0o660, os.getgid())
        there.configured(parse_fleet(FLEET + '[console]\ngroup = "no-such-group"\n', "fleet.toml"))
        server.open()
        assert "there is no group no-such-group" in server.trouble
        there.configured(parse_fleet(FLEET, "fleet.toml"))
        server.open()
        assert server.trouble == ""
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


CLIENT = """
import json, socket, sys
channel = socket.socket(socket.AF_UNIX)
channel.connect(sys.argv[1])
asked = {"v": 1, "do": "say", "text": "/run mend it", "person": "console:here:root"}
channel.sendall(json.dumps(asked).encode() + b"\\n")
print(channel.makefile().readline())
"""


@pytest.mark.needs_root
async def test_another_login_is_who_the_kernel_says_whatever_it_says_itself(tmp_path: Path) -> None:
    with throwaway_login("operator") as login:
        home = Path(login.pw_dir).parent / "fleet"
        home.mkdir(mode=0o711)
        async with served(home, people=listed(login.pw_name, "operator")) as (there, server):
            server.path.chmod(0o666)
            process = await asyncio.create_subprocess_exec(
                "/usr/bin/python3", "-I", "-c", CLIENT, str(server.path), user=login.pw_name, stdout=-1
            )
            out, _ = await process.communicate()
            assert "mend it" in out.decode()
            (task,) = await there.tasks()
            assert task.requester == str(console_person(login.pw_name))
            assert task.origin == console_chat(console_person(login.pw_name)) != CONSOLE_MAIN
