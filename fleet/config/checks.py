"""Checks that need two values at once: separation of logins, names that must refer to something."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fleet.agent_events import Act
from fleet.agents.acts import TOOLS, meaning
from fleet.agents.endpoints import ENDPOINTS
from fleet.agents.families import FAMILIES, named
from fleet.config.hostkeys import pinned
from fleet.config.models import FleetConfig, MachineConfig
from fleet.config.reviewers import ReviewerConfig
from fleet.config.speech import SpeechConfig
from fleet.model import Isolation

_SSH_ONLY = ("host", "port", "user", "host_key", "identity")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_OR_UNSAFE = 'or write isolation = "unsafe-same-user" by hand at the top of the file'
_UNUSED = "name logins that nothing else uses: each run or task ends every process of its own"


@dataclass(frozen=True, slots=True)
class Found:
    """A problem at a path of the configuration, not yet linked to a line."""

    path: tuple[str | int, ...]
    what: str
    remedy: str


def check(config: FleetConfig, controller_login: str, agents: Collection[str]) -> Iterator[Found]:
    """Finds everything that is wrong between values. ``agents`` are all names in the file, well-formed or not."""
    for name, machine in config.machines.items():
        yield from _shape(name, machine)
        if config.isolation is Isolation.SEPARATE_LOGINS:
            yield from _separate(name, machine, controller_login)
    if config.isolation is Isolation.SEPARATE_LOGINS:
        yield from _shared_hosts(config)
    yield from _pools(config, controller_login)
    yield from _hooked_logins(config)
    yield from _providers(config, controller_login)
    yield from _ask_words(config)
    yield from _reviewers(config)
    yield from _keys(config)
    yield from _speech(config.speech)
    if config.witnesses_needed > len(config.witnesses):
        many = f"asks for {config.witnesses_needed} witnesses, and this file has {len(config.witnesses)}"
        yield Found(("witnesses_needed",), many, "add [witnesses.NAME], or ask for fewer")
    for name, repo in config.repos.items():
        if repo.agent and repo.agent not in agents:
            known = ", ".join(sorted(agents)) or "none"
            yield Found(
                ("repos", name, "agent"),
                f"names agent {repo.agent!r}, which is not in this file",
                f"add [agents.{repo.agent}] or name one of: {known}",
            )


def _hooked_logins(config: FleetConfig) -> Iterator[Found]:
    """A socket for hooks speaks for a person who is listed."""
    known = {person.name for person in config.people}
    for name, machine in config.machines.items():
        for login, hooked in machine.hooks.items():
            at = ("machines", name, "hooks", login)
            if machine.executor != "ssh":
                yield Found(at, "needs executor = ssh", "here, hooks use the control socket")
            if hooked.person not in known:
                listed = ", ".join(sorted(known)) or "nobody"
                yield Found(
                    (*at, "person"), f"names {hooked.person!r}, who is not in [[people]]", f"known: {listed}"
                )


def _providers(config: FleetConfig, controller: str) -> Iterator[Found]:
    """What each provider of slots needs, and what is for another one."""
    for name, pool in config.pools.items():
        here, slurm = ("pools", name), pool.provider == "slurm"
        for field in ("acquire", "release", "inventory", "identity", "run_as", "options", "home"):
            if field in pool.model_fields_set and slurm is not (field in {"run_as", "options", "home"}):
                other = "command" if slurm else "slurm"
                yield Found((*here, field), f"is for the provider {other!r}", "remove it")
        for field in ("acquire", "release"):
            if not slurm and getattr(pool, field) is None:
                yield Found((*here, field), "is missing", "name a command; docs/pools.md has two providers")
        if slurm and config.isolation is Isolation.SEPARATE_LOGINS and pool.run_as in {"", "root", controller}:
            yield Found(
                (*here, "run_as"),
                "is no login of the agents' own: their code could read what the controller can",
                f"name a login for agents, {_OR_UNSAFE}",
            )


def names_of_slots(config: FleetConfig) -> Iterator[Found]:
    """Machines of the file with a name that a pool, or a slot of it, has or will have."""
    for pool in config.pools:
        for machine in config.machines:
            if machine == pool or re.fullmatch(rf"{re.escape(pool)}-[0-9]+", machine):
                what = f"could be a slot of pool {pool}, or the pool"
                yield Found(("machines", machine), what, "give the machine or the pool another name")


def _keys(config: FleetConfig) -> Iterator[Found]:
    """A key that a proxy adds must stay out of the agent's reach, and go where it belongs."""
    for name, agent in config.agents.items():
        path = ("agents", name)
        if agent.key and agent.driver not in ENDPOINTS:
            known = ", ".join(sorted(ENDPOINTS))
            remedy = f"put {agent.key} into `env`, or use one of these drivers: {known}"
            yield Found((*path, "key"), f"cannot be used with driver {agent.driver!r}", remedy)
        if agent.key and agent.key in agent.env:
            remedy = f"remove {agent.key} from `env`"
            yield Found((*path, "env"), f"gives the agent {agent.key}, which `key` keeps from it", remedy)
        if agent.api and not agent.key:
            yield Found((*path, "api"), "is where `key` goes, and there is no `key`", "add `key`, or remove `api`")
        if _readable_on_the_way(agent.api):
            yield Found((*path, "api"), "would send the key over the network unencrypted", "use https")


