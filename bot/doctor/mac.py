"""What only a Mac's login session has: the keychain with an agent's login, and code signing. Untested on macOS."""

from __future__ import annotations

from typing import Final

from bot.doctor.findings import Finding, Severity
from fleet.config import FleetConfig
from fleet.exits import Exited
from fleet.machines.vendor_logins import is_given_key
from fleet.ports import Executor

_KEYCHAIN: Final = {"claude": "Claude Code-credentials"}
"""Under which name each driver's agent keeps its login in the keychain."""

_SIGN: Final = """
id=$(security find-identity -v -p codesigning | sed -n 's/^ *[0-9]*) \\([0-9A-F]\\{40\\}\\) .*/\\1/p' | head -n 1)
[ -n "$id" ] || exit 3
file=$(mktemp) || exit 4
trap 'rm -f "$file"' EXIT
cp /usr/bin/true "$file" && codesign --force --sign "$id" "$file" && codesign --verify "$file"
"""
_NO_IDENTITY: Final = 3
_HOW: Final = "set login_session = true, and load deploy/com.airboss.session.plist there"


async def check_mac(config: FleetConfig, name: str, executor: Executor) -> list[Finding]:
    """Whether agents find their login in the keychain there, and whether code can be signed."""
    subject, how = f"machine {name}", _HOW
    if config.machines[name].login_session:
        how = "unlock the keychain at its screen, and allow codesign to use the key"
    kept = {
        agent: service
        for agent, settings in config.agents.items()
        if (service := _KEYCHAIN.get(settings.driver)) and not is_given_key(settings)
    }
    found = [await _login(executor, subject, agent, service, how) for agent, service in kept.items()]
    ran = await executor.run(["/bin/sh", "-c", _SIGN])
    if ran.exit == Exited(0):
        found.append(Finding(Severity.OK, subject, "signs code (untested on macOS)"))
    elif ran.exit == Exited(_NO_IDENTITY):
        what = "has no identity to sign code with (untested on macOS)"
        found.append(Finding(Severity.WARN, subject, what, f"add one in Xcode if tasks sign code; or {how}"))
    else:
        why = ran.err.decode(errors="replace").strip()[-200:] or str(ran.exit)
        found.append(Finding(Severity.BAD, subject, f"cannot sign code (untested on macOS): {why}", how))
    return found


async def _login(executor: Executor, subject: str, agent: str, service: str, how: str) -> Finding:
    ran = await executor.run(["security", "find-generic-password", "-s", service])
    if ran.exit == Exited(0):
        return Finding(Severity.OK, subject, f"{agent} finds its login in the keychain (untested on macOS)")
    what = f"{agent} does not find its login in the keychain (untested on macOS)"
    return Finding(Severity.WARN, subject, what, f"log in there once by hand; or {how}; or give it a `key`")
