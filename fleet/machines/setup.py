"""The script that makes a machine's logins, for its root to read and run: ``airboss machines setup`` prints it.

What it makes for gates can hold no start-up file that code under test wrote. sshd runs each command through the
login's shell, which would read ``.bashrc`` or ``.zshenv`` before our code, whatever the key's options say.
Running it again changes nothing.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from fleet.config import MachineConfig

#: Files that a shell or sshd reads when a login connects, and directories that hold such files.
STARTUP_FILES: Final = (
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshenv", ".zprofile", ".zshrc",
    ".zlogin", ".zlogout", ".cshrc", ".tcshrc", ".login", ".kshrc", ".mkshrc", ".pam_environment", ".ssh",
    ".config", ".local", "Library",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setup:
    """What a script is made for. ``controller``: the login that runs the controller, for sudo's rules on its own
    machine. ``public_key``: what the controller logs in with over SSH."""

    name: str
    machine: MachineConfig
    controller: str = ""
    public_key: str = ""
    etc: str = "/etc"
    homes: str = ""

    def script(self) -> str:
        """The script, for ``/bin/sh``."""
        machine = self.machine
        agents = list(filter(None, machine.agent_logins))
        gates = [*machine.gate_as, *filter(None, [machine.supervise_as])]
        over_ssh = machine.executor == "ssh"
        parts = [_HEAD, _variables(self), _LOGINS]
        parts += [f"agents_login {login}\n" for login in agents]
        parts += [f"gates_login {login}\n" for login in gates]
        if over_ssh and gates:
            parts += [_SSHD, *(f"allow_key {login}\n" for login in gates)]
            parts.append(f"configure_sshd {','.join(gates)}\n")
        rules = []
        if not over_ssh and self.controller not in {"", "root"} and [*agents, *gates]:
            rules.append(f"{self.controller} ALL=({','.join([*agents, *gates])}) NOPASSWD: ALL")
        if machine.supervise_as:
            rules += [
                f"Defaults:{machine.supervise_as} !requiretty,!use_pty",
                f"{machine.supervise_as} ALL=({','.join(machine.gate_as)}) NOPASSWD: ALL",
            ]
        if rules:
            parts.append(_SUDO + f"allow_sudo {shlex.join(rules)}\n")
        return "".join(parts) + 'echo "done: check it with airboss doctor"\n'


def _variables(setup: Setup) -> str:
    return (
        f"name={shlex.quote(setup.name.replace('.', '_'))} etc={shlex.quote(setup.etc)}\n"
        f"homes={shlex.quote(setup.homes)} key={shlex.quote(setup.public_key)}\n"
        f"startup={shlex.quote(' '.join(STARTUP_FILES))}\n"
    )


_HEAD: Final = """\
#!/bin/sh
# The logins that Airboss uses on this machine. Run it as root; running it again changes nothing.
set -eu
umask 022
[ "$(id -u)" = 0 ] || { echo "run this as root" >&2; exit 1; }
"""

_LOGINS: Final = """
[ -n "$homes" ] || { if [ "$(uname)" = Darwin ]; then homes=/Users; else homes=/home; fi; }

new_login() {
    if id "$1" > /dev/null 2>&1; then return; fi
    if [ "$(uname)" = Darwin ]; then
        sysadminctl -addUser "$1" -home "$homes/$1" -shell /bin/sh
    else
        useradd --user-group --no-create-home --home-dir "$homes/$1" --shell /bin/sh "$1"
        usermod --password '*' "$1"   # no password at all; a locked account could not use its key either
    fi
    echo "made the login $1"
}

home_of() { eval "printf '%s' ~$1"; }

# The home belongs to the login: an agent keeps its own vendor login there.
agents_login() {
    new_login "$1"
    home=$(home_of "$1")
    [ -d "$home" ] || install -d -m 0700 -o "$1" -g "$(id -gn "$1")" "$home"
}

# The home belongs to root; the login writes in .airboss only. So it can change nothing that runs at a connection.
gates_login() {
    new_login "$1"
    home=$(home_of "$1")
    install -d -m 0755 -o root -g 0 "$home"
    for file in $startup; do
        if [ -e "$home/$file" ]; then chown -R -h root "$home/$file"; fi
    done
    install -d -m 0700 -o "$1" -g "$(id -gn "$1")" "$home/.airboss"
    echo "the home of $1 belongs to root"
}
"""

_SSHD: Final = """
[ -n "$key" ] || { echo "there is no public key: give the machine an identity in fleet.toml" >&2; exit 1; }

allow_key() {
    install -d -m 0755 -o root -g 0 "$etc/ssh/airboss_keys"
    printf 'restrict %s\\n' "$key" > "$etc/ssh/airboss_keys/$1"
}

# sshd starts commands through the login's shell: neither it nor sshd finds a start-up file of the login.
configure_sshd() {
    install -d -m 0755 -o root -g 0 /var/empty "$etc/ssh/sshd_config.d"
    file="$etc/ssh/sshd_config.d/00-airboss-$name.conf"
    cat > "$file" <<END
PermitUserEnvironment no
Match User $1
    AuthorizedKeysFile $etc/ssh/airboss_keys/%u
    AuthorizedKeysCommand none
    SetEnv HOME=/var/empty ZDOTDIR=/var/empty
    PermitUserRC no
    PermitTTY no
    DisableForwarding yes
    PasswordAuthentication no
    KbdInteractiveAuthentication no
Match all
END
    main="$etc/ssh/sshd_config"
    if [ -e "$main" ]; then
        if ! grep -Eq '^[[:space:]]*Include[[:space:]].*sshd_config\\.d' "$main"; then
            { echo "Include $etc/ssh/sshd_config.d/*.conf"; cat "$main"; } > "$main.new"
            cat "$main.new" > "$main"
            rm "$main.new"
        fi
        sshd=$(command -v sshd || echo /usr/sbin/sshd)
        "$sshd" -t -f "$main" || { rm "$file"; echo "sshd refuses this configuration; it was removed" >&2; exit 1; }
        "$sshd" -T -f "$main" -C "user=${1%%,*},host=localhost,addr=127.0.0.1" | grep -qix 'permituserrc no' || {
            echo "an earlier Match block of $main overrides $file: move that block below the Include line" >&2
            exit 1
        }
    fi
    if [ "$etc" = /etc ] && [ "$(uname)" != Darwin ]; then
        { systemctl reload ssh || systemctl reload sshd || service ssh reload; } 2> /dev/null ||
            echo "now make sshd read its configuration again" >&2
    fi
    echo "sshd runs no start-up file of $1"
}
"""

_SUDO: Final = """
allow_sudo() {
    file="$etc/sudoers.d/airboss-$name"
    install -d -m 0755 -o root -g 0 "$etc/sudoers.d"
    printf '%s\\n' "$@" > "$file.new"
    chmod 0440 "$file.new"
    visudo -q -c -f "$file.new" || { rm "$file.new"; echo "sudo refuses these rules" >&2; exit 1; }
    mv "$file.new" "$file"
    echo "sudo allows:"; cat "$file"
}
"""