def _ask_words(config: FleetConfig) -> Iterator[Found]:
    """A rule that names nothing would never ask."""
    drivers = sorted({agent.driver for agent in config.agents.values()})
    tools = sorted({tool for driver in drivers for tool in TOOLS[driver]})
    for name, agent in config.agents.items():
        for index, word in enumerate(agent.ask):
            if meaning(word, drivers) is None:
                known = ", ".join(map(str, Act)) + (f"; or a tool: {', '.join(tools)}" if tools else "")
                yield Found(
                    ("agents", name, "ask", index),
                    f"is neither a kind of act nor a tool of an agent in this file ({word!r})",
                    f"write one of: {known}",
                )


def _reviewers(config: FleetConfig) -> Iterator[Found]:
    """A reviewer whose family nobody knows, or whose key a network could read, could never be used."""
    for name, reviewer in config.reviewers.items():
        here = ("reviewers", name)
        if len(named(reviewer.model)) != 1:
            yield Found(
                (*here, "model"),
                f"belongs to no single known family ({reviewer.model!r})",
                f"name a model of one of: {', '.join(FAMILIES)}",
            )
        if bool(reviewer.url) == bool(reviewer.agent):
            yield Found((*here, "url"), "and `agent`: exactly one of them is needed", "keep or add one")
        yield from _by_agent(config, reviewer, here)
        if reviewer.key and reviewer.url and _readable_on_the_way(reviewer.url):
            yield Found((*here, "url"), "would send the key in clear text", "use https, or remove `key`")


def _by_agent(config: FleetConfig, reviewer: ReviewerConfig, here: tuple[str, str]) -> Iterator[Found]:
    """A reviewer that is an agent: which one, and where."""
    for field, known in (("agent", config.agents), ("machine", config.machines)):
        named_ = getattr(reviewer, field)
        if named_ and named_ not in known:
            yield Found((*here, field), f"is not in this file ({named_!r})", f"write one of: {', '.join(known)}")
    if bool(reviewer.agent) != bool(reviewer.machine):
        what = "belongs to `agent`: both or none are needed"
        yield Found((*here, "machine"), what, "add one, or remove the other")
    for field in ("key", "digest"):
        if reviewer.agent and getattr(reviewer, field):
            yield Found((*here, field), "is for an endpoint", "remove it: an agent has its own login")


def _speech(speech: SpeechConfig) -> Iterator[Found]:
    """One way to write voice messages down, with what belongs to it; a key that no network can read."""
    if speech.command is not None and speech.url:
        yield Found(("speech", "url"), "is given, and a command too", "keep one of them")
    if speech.url and not speech.model:
        yield Found(("speech", "model"), "is missing", 'name the model to ask for, for example "whisper-1"')
    for field in ("model", "key", "language"):
        if getattr(speech, field) and not speech.url:
            yield Found(("speech", field), "is for an endpoint, and there is no `url`", "add `url`, or remove it")
    if speech.key and _readable_on_the_way(speech.url):
        yield Found(("speech", "url"), "would send the key in clear text", "use https, or remove `key`")


def _readable_on_the_way(url: str) -> bool:
    """Whether a network could read what is sent there."""
    address = urlsplit(url)
    return address.scheme == "http" and address.hostname not in _LOOPBACK


def _shape(name: str, machine: MachineConfig) -> Iterator[Found]:
    here = ("machines", name)
    if machine.executor == "local":
        for field in _SSH_ONLY:
            if field in machine.model_fields_set:
                yield Found((*here, field), "is for ssh machines only", 'remove it, or write executor = "ssh"')
        return
    if machine.run_as:
        yield Found((*here, "run_as"), "is for local machines only", "name the agents' login in `user`")
    for field, example in (("host", "the machine's name or address"), ("user", "the login of agents there")):
        if not getattr(machine, field):
            yield Found((*here, field), "is missing on an ssh machine", f"give {example}")
    if not machine.host_key:
        target = f"{next(iter(machine.user), 'USER')}@{machine.host or 'HOST'}"
        port = f" --port {machine.port}" if machine.port != 22 else ""
        yield Found(
            (*here, "host_key"),
            "is missing: without a pinned key, anyone on the network could impersonate this machine",
            f"pin it with: airboss machines add {name} {target}{port}",
        )
    elif not pinned(machine.host_key):
        yield Found(
            (*here, "host_key"),
            "is not an OpenSSH public key",
            'write "TYPE BASE64", as in /etc/ssh/ssh_host_ed25519_key.pub on the machine, or a line of ssh-keyscan',
        )


