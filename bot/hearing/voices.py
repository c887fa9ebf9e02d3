"""Transcribes the voice messages that were kept, beside the chats: nobody's ``/stop`` waits for a transcript.

What is to be done is in the store, so a restart goes on with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from bot.cards import Card, line
from bot.hearing import settling
from bot.hearing import voice as voices
from bot.hearing.meaning import background, hear
from bot.hearing.voice import Deed, Voice
from bot.message import Message, Speech
from bot.outbox.posting import Outbox, Posts
from bot.registry import Context, Effect
from bot.speech.transcript import Transcribe
from bot.telling import buttons, documents
from fleet.errors import AirbossError, LeadershipLost, LeaseLost, Refused, StoreUnavailable
from fleet.store.chat import buttons as button_rows
from fleet.store.chat.buttons import Pressable
from fleet.store.core import Tx
from fleet.supervise import OwnedTasks, retry_while_store_is_away
from gates.people import who

log = logging.getLogger(__name__)

_AT_ONCE: Final = 2
_TRIES: Final = 3
_ONE_MESSAGE: Final = 2_400
"""Characters of a transcript that fit one message; a longer one comes as a file, in a message of its own."""

_MEGABYTE: Final = 1 << 20


class Voices:
    """``fetch`` downloads files, by adapter; ``transcribe``: ``None`` where nothing can."""

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        fetch: Mapping[str, Callable[[Message], Awaitable[Message]]],
        transcribe: Transcribe | None,
    ) -> None:
        self._context, self._outbox, self._fetch, self._transcribe = context, outbox, fetch, transcribe
        self._wake = asyncio.Event()
        self._busy: set[str] = set()
        self._tasks = OwnedTasks()
        context.store.when_unsure(self._wake.set)

    @property
    def set_up(self) -> bool:
        """Whether voice messages can be transcribed here."""
        return self._transcribe is not None and self._context.config().speech.set_up

    def take(self, message: Message, task: str) -> Effect:
        """Keeps a voice message, to be transcribed and then shown to its sender. ``task``: the task that it is
        about. Raises ``Refused`` for one that is too long or too large."""
        self._demand_bounds(message.spoken)

        def effect(posts: Posts) -> None:
            kept = voices.keep(posts.tx, message)
            posts.post(message.chat, voices.working_card(kept), key=kept.key, task=task)
            posts.tx.after_commit(self._wake.set)

        return effect

    def pressed(self, kept: Voice, deed: Deed, button: Pressable, act: Effect | None) -> Effect:
        """What a button under a voice message does. ``act``: the effect of its words, if it sends them."""
        sender, chat = kept.message.sender, kept.message.chat

        def effect(posts: Posts) -> None:
            voices.confirmed(posts.tx, kept.id, sender)
            button_rows.use(posts.tx, button.token, str(sender))
            if deed is Deed.AGAIN:
                again = replace(kept, over=False, tries=0)
                voices.put(posts.tx, again)
                posts.repost(chat, voices.working_card(again), key=again.key, soon=True)
                posts.tx.after_commit(self._wake.set)
                return
            voices.drop(posts.tx, kept.id)
            if act is not None:
                act(posts)
            buttons.pressed(posts, button, str(sender))

        return effect

    def _demand_bounds(self, spoken: Sequence[Speech]) -> None:
        speech = self._context.config().speech
        voices.demand_bounds(spoken, seconds=speech.longest_s, size=speech.megabytes * _MEGABYTE)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._wake.clear()
                if len(self._tasks) < _AT_ONCE:
                    for voice in await self._context.store.read(voices.waiting):
                        if voice.id not in self._busy and len(self._tasks) < _AT_ONCE:
                            self._busy.add(voice.id)
                            self._tasks.begin(self._one(voice.id), "transcribe a voice message")
                await self._wake.wait()
        finally:
            await self._tasks.end()
            self._busy.clear()

    async def _one(self, id_: str) -> None:
        clock = self._context.clock
        try:
            voice = await retry_while_store_is_away(lambda: self._context.store.write(partial(_begun, id_)), clock)
            if voice is None:
                return
            outcome = await self._outcome(voice)
            await retry_while_store_is_away(lambda: self._settle(voice, outcome), clock)
        finally:
            self._busy.discard(id_)
            self._wake.set()

    async def _outcome(self, voice: Voice) -> tuple[str, ...] | Exception:
        """The words of each speech, or why there are none."""
        if voice.tries > _TRIES:
            return Refused(
                attempted="transcribe the voice message",
                cause=f"the controller ended {_TRIES} times meanwhile",
                hint="Write it as text.",
            )
        try:
            return await self._texts(voice.message)
        except (StoreUnavailable, LeaseLost, LeadershipLost):
            raise
        except Exception as error:
            if not isinstance(error, AirbossError):
                log.exception("a voice message could not be transcribed")
            return error

    async def _texts(self, message: Message) -> tuple[str, ...]:
        speech = self._context.config().speech
        if self._transcribe is None or not speech.set_up:
            raise voices.unreadable(message)
        texts = []
        for spoken in message.spoken:
            fetched = await self._fetch[message.adapter](replace(message, files=(spoken.file,)))
            file = fetched.files[0]
            path = Path(file.path)
            try:
                self._demand_bounds((replace(spoken, file=file),))
                texts.append(await self._transcribe(speech, path))
            finally:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(path.unlink, missing_ok=True)
        return tuple(texts)

    async def _settle(self, voice: Voice, outcome: tuple[str, ...] | Exception) -> None:
        await self._context.store.write(lambda tx: self._settled(tx, voice.id, outcome))

    def _settled(self, tx: Tx, id_: str, outcome: tuple[str, ...] | Exception) -> None:
        """Writes down what came of it; nothing when it was discarded meanwhile."""
        voice = voices.find(tx, id_)
        if voice is None or not voice.waits:
            return
        posts, chat = self._outbox.open(tx), voice.message.chat
        if isinstance(outcome, Exception):
            voices.put(tx, replace(voice, over=True))
            said = settling.spelled_out(outcome, self._context, chat.adapter)
            card = voices.failed_card(voice, (said.headline, said.detail, said.remedy))
            posts.repost(chat, card, key=voice.key, soon=True)
            return
        voice = replace(voice, texts=outcome)
        voices.put(tx, voice)
        typed = voice.typed()
        known = who(self._context.config(), typed.sender) is not None
        found = background(tx, typed, known=known)
        registry, task = self._context.registry, found.task or found.rest_of
        card = voices.asking_card(voice, hear(typed, found, registry), task, registry)
        shown = voice.shown()
        if len(shown) <= _ONE_MESSAGE:
            posts.repost(chat, card, key=voice.key, soon=True)
            return
        posts.repost(chat, Card(voices.title(voice), (line("Transcribed below."),)), key=voice.key, soon=True)
        path = documents.kept(self._context.home / "files", f"voice-{voice.id}.txt", shown)
        posts.post(chat, replace(card, document=path), task=found.task)


def _begun(id_: str, tx: Tx) -> Voice | None:
    """Counts one more try; ``None`` when there is nothing to do any more."""
    voice = voices.find(tx, id_)
    if voice is None or not voice.waits:
        return None
    voice = replace(voice, tries=voice.tries + 1)
    voices.put(tx, voice)
    return voice
