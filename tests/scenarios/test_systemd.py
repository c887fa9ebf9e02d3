"""The system unit in a systemd that is process 1: it starts, comes back, leaves agents alone, and gives up.

``make torture`` runs it: it boots a system.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import FULL
from tests.far_end.systemd import Booted, booted

ROOT = Path(__file__).resolve().parents[2]
FLEET = """
isolation = "unsafe-same-user"

[machines.here]
executor = "local"
session_walls = false

[agents.sleeper]
driver = "command"
program = ["sh", "-c", "echo $$ > /var/lib/airboss/agent; exec sleep 600"]

[repos.shop]
url = "/var/lib/airboss/shop.git"
agent = "sleeper"
"""
SETUP = r"""
set -e
useradd --system --home-dir /var/lib/airboss --shell /usr/sbin/nologin airboss
install -d -m 0700 -o airboss -g airboss /var/lib/airboss
cd /var/lib/airboss
cat > fleet.toml
git init -q --bare -b main shop.git
tree=$(git -C shop.git mktree < /dev/null)
blob=$(printf '[gates.ok]\nrun = ["true"]\n' | git -C shop.git hash-object -w --stdin)
tree=$(printf '100644 blob %s\tairboss.toml\n' "$blob" | git -C shop.git mktree)
git -C shop.git -c user.name=a -c user.email=a@b update-ref refs/heads/main \
    "$(git -C shop.git -c user.name=a -c user.email=a@b commit-tree -m first "$tree")"
chown -R airboss:airboss .
cp /opt/airboss/deploy/airboss.service /etc/systemd/system/
systemctl daemon-reload
"""
PID = "pid=$(systemctl show --value -p MainPID airboss)"
ASK = "runuser -u airboss -- /opt/airboss/.venv/bin/airboss --home /var/lib/airboss"


if FULL:

    @pytest.mark.needs_root
    def test_the_unit_starts_comes_back_leaves_agents_running_and_stops() -> None:
        with booted(ROOT) as there:
            there.run("sh", "-c", SETUP, given=FLEET)
            there.run("systemd-analyze", "verify", "/etc/systemd/system/airboss.service")
            own = there.run("sh", "-c", f"{ASK} service show --system airboss").stdout
            there.run("sh", "-c", "cat > /run/own.service && systemd-analyze verify /run/own.service", given=own)
            assert there.run("systemctl", "enable", "--now", "airboss").returncode == 0
            answers(there)
            first = there.show("airboss", "MainPID")
            assert there.run("sh", "-c", f"stat -c %U /proc/{first}").stdout.strip() == "airboss"
            there.run("sh", "-c", f"{ASK} run --repo shop sleep")
            agent = there.until("cat /var/lib/airboss/agent", "the agent works").strip()

            there.run("kill", "-9", first)
            there.until(f"{PID} && [ $pid -gt 0 ] && [ $pid != {first} ]", "it comes back")
            answers(there)
            there.run("systemctl", "restart", "airboss")
            answers(there)
            there.run("kill", "-0", agent)
            assert "sleep" in there.run("sh", "-c", f"{ASK} status").stdout

            there.run("systemctl", "stop", "airboss")
            assert there.show("airboss", "Result") == "success"
            there.run("kill", "-0", agent)

            there.run("sh", "-c", "echo '[nonsense' >> /var/lib/airboss/fleet.toml")
            there.run("systemctl", "start", "airboss", check=False)
            there.until('[ "$(systemctl show --value -p ActiveState airboss)" = failed ]', "it gives up")
            assert there.show("airboss", "ExecMainStatus") == "2"
            assert there.show("airboss", "NRestarts") == "0"
            assert "fleet.toml" in there.run("journalctl", "--no-pager", "-u", "airboss").stdout


def answers(there: Booted) -> None:
    """Waits until the controller answers."""
    there.until(f"{ASK} status > /dev/null 2>&1", "the controller answers")
