"""A session by hand that is adopted: a task begins with its work, and with its conversation as a file.

The conversation is a file of the agent's own form. It is given to read, not resumed: the agent's memory of it is in
another login, under another path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.cards import Card, Tone, line, one_line
from bot.hearing import shared
from bot.outbox.posting import Outbox
from bot.registry import Context
from bot.requesting import request_task
from bot.telling import sounds
from fleet import files
from fleet.config import FleetConfig
from fleet.errors import Refused
from fleet.model import Fork, TaskMode
from fleet.store import hooked
from fleet.store.chat import attachments
from fleet.store.core import Tx
from fleet.store.hooked import Adoption, Hooked
from gates.hooked import HookedSessions
from gates.hooked_work import HookedWork

NAME: Final = "conversation.jsonl"


@dataclass(frozen=True, slots=True)
class Adopter:
    """One for a controller."""

    context: Context
    outbox: Outbox
    sessions: HookedSessions
    work: HookedWork

    async def adopt(self, session: Hooked, tree: str, base: str, pack: Path | None, said: bytes) -> str:
        """The new task's name. Raises ``Refused`` when nobody asked for it, and like a judgement's tree."""
        fork: Callable[[Tx], Fork] | None = None
        if pack is not None:
            fork = await self.work.kept(session, tree, base, pack)
        folder = self.context.home / "files"
        file = folder / f"{session.id}-{NAME}"
        if said:
            await asyncio.to_thread(_write, folder, file, said)
            await shared.keep(self.context.store, str(file))

        def work(tx: Tx) -> str:
            now = hooked.by_number(tx, session.number) or session
            asked = Adoption.from_json(now.adopt)
            if asked is None:
                raise Refused(
                    attempted=f"adopt {session.id}", cause="nobody asked for it, or it is adopted already"
                )
            config = self.context.config()
            made = request_task(
                self.context,
                self.outbox.open(tx),
                repo=session.repo,
                agent=_agent(config, session),
                machine="",
                prompt=_prompt(asked.words, session, had_work=fork is not None, had_words=bool(said)),
                mode=TaskMode.CHANGE,
                requester=asked.by,
                origin=asked.chat,
                forked=fork(tx) if fork is not None else None,
            )
            if said:
                attachments.add(
                    tx, made.id, attachments.REQUEST,
                    name=NAME, path=str(file), media_type="application/jsonl", size=len(said),
                )  # fmt: skip
            self.sessions.adopted(tx, now, made.id)
            return made.id

        return await self.context.store.write(work)

    async def left(self, session: Hooked, why: str) -> None:
        """It is about to end, and could not hand over: whoever asked for it is told where its work is."""

        def work(tx: Tx) -> None:
            asked = Adoption.from_json(session.adopt)
            if asked is not None:
                hooked.change(tx, session, adopt="")
                config = self.context.config()
                card = Card(
                    line(f"{session.id} has ended and was not adopted"),
                    (
                        line(one_line(why, 200)),
                        line("Its work is in ", one_line(session.directory, 120), f" on {session.machine}."),
                        line("Go on there, or start a task: /run"),
                    ),
                    tone=Tone.BAD,
                    mention=asked.by,
                )
                self.outbox.open(tx).post(asked.chat, sounds.addressed(config, card))

        await self.context.store.write(work)


def _write(folder: Path, file: Path, data: bytes) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    files.replace(file, data)


def _agent(config: FleetConfig, session: Hooked) -> str:
    """The repository's agent if it is of the same kind, else the first that is, else the repository's."""
    usual = config.repo(session.repo).agent
    alike = [name for name, agent in sorted(config.agents.items()) if agent.driver == session.agent]
    return usual if usual in alike or not alike else alike[0]


def _prompt(words: str, session: Hooked, *, had_work: bool, had_words: bool) -> str:
    parts = [words, f"This goes on with {session.id}, a session that a person started by hand."]
    if had_work:
        parts.append("Your worktree begins with its work, not committed. It is part of your change.")
    if had_words:
        parts.append(f"Its conversation so far is in the file {NAME} beside this request: read it first.")
    return "\n\n".join(parts)
