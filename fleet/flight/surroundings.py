"""What stands around an agent's session: its environment, its walls, its limits."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import PurePosixPath

from fleet.agents.endpoints import ENDPOINTS, ways_out
from fleet.agents.logins import login_of
from fleet.config import AgentConfig, MachineConfig, Secrets
from fleet.config.values import PORTS_OF_A_TASK, port_range
from fleet.errors import Misconfigured
from fleet.flight.attachments import inbox_of
from fleet.isolation import Proxy, SessionWalls, Walls
from fleet.model import Session
from fleet.ports import Executor, Launch, LoginFacts, PipeSpec
from fleet.store.core import Store


def room_of(store: Store, session: Session) -> str:
    """The session's directory for what its agent writes outside the workspace, relative to the login's root."""
    named = PurePosixPath(session.workspace).name  # with random bits: a restored store never meets an older room
    return f"sessions/{named or f'{store.instance}-{session.id}'}"


def walls_of_sessions(machine: MachineConfig, facts: LoginFacts) -> bool:
    """Whether sessions have walls on this login of a machine."""
    return machine.session_walls and facts.layered


def port_of(session: Session, machine: MachineConfig) -> dict[str, str]:
    """The ports for servers that the session's agent starts: no other open session of the machine has them.

    Some share them only where more are open than the machine's range has tens.
    """
    ports = port_range(machine.ports)
    slot = session.port_slot or int("".join(filter(str.isdigit, session.task)) or 0)
    first = ports.start + (slot - 1) % (len(ports) // PORTS_OF_A_TASK) * PORTS_OF_A_TASK
    return {"AIRBOSS_PORT": str(first), "AIRBOSS_PORTS": f"{first}-{first + PORTS_OF_A_TASK - 1}"}


@dataclass(frozen=True, slots=True)
class Site:
    """Where an agent runs: what ``fleet.toml`` says of both, the login, what answered there, our store."""

    store: Store
    agent: AgentConfig
    machine: MachineConfig
    executor: Executor
    facts: LoginFacts
    proxy: Proxy | None = None


def process_of(  # noqa: PLR0917 - who runs what, and what it sees
    site: Site,
    session: Session,
    repo: str,
    launch: Launch,
    env: dict[str, str],
    given: tuple[tuple[str, str], ...] = (),
) -> PipeSpec:
    """The process of a session, with walls where its machine can build them and ``fleet.toml`` lets it.

    ``env``: what it has beside what ``launch`` says. ``given``: what setups made, and where it sees it.
    """
    agent, machine, facts, root = site.agent, site.machine, site.facts, site.executor.root
    room, inbox = f"{root}/{room_of(site.store, session)}", f"{root}/{inbox_of(site.store, session)}"
    env = {**port_of(session, machine), **launch.env, **env, **proxy_env(site.proxy, agent.driver)}
    walls: Walls | None = None
    if walls_of_sessions(machine, facts):
        home = env.get("HOME") or facts.home
        login = login_of(agent.driver, env, home, tuple(agent.login))
        vault = f"{root}/login/{agent.driver}" if login.vault_variable else ""
        if vault:
            env = {login.vault_variable: vault, **env}
        walls = Walls(
            room=room,
            read=(*(word for word in launch.argv if word.startswith("/")), *machine.agent_read),
            network=site.proxy is None or site.proxy.egress is None,
            given=given,
            session=SessionWalls(
                root=root,
                workspace=session.workspace,
                clone=f"{root}/repos/{repo}.git",
                layered=(home, *login.directories),
                seen=(inbox,),
                logins=login.files,
                linked=login.linked,
                others=login.others,
                emptied=login.emptied,
                vault=vault,
            ),
        )
    return PipeSpec(
        id=session.pipe,
        nonce=session.nonce,
        argv=launch.argv,
        cwd=session.workspace,
        env=env,
        stdin=True,
        contain=walls is not None,
        walls=walls,
        proxy=site.proxy,
        keep_awake=machine.keep_awake,
        limits=machine.run_limits(*((session.workspace, room) if walls else (session.workspace,))),
    )


def proxy_of(agent: AgentConfig, env: Secrets, name: str) -> Proxy | None:
    """The proxy beside an agent's process, if ``fleet.toml`` wants one. Raises ``Misconfigured`` where its key is
    missing."""
    if not agent.key and agent.egress is None:
        return None
    key = env.get(agent.key) if agent.key else ""
    if agent.key and not key:
        raise Misconfigured(
            attempted="start the agent",
            on=name,
            cause=f".env has no {agent.key}",
            hint=f"Add {agent.key}=… to .env.",
        )
    egress = None if agent.egress is None else tuple(agent.egress)
    token = secrets.token_hex(24)
    if not key:
        return Proxy(token, egress=egress)
    endpoint = ENDPOINTS[agent.driver]
    return Proxy(token, agent.api or endpoint.api, endpoint.header, key, egress)


def proxy_env(proxy: Proxy | None, driver: str) -> dict[str, str]:
    """The environment by which an agent finds its proxy. It has a token there, never the key."""
    env = dict[str, str]()
    if proxy is None:
        return env
    if proxy.key:
        endpoint = ENDPOINTS[driver]
        env |= {**endpoint.env, endpoint.token_variable: proxy.token}
    return env if proxy.egress is None else {**env, **ways_out(proxy.token)}