def _separate(name: str, machine: MachineConfig, controller: str) -> Iterator[Found]:
    here = ("machines", name)
    local = machine.executor == "local"
    agents_field = "run_as" if local else "user"
    agents, gates = tuple(filter(None, machine.agent_logins)), machine.gate_as
    shares_host = local or machine.host in _LOOPBACK
    if local and not agents:
        yield Found(
            (*here, "run_as"),
            "is missing: agents would run as the controller and could read its keys",
            f"create a login for agents and name it here (and another in gate_as), {_OR_UNSAFE}",
        )
    for_gates = [*(("gate_as", gate) for gate in gates), ("supervise_as", machine.supervise_as)]
    named = [*((agents_field, login) for login in agents), *for_gates]
    for field, login in named:
        if login and login == "root":
            yield Found(
                (*here, field), "is root, which can become any login", f"name a login of its own, {_OR_UNSAFE}"
            )
        elif login and shares_host and login == controller:
            yield Found(
                (*here, field),
                f"is the controller's own login ({controller})",
                f"name another login here, {_OR_UNSAFE}",
            )
    for field, login in for_gates:
        if login and login in agents:
            yield Found(
                (*here, field),
                f"is also the agents' login ({login}): an agent could change the gates that judge it",
                f"name another login for gates, {_OR_UNSAFE}",
            )
    if not gates and "gates" in machine.model_fields_set and machine.gates:
        yield Found(
            (*here, "gates"),
            "is true, but there is no login for gates",
            f"set gate_as to a login other than the agents', {_OR_UNSAFE}",
        )


def _pools(config: FleetConfig, controller: str) -> Iterator[Found]:
    """A run ends every process of its own login: nothing else may use it."""
    uses: dict[tuple[str, str], int] = {}
    for machine in config.machines.values():
        for login in (*machine.gate_as, machine.supervise_as, *machine.agent_logins):
            uses[_host(machine), login] = uses.get((_host(machine), login), 0) + 1
    for name, machine in config.machines.items():
        field = "user" if machine.executor == "ssh" else "run_as"
        pooled = [("gate_as", login) for login in machine.gate_as if machine.has_gate_pool]
        pooled += [(field, login) for login in machine.agent_logins if machine.has_agent_pool]
        for where, login in dict.fromkeys(pooled):
            if login == "root" or (login == controller and not _host(machine)):
                what = f"lists {login}, which is used for other things"
            elif uses[_host(machine), login] > 1:
                what = f"lists {login}, which has another use on the same host"
            else:
                continue
            yield Found(("machines", name, where), what, _UNUSED)


def _shared_hosts(config: FleetConfig) -> Iterator[Found]:
    """Entries for one host must not overlap: the gates' login of one must not be the agents' login of another."""
    agents: dict[tuple[str, str], str] = {}
    for name, machine in config.machines.items():
        for login in filter(None, machine.agent_logins):
            agents.setdefault((_host(machine), login), name)
    for name, machine in config.machines.items():
        for gate in machine.gate_as:
            other = agents.get((_host(machine), gate))
            if other is not None and other != name and gate not in machine.agent_logins:
                yield Found(
                    ("machines", name, "gate_as"),
                    f"is the agents' login of {other}, on the same host ({gate})",
                    f"name a login that no agent uses, {_OR_UNSAFE}",
                )


def _host(machine: MachineConfig) -> str:
    return "" if machine.executor == "local" or machine.host in _LOOPBACK else machine.host.lower()


def duplicate_ids(people: Any) -> Iterator[Found]:
    """Ids that occur twice in the raw ``people`` list, however wrong its other values are."""
    seen: dict[str, str] = {}
    for index, person in enumerate(people if isinstance(people, list) else []):
        ids = person.get("ids") if isinstance(person, dict) else None
        for number, id_ in enumerate(ids if isinstance(ids, list) else []):
            if not isinstance(id_, str):
                continue
            if id_ in seen:
                yield Found(
                    ("people", index, "ids", number),
                    f"is listed twice ({id_}: {seen[id_]} and {person.get('name')})",
                    "an id belongs to one person: remove one of them",
                )
            seen.setdefault(id_, str(person.get("name")))
