"""Transcribes with the operator's own command. It sees the audio and nothing else of ours."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleet import processes
from fleet.errors import Misused, Refused, Unavailable
from fleet.files import Sink, scratch
from fleet.supervise import alongside
from fleet.untrusted import Untrusted

OUTPUT_LIMIT: Final = 256 << 10
_AUDIO: Final = "{audio}"
_SHOWN: Final = 160
_LOOK_SECONDS: Final = 0.2
_KEPT: Final = ("HOME", "PATH", "TMPDIR", "LANG", "XDG_CACHE_HOME")
"""The environment that it gets. The controller's own may hold secrets."""


async def by_command(command: Sequence[str], audio: Path) -> str:
    """What the command prints for this file. Its processes are ended, also when this is cancelled.

    Raises ``Misused`` when it cannot be started, ``Unavailable`` when it fails, ``Refused`` when it prints too
    much.
    """
    given = any(_AUDIO in word for word in command)
    argv = [word.replace(_AUDIO, str(audio)) for word in command]
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Files, not pipes: whatever it leaves behind may hold a pipe open for as long as it likes.
    with (
        scratch(audio.parent, ".words-") as words,
        scratch(audio.parent, ".said-") as messages,
        audio.open("rb") as sound,
        Sink(words) as out,
        Sink(messages) as said,
    ):
        try:
            process = await processes.start(
                *argv,
                stdin=asyncio.subprocess.DEVNULL if given else sound,
                stdout=out.fileno(),
                stderr=said.fileno(),
                env=env,
                cwd="/",
            )
        except OSError as error:
            raise Misused(
                attempted="transcribe the voice message",
                on=argv[0],
                cause=f"the command of [speech] cannot be started: {error.strerror}",
                hint="An admin can correct it in fleet.toml.",
            ) from error
        try:
            async with alongside(_watch(process, words, messages), "what a transcriber prints"):
                status = await process.wait()
        finally:
            await processes.end(process)
        printed, last = _start_of(words), _last_line(messages)
    if len(printed) > OUTPUT_LIMIT:
        raise Refused(
            attempted="transcribe the voice message",
            on=argv[0],
            cause="the command of [speech] printed too much",
            hint="It must print the words and nothing else.",
        )
    if status:
        raise Unavailable(
            attempted="transcribe the voice message",
            on=argv[0],
            cause=f"it ended with status {status}{f': {last}' if last else ''}",
            hint="Try again; if it fails again, an admin can look at [speech] in fleet.toml.",
        )
    return printed.decode("utf-8", "replace")


async def _watch(process: asyncio.subprocess.Process, *printed: Path) -> None:
    """Ends the process when it prints without end."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if any(path.stat().st_size > OUTPUT_LIMIT for path in printed):
            return processes.kill(process)


def _start_of(path: Path) -> bytes:
    """What was printed; one byte more than the limit at most."""
    with path.open("rb") as file:
        return file.read(OUTPUT_LIMIT + 1)


def _last_line(path: Path) -> str:
    lines = _start_of(path).decode("utf-8", "replace").strip().splitlines()
    return Untrusted(lines[-1]).one_line(_SHOWN) if lines else ""
