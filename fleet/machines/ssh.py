"""The ``Executor`` for a login behind SSH: one pooled connection and one channel for everything.

Uses asyncssh with a pinned host key; the rest is as in the user's SSH configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
from pathlib import Path
from typing import Unpack

import asyncssh

from fleet.config.hostkeys import pinned
from fleet.errors import Misused, NotLetIn, Unavailable, Unreachable
from fleet.files import demand_file
from fleet.machines.away import why_away
from fleet.machines.bootstrap import serve_command
from fleet.machines.channel import ByteStream
from fleet.machines.login import LoginExecutor, LoginSettings
from fleet.machines.login_session import first_line, relay_command

_HOST = re.compile(r"[A-Za-z0-9:\[][A-Za-z0-9:\[\]._%-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")

#: Tried before asyncssh's own choice: the post-quantum default costs four times as much.
_USUAL_PORT = 22
_KEX = "^curve25519-sha256,curve25519-sha256@libssh.org"
#: The same: asyncssh's first choice is three calls of the cipher a packet, these are one.
_CIPHERS = "^aes256-gcm@openssh.com,aes128-gcm@openssh.com"


class SshExecutor(LoginExecutor):
    """One login on one machine reached over SSH.

    ``host_key`` is the machine's public key as ``TYPE BASE64``; any other key is ``NotLetIn``. ``identity`` is
    the path of our private key; empty means the key agent and the usual files. ``~/.ssh/config`` of the
    controller's login applies to the rest: an alias's HostName, its Port unless another is given, ProxyJump,
    Include. ``login_session``: the runner is started in the login session of a Mac. Raises ``Misused`` for names
    that a command line could take for options.
    """

    def __init__(
        self,
        machine: str,
        *,
        host: str,
        user: str,
        host_key: str,
        port: int = 22,
        identity: str = "",
        login_session: bool = False,
        **settings: Unpack[LoginSettings],
    ) -> None:
        super().__init__(machine, **settings)
        for pattern, value, what in ((_HOST, host, "host"), (_USER, user, "user")):
            if not pattern.fullmatch(value):
                raise Misused(attempted="use a machine", on=machine, cause=f"{value!r} is not a valid {what} name")
        try:
            self._key = asyncssh.import_public_key(pinned(host_key) or host_key)
        except (asyncssh.KeyImportError, ValueError) as error:
            raise Misused(
                attempted="use a machine",
                on=machine,
                cause=f"host_key is not a public key: {error}",
                hint="write TYPE BASE64, as in /etc/ssh/ssh_host_ed25519_key.pub on the machine",
            ) from error
        self._host, self._port, self._user = host, port, user
        self._login_session = login_session
        self._identity = str(Path(identity).expanduser()) if identity else ""
        self._connection: asyncssh.SSHClientConnection | None = None

    @property
    def where(self) -> str:
        """The machine and login, for error messages."""
        return f"{self.machine}: {self._user}@{self._host}:{self._port}"

    async def _open(self) -> ByteStream:
        connection = await self.connected()
        argv, first = serve_command(self._python, self._root, self.takes_compiled), b""
        if self._login_session:
            argv, first = relay_command(self._python, self._root), first_line(argv)
        command = shlex.join(argv)
        try:
            process = await connection.create_process(command, encoding=None, request_pty=False)
        except asyncssh.ChannelOpenError as error:
            if connection.is_closed():  # it was cut meanwhile: nobody refused anything
                raise Unreachable(attempted="open a channel", on=self.where, cause=str(error)) from error
            raise Unavailable(
                attempted="open a channel",
                on=self.where,
                cause=str(error),
                hint="check that sshd_config there allows sessions (MaxSessions above 0, no ForceCommand)",
            ) from error
        except asyncssh.Error as error:
            raise Unreachable(attempted="open a channel", on=self.where, cause=str(error)) from error
        stream = _SshStream(process, connection)
        if first:
            with contextlib.suppress(ConnectionError):  # it has ended, and its complaint says why
                await stream.write(first)
        return stream

    async def connected(self) -> asyncssh.SSHClientConnection:
        """The pooled connection; replaced when broken."""
        await self._disconnect()
        interval, misses = self._keepalive
        host = self._host.strip("[]")
        try:
            if self._identity:
                await asyncio.to_thread(demand_file, Path(self._identity))
            self._connection = await asyncssh.connect(
                host,
                () if self._port == _USUAL_PORT else self._port,
                username=self._user,
                known_hosts=([self._key], [], []),
                server_host_key_algs=_host_key_algorithms(self._key),
                client_keys=[self._identity] if self._identity else (),
                agent_path=None if self._identity else (),
                kex_algs=_KEX,
                encryption_algs=self._ciphers(host),
                agent_forwarding=False,
                x509_trusted_certs=None,
                compression_algs=None,
                password_auth=False,
                kbdint_auth=False,
                keepalive_interval=interval,
                keepalive_count_max=misses,
                connect_timeout=self._connect_timeout,
                login_timeout=self._connect_timeout,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise NotLetIn(
                attempted="connect",
                on=self.where,
                cause="its host key is not the pinned one",
                hint="if it was reinstalled, compare the new key on its own screen and pin it with "
                f"`airboss machines add`; if not, the connection may be intercepted. Pinned: {self.fingerprint}",
            ) from error
        except asyncssh.PermissionDenied as error:
            if self._identity and _on_token(self._identity):
                raise NotLetIn(
                    attempted="read the private key",
                    on=self._identity,
                    cause="it is on a security key (FIDO), which only a key agent can ask",
                    hint=self._by_agent,
                ) from error
            raise NotLetIn(
                attempted="log in",
                on=self.where,
                cause=str(error.reason),
                hint=f"put the public half of {self._identity or 'your key'} into that login's authorized_keys",
            ) from error
        except (asyncssh.KeyImportError, FileNotFoundError, IsADirectoryError, PermissionError, Misused) as error:
            why = error.cause if isinstance(error, Misused) else str(error)
            locked = "passphrase" in why.lower()
            raise NotLetIn(
                attempted="read the private key",
                on=self._identity,
                cause="it is encrypted" if locked else why,
                hint=self._by_agent if locked else f"correct `identity` of {self.machine} in fleet.toml",
            ) from error
        except asyncssh.ConfigParseError as error:
            raise NotLetIn(
                attempted="read ~/.ssh/config",
                on=self.where,
                cause=str(error),
                hint="correct it; ssh -G HOST shows what it comes to",
            ) from error
        except asyncssh.KeyExchangeFailed as error:
            raise NotLetIn(
                attempted="connect",
                on=self.where,
                cause=str(error.reason),
                hint="it may offer no host key of the pinned type, or no supported key exchange",
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise Unreachable(
                attempted="connect",
                on=self.where,
                cause=why_away(error),
                hint="check that it is awake and on the network, and that sshd listens on that port",
            ) from error
        return self._connection

    def _ciphers(self, host: str) -> str | tuple[()]:
        """Ours, unless ``~/.ssh/config`` chooses some for this host."""
        file = Path("~/.ssh/config").expanduser()
        if not os.access(file, os.R_OK):
            return _CIPHERS
        plain, chosen = (
            asyncssh.SSHClientConnectionOptions(
                config=config, host=host, username=self._user, client_keys=None, known_hosts=None, agent_path=None
            ).encryption_algs
            for config in (None, [str(file)])
        )
        return _CIPHERS if chosen == plain else ()

    @property
    def _by_agent(self) -> str:
        agent = f"load it into the controller's key agent (ssh-add {self._identity})"
        return f"{agent} and remove `identity` of {self.machine} in fleet.toml"

    @property
    def fingerprint(self) -> str:
        """The pinned host key's fingerprint: ``SHA256:…``."""
        return str(self._key.get_fingerprint())

    async def _complaint(self, stream: ByteStream) -> str:
        assert isinstance(stream, _SshStream)
        return await stream.complaint()

    async def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            with contextlib.suppress(asyncssh.Error, OSError):
                await self._connection.wait_closed()
            self._connection = None

    async def close(self) -> None:
        """Closes the link; what runs on the machine continues."""
        await super().close()
        await self._disconnect()


def _host_key_algorithms(key: asyncssh.SSHKey) -> list[str]:
    """Signature algorithms of the pinned key's type, so that a server with several keys offers that one."""
    return [algorithm.decode() for algorithm in key.sig_algorithms]


def _on_token(path: str) -> bool:
    """Whether the key's file only names a key that a security key holds."""
    try:
        return asyncssh.read_private_key(path).algorithm.startswith(b"sk-")
    except (asyncssh.KeyImportError, OSError):
        return False


class _SshStream:
    """The standard input and output of a process on the far side."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes], connection: asyncssh.SSHClientConnection) -> None:
        self._process, self._connection = process, connection

    async def read(self) -> bytes:
        try:
            return bytes(await self._process.stdout.read(1 << 18))
        except asyncssh.Error as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    async def write(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except asyncssh.Error as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    async def complaint(self) -> str:
        with contextlib.suppress(asyncssh.Error):
            return bytes(await self._process.stderr.read(4096)).decode(errors="replace")
        return ""

    async def close(self) -> None:
        # A frozen far side never confirms that a channel closed; the connection carries nothing else.
        self._connection.abort()
