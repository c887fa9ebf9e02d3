"""A machine of its own for somebody who follows the README: a copy of this system, which goes away with its last
process. Logins, ``/etc``, ``/opt`` and ``/srv`` are the copy's; root is needed.

``make torture`` plays the README's own blocks in it. What a person does besides them stands here, with its reason.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.far_end import agents

CHECKOUT: Final = Path(__file__).resolve().parents[2]

#: Enters the copy: an overlay whose changes are in memory, with processes of its own.
_ENTER: Final = r"""
set -e
room=$1 script=$2
mount -t tmpfs tmpfs "$room"; mkdir "$room/upper" "$room/work" "$room/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$room/upper,workdir=$room/work" "$room/root"
cd "$room/root"
mount -t proc proc proc; mount --rbind /dev dev; mount --rbind /sys sys; mount -t tmpfs -o mode=755 tmpfs run
cp "$script" run/newcomer.sh
mkdir -p old; pivot_root . old; cd /; umount -l old
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec env -i HOME=/root LANG=C.UTF-8 PATH="$PATH" sh /run/newcomer.sh
"""

_TEST: Final = """\
from pricing import price


def test_a_discount():
    assert price(1000, 10) == 900
"""
_PROJECT: Final = {
    "requirements.txt": "pytest\n",
    "pricing.py": "def price(cents, percent):\n    return cents + cents * percent // 100\n",
    "tests/test_pricing.py": _TEST,
}


@dataclass(frozen=True, slots=True)
class Guide:
    """The README's blocks: of the first fleet in their order, and of receipts."""

    logins: str
    install: str
    machines: str
    far_machine: str
    repository: str
    fleet: str
    gates: str
    start: str
    verify: str
    openssh: str

    @classmethod
    def of(cls, readme: str) -> Guide:
        """Raises ``ValueError`` when the README has other blocks than these."""
        part = readme[readme.index("## A first fleet") : readme.index("## What it does not do")]
        blocks = re.findall(r"```(sh|toml)\n(.*?)```", part, re.DOTALL)
        kinds = "sh sh sh sh sh toml toml sh sh sh"
        if (found := " ".join(kind for kind, _ in blocks)) != kinds:
            raise ValueError(f"the README's blocks are {found}, not {kinds}: teach this class the new ones")
        return cls(*(text for _, text in blocks))


def script(guide: Guide, *, model: str, address: str) -> str:
    """What the newcomer types as root, the README's blocks among it. ``model``: the url of the scripted model;
    ``address``: where the machine over SSH listens, on loopback."""
    key, _, add = guide.far_machine.partition("\n")
    start = guide.start.splitlines()
    wrong = [line for line in start if line.split()[:1] not in (["cp"], ["airboss"])]
    if wrong or not key.startswith("sudo ") or "systemctl" not in start[0]:
        raise ValueError(f"the README starts it otherwise: {wrong or key or start}")
    settings = f'settings = {{ ANTHROPIC_BASE_URL = "{model}", DISABLE_AUTOUPDATER = "1" }}\n'
    fleet = guide.fleet.replace("[console]", f"{settings}[console]", 1)
    files = "\n".join(_written(f"/root/shop/{name}", text) for name, text in _PROJECT.items())
    asked = re.search(r"airboss run --wait '[^']+'", guide.start)
    if asked is None:
        raise ValueError("the README no longer says how to ask for a task in one command")
    return f"""set -ex
printf 'UID_MIN 43000\\nGID_MIN 43000\\nSYS_UID_MIN 42000\\nSYS_UID_MAX 42999\\n' > /run/ids   # no test's logins
sed -i '/^#*\\(SYS_\\)*[UG]ID_M/d' /etc/login.defs && cat /run/ids >> /etc/login.defs
git clone -q --no-hardlinks {shlex.quote(str(CHECKOUT))} /run/airboss && cd /run/airboss   # their clone
{guide.logins}
useradd --create-home --shell /bin/bash ada && usermod -aG operators ada   # "add yourself too"
{guide.install}
{guide.machines}
: a second machine, here the same one behind sshd
echo '{address} macbook.local' >> /etc/hosts
ssh-keygen -A && mkdir -p /run/sshd && /usr/sbin/sshd -o ListenAddress={address} -o Port=22
{key}
for login in agents gates; do   # "add its public line to authorized_keys of both"
  install -d -m 700 -o $login -g $login /home/$login/.ssh
  install -m 600 -o $login -g $login /var/lib/airboss/.ssh/id_ed25519.pub /home/$login/.ssh/authorized_keys
done
{add.replace("'ssh-ed25519 AAAA…'", '"$(cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"')}
: the agent, without the network: the pinned program instead of npm install -g, and a key instead of a login
install -m 755 {shlex.quote(str(Path(agents.binary("claude")).resolve()))} /usr/local/bin/claude
(umask 077; echo ANTHROPIC_API_KEY=scripted > /var/lib/airboss/.env); chown airboss /var/lib/airboss/.env
: a repository that people have, with the gates of the README
mkdir -p /root/shop/tests && git init -q -b main /root/shop
{files}
{_written("/root/shop/airboss.toml", guide.gates)}
git -C /root/shop add -A && git -C /root/shop -c user.name=Ada -c user.email=ada@example.com commit -qm first
git clone -q --bare /root/shop /tmp/shop.git && chown -R airboss /tmp/shop.git
{guide.repository.replace("https://example.com/shop.git", "/tmp/shop.git")}
{_written("/run/more.toml", fleet)}
cat /run/more.toml >> /var/lib/airboss/fleet.toml
: no systemd boots here, so it is served in a terminal
airboss serve > /run/serve.log 2>&1 &
set +x; until grep -q 'airboss serves' /run/serve.log; do sleep 0.2; kill -0 $!; done; set -x
airboss doctor
su - ada -c {shlex.quote(asked.group())}
su - ada -c {shlex.quote(guide.verify)}
su - ada -c {shlex.quote(guide.openssh)}
echo everything was done
"""


def _written(path: str, text: str) -> str:
    return f"cat > {path} <<'END-OF-FILE'\n{text}END-OF-FILE"


def play(written: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Types the script on a machine of its own; everything that it started ends with it."""
    room, typed = directory / "room", directory / "newcomer.sh"
    room.mkdir()
    typed.write_text(written)
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    argv = [*own, "sh", "-c", _ENTER, "enter", str(room), str(typed)]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
