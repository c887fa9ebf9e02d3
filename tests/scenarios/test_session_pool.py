"""Each task has a login of a pool to itself until it ends, however long it waits for a person. Logins need root."""

from __future__ import annotations

import contextlib
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contracts.nested import gitmodules, record
from tests.far_end import agents
from tests.far_end.anthropic_model import AnthropicModel
from tests.far_end.logins import gates_login, throwaway_login
from tests.far_end.repositories import git, make_bare
from tests.far_end.scripted_model import call, say
from tests.scenarios.house import AGENT, House, house

pytestmark = pytest.mark.needs_root

SETUP = """
[setup.tool]
run = [["mkdir", "-p", ".tool"], ["/bin/sh", "-c", "id -un > .tool/made; pwd >> .tool/made"]]
inputs = ["work.txt"]
provides = [".tool"]
"""
GATE = '[gates.check]\nrun = ["true"]\ntimeout = "30s"\nprotected = ["check.py"]\nrework_turns = 0\n'


@dataclass
class Pool:
    """A controller with one slot on one machine, whose agents have two logins, and the model of one agent."""

    house: House
    model: AnthropicModel
    logins: tuple[pwd.struct_passwd, pwd.struct_passwd]


@pytest.fixture
def pool() -> Iterator[Pool]:
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(AnthropicModel())
        first, second = (stack.enter_context(throwaway_login("agents")) for _ in range(2))
        made = stack.enter_context(house({"airboss.toml": GATE + SETUP}))
        made.directory.chmod(0o711)
        program = shutil.copy2(Path(agents.binary("claude")).resolve(), made.directory / "claude")
        (made.directory / "agent.py").write_text(AGENT)
        machine = {
            "executor": "local",
            "run_as": [first.pw_name, second.pw_name],
            "gate_as": gates_login().pw_name,
            "slots": 1,
            "session_walls": False,  # the logins alone must keep tasks apart
        }
        made.configure(
            isolation="separate-logins",
            machines={"evo-x2": machine, "macbook": None},
            agents={
                "claude": {
                    "driver": "claude",
                    "program": [str(program)],
                    "settings": dict(agents.claude_home(model.url).env),
                },
                "plain": {"driver": "command", "program": ["python3", str(made.directory / "agent.py")]},
            },
        )
        made.start()
        yield Pool(made, model, (first, second))


def test_a_held_task_keeps_its_login_and_its_conversation_while_others_use_the_slot(pool: Pool) -> None:
    served, (first, second) = pool.house, pool.logins
    lib = git(make_bare(served.directory / "lib.git", {"lib.txt": "fine\n"}), "rev-parse", "main")
    record(served.bare, {".gitmodules": gitmodules(vendor__lib="../lib.git")}, vendor__lib=lib)
    touch = call("Bash", command="id -un > who.txt; echo '#' >> airboss.toml", description="do it")
    back = call("Bash", command="git checkout airboss.toml; id -un >> who.txt", description="undo it")
    pool.model.script([touch, say("Done."), back, say("Undone.")])
    held = served.say("/run agent=claude please see to it", wait=True)
    assert held.status == 4, held.shown
    made = Path(served.workspace(held.task), ".tool", "made").read_text().splitlines()
    assert made == [first.pw_name, str(served.workspace(held.task))], "set up by the login that the task has"

    plant = f"echo planted >> {second.pw_dir}/.bashrc; setsid sleep 600 >/dev/null 2>&1 & touch /tmp/left-$(id -un)"
    reach = f"cat {served.workspace(held.task)}/who.txt && echo crossed > other.txt; id -un >> other.txt"
    inside = "{ cat vendor/lib/lib.txt; git -C vendor/lib status --porcelain; ls -ld vendor/lib; } > lib.txt"
    other = served.say(f"/run agent=plain shell {reach}\nshell {inside}\nshell {plant}", wait=True)
    assert other.status == 0, other.shown
    assert served.main("other.txt").splitlines()[-1] == second.pw_name
    assert "crossed" not in served.main("other.txt")
    fine, owner = served.main("lib.txt").splitlines()
    assert fine == "fine" and second.pw_name in owner, "its submodules are its own login's, and git works there"
    assert "sessions-share-a-login" not in other.shown
    served.until(lambda: served.of(other.task, "session.ended"), "the other task's login is cleared")
    assert [recorded.event.body()["why"] for recorded in served.of(other.task, "session.ended")] == [""]
    (ended,) = [recorded.event.body() for recorded in served.of(other.task, "session.ended")]
    assert f"removed {second.pw_dir}/.bashrc" in ended["left"]
    assert not (Path(second.pw_dir) / ".bashrc").exists()
    assert not Path(f"/tmp/left-{second.pw_name}").exists()
    running = subprocess.run(
        ["ps", "-u", second.pw_name, "-o", "comm="], check=False, capture_output=True, text=True
    )
    assert "sleep" not in running.stdout

    assert served.say(f"/say {held.task} leave the gates alone").status == 0
    assert served.wait(held.task).status == 0
    assert served.main("who.txt").splitlines() == [first.pw_name, first.pw_name]
    assert pool.model.asked[-1].step == 3, "the same conversation"
