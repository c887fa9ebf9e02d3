"""Handles messages: each is committed, then handled in the order of its chat; its effect and answer are one commit.

Nothing here depends on a platform. An update that was received before is not handled twice; one that was received
but not handled when the controller died is handled after the restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from bot.cards import Card, line
from bot.hearing import drafts, edits, meaning, settling, voice
from bot.hearing.acts import as_one
from bot.hearing.given import Given
from bot.hearing.lanes import Lane, WaitingMessage
from bot.hearing.meaning import Background, Doubt, DraftWords, Heard, background, doubting, hear, unmeant
from bot.hearing.rates import PerPerson, RateLimit, unlimited
from bot.hearing.voices import Voices
from bot.message import Message
from bot.outbox.posting import Outbox, Posts
from bot.parse import Ignore, Spoken, asks_for_help, parse
from bot.registry import Call, Context, Effect, Result, demand_right
from bot.speech.transcript import Transcribe
from bot.telling import buttons
from fleet.errors import (
    AirbossError,
    LeadershipLost,
    LeaseLost,
    Malformed,
    Refused,
    StoreUnavailable,
    Unavailable,
)
from fleet.faults import Point, fault
from fleet.store.chat import buttons as button_rows
from fleet.store.chat import inbox, moves, private
from fleet.store.core import Tx
from fleet.supervise import Supervisor
from gates.people import Person, Right, who

log = logging.getLogger(__name__)

Fetch = Callable[[Message], Awaitable[Message]]
"""Downloads the files of a message to the controller's disk; raises an ``AirbossError`` if one is unavailable."""


class _TooOften(Exception):
    """Somebody keeps sending although they were told to wait."""


class ChatCore:
    """Receives messages from every adapter and runs the commands in them.

    ``rate`` limits people we know, ``strangers`` the others; whoever sends too much is told once a minute.
    ``transcribe`` turns voice messages into text.
    """

    def __init__(
        self,
        context: Context,
        outbox: Outbox,
        supervisor: Supervisor,
        *,
        rate: RateLimit = unlimited,
        strangers: RateLimit = unlimited,
        transcribe: Transcribe | None = None,
    ) -> None:
        self.context, self.outbox, self._supervisor = context, outbox, supervisor
        self._rate, self._strangers = rate, strangers
        self._refusals = PerPerson(limit=1)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._results: dict[int, asyncio.Future[Result]] = {}
        self._closing = False
        self._fetch: dict[str, Fetch] = {}
        context.store.when_unsure(partial(supervisor.run, "missed messages", self.start, ends=True))
        self.voices = Voices(context, outbox, self._fetch, transcribe)

    def fetches(self, adapter: str, fetch: Fetch) -> None:
        """``fetch`` downloads the files of this adapter's messages, once they are committed and permitted."""
        self._fetch[adapter] = fetch

    async def start(self) -> None:
        """Handles what is committed and waits nowhere: an earlier process received it, or the answer to its commit
        was lost."""
        for row in await self.context.store.read(inbox.pending):
            self._enqueue(row, recovered=True)

    async def close(self) -> None:
        """Stops handling. A message whose effect is not committed is handled after the next start."""
        self._closing = True
        for worker in [lane.worker for lane in self._lanes.values() if lane.worker is not None]:
            await worker.end()
        for result in self._results.values():
            result.cancel()

    async def receive(self, message: Message) -> bool:
        """Commits the message; only then may the adapter acknowledge it. False: it was received before."""
        return await self._receive(message) is not None

    async def call(self, message: Message) -> Result:
        """Receives the message and waits until its effect is committed. One that was received before is not
        handled again: the answer is what it came to, or comes to."""
        row = await self._receive(message, wait=True)
        if row is not None:
            return await asyncio.shield(self._result(row.id))
        known = await self.result_of(message.adapter, message.chat.chat, message.update_id)
        return known or Result(repeated=True)

    async def result_of(self, adapter: str, chat: str, update_id: str) -> Result | None:
        """What an earlier message of this key came to, once that is committed; ``None``: there was none."""
        while not self._closing:
            known = await self.context.store.read(lambda tx: inbox.known(tx, adapter, update_id))
            if known is None:
                return None
            if not known.pending:
                return Result.again(known.outcome)
            if any(waiting.row.id == known.id for waiting in self._lane(adapter, chat).waiting):
                return replace(await asyncio.shield(self._result(known.id)), repeated=True)
            # Neither handled when we read, nor waiting now: it was handled, or comes in, in between.
        raise Unavailable(attempted="answer the message", cause="the controller is stopping")

    def _result(self, number: int) -> asyncio.Future[Result]:
        """The result of this row's message, as one future for everyone who waits for it."""
        if number not in self._results:
            future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda _: self._results.pop(number, None))
            self._results[number] = future
        return self._results[number]

    async def _receive(self, message: Message, *, wait: bool = False) -> inbox.Received | None:
        payload, adapter, update = message.to_bytes(), message.adapter, message.update_id
        lane = self._lane(adapter, message.chat.chat)
        alone = not lane.waiting and not lane.coming

        def work(tx: Tx) -> tuple[int | None, Background | None]:
            kept = inbox.receive(tx, adapter, update, payload)
            if message.private and who(self.context.config(), message.sender) is not None:
                private.remember(tx, message.chat, str(message.sender))
            # If nothing waits before it in its chat, its background can be looked up in the same transaction.
            return kept, self._background(tx, message) if kept is not None and alone else None

        lane.coming += 1
        try:
            number, found = await self.context.store.write(work)
        except Exception:
            lane.missed.add(update)
            raise
        finally:
            lane.coming -= 1
            lane.came.set()
        lane.missed.discard(update)
        if number is None:
            return None
        row = inbox.Received(number, adapter, update, payload)
        if wait:
            self._result(number)
        self._enqueue(row, message, found)
        return row

    def _lane(self, adapter: str, chat: str) -> Lane:
        return self._lanes.setdefault((adapter, chat), Lane())

    def _enqueue(
        self,
        row: inbox.Received,
        message: Message | None = None,
        found: Background | None = None,
        *,
        recovered: bool = False,
    ) -> None:
        if self._closing:
            return
        if message is None:
            with contextlib.suppress(Malformed):
                message = Message.from_bytes(row.payload)
        chat = message.chat.chat if message else ""
        lane = self._lane(row.adapter, chat)
        lane.came_in(WaitingMessage(row, message, found, recovered, asyncio.get_running_loop().time()))
        if lane.worker is None or lane.worker.done:
            name = f"chat {row.adapter} {chat}".strip()
            lane.worker = self._supervisor.run(name, partial(self._work, lane), ends=True)

    async def _work(self, lane: Lane) -> None:
        """Until nothing waits. When the store is unavailable, the supervisor starts it again with the same
        message."""
        while lane.waiting:
            result = await self._settled(lane.acting) if lane.acting else None
            if result is None:
                lane.acting = await lane.next_act(self.context.registry)
                result = await self._handle(lane.acting)
            together, lane.acting = lane.acting, []
            for handled in together:
                lane.waiting.remove(handled)
                future = self._results.get(handled.row.id)
                if future is not None and not future.done():
                    future.set_result(result)

    async def _settled(self, together: list[WaitingMessage]) -> Result | None:
        """What the act came to, if it was done and only its result was lost."""
        first = together[0].row
        known = await self.context.store.read(lambda tx: inbox.known(tx, first.adapter, first.update_id))
        return Result.again(known.outcome) if known is not None and not known.pending else None

    # --- one message ------------------------------------------------------------------------------------

    async def _handle(self, together: list[WaitingMessage]) -> Result:
        """The result is always written into the inbox rows. Raises only when nothing can be written now."""
        rows, store = [waiting.row for waiting in together], self.context.store
        messages = [waiting.message for waiting in together if waiting.message is not None]
        if not messages:
            return await store.write(lambda tx: settling.unreadable(tx, rows))
        message = as_one(messages)
        found = together[0].background if len(together) == 1 else None
        given = Given(message, self.context.control.ledger_grows())
        try:
            effect = await self._prepare(given, found)
            if isinstance(effect, str):
                return await store.write(partial(settling.ignored, rows=rows, why=effect))
            command = self.context.registry.get(given.verb)
            carried_out = partial(
                settling.carried_out, effect=effect, rows=rows, parts=messages, given=given, command=command
            )
            return await store.write(lambda tx: carried_out(self.outbox.open(tx)))
        except _TooOften:
            return await store.write(lambda tx: settling.too_often(tx, rows))
        except (StoreUnavailable, LeaseLost, LeadershipLost):
            raise
        except Exception as error:
            explanation = settling.spelled_out(error, self.context, message.adapter)
            if not isinstance(error, AirbossError):
                log.exception("a command failed")
            explained = partial(
                settling.explained, rows=rows, chat=message.chat, given=given, said=explanation, error=error
            )
            return await store.write(lambda tx: explained(self.outbox.open(tx)))

    def _background(self, tx: Tx, message: Message) -> Background:
        return background(tx, message, known=who(self.context.config(), message.sender) is not None)

    async def _prepare(self, given: Given, found: Background | None) -> Effect | str:
        """What a message does, or why nothing is done."""
        message = given.message
        if message.moved_to:
            return lambda posts: moves.moved(posts.tx, message.adapter, message.chat.chat, message.moved_to)
        registry, person = self.context.registry, settling.sender_of(self.context.config(), message)
        if found is None:
            found = await self.context.store.read(lambda tx: self._background(tx, message))
        lost = message.unreadable and not message.spoken
        said = None if message.pressed or lost else hear(voice.guessed(message), found, registry)
        if isinstance(said, Ignore):
            return said.why
        if message.edited and (ignored := edits.ignored(message, found.before, registry)):
            return ignored
        if person is None:
            return settling.to_stranger(message, self._strangers)
        if meaning.idle_nod(message, said, person):
            return "a nod of somebody who has no say"
        given.heard = not message.spoken and not message.edited
        if message.pressed:
            return await self._pressed(given, person, found)
        if not self._urgent(said) and not self._rate(message.sender):
            if not self._refusals(message.sender):
                raise _TooOften
            raise Refused(
                attempted="handle this message", cause="you sent too many in a short time", hint="Wait a minute."
            )
        if message.edited:
            return await self._edited(given, person, said, found)
        if message.spoken and self.voices.set_up:
            return self.voices.take(message, found.task)
        if message.spoken and (message.unreadable or not message.text):
            raise voice.unreadable(message)
        return await self._meant(given, person, said, found)

    async def _meant(self, given: Given, person: Person, said: Heard | None, found: Background) -> Effect:
        """What the words of a message do."""
        registry, message = self.context.registry, given.message
        match said:
            case Doubt():
                return settling.posting(message, doubting(said, partial(registry.write, message.adapter)))
            case DraftWords(draft, text):
                command = Spoken(draft.verb, draft.arguments(text))
                return await self._spoken(given, person, command, found, draft.files)
            case Spoken():
                return await self._spoken(given, person, said, found)
        raise unmeant(message, registry)

    def _urgent(self, said: object) -> bool:
        command = self.context.registry.get(said.verb) if isinstance(said, Spoken) else None
        return command is not None and command.urgent

    async def _pressed(self, given: Given, person: Person, found: Background) -> Effect:
        """A button: not limited, and it discards a draft only if it starts a task or asks for one."""
        message = given.message
        token, chat, sender = message.pressed, message.chat, str(message.sender)
        button = await self.context.store.read(
            lambda tx: button_rows.look(tx, token, chat, sender, message.reply_to, private=message.private)
        )
        said = parse(button.command, self.context.registry.names)
        if not isinstance(said, Spoken):
            raise ValueError(f"a button without a command: {button.command!r}")
        if said.verb == voice.VERB:
            return await self._confirmed(given, person, button, *said.args.split())
        effect = await self._call(given, person, said, found.task, digest=button.digest, put=button.put)

        def pressed(posts: Posts) -> None:
            button_rows.use(posts.tx, button.token, sender)
            if given.verb in drafts.VERBS:
                drafts.drop(posts.tx, chat, message.sender)
            effect(posts)
            buttons.pressed(posts, button, sender)

        return pressed

    async def _confirmed(
        self, given: Given, person: Person, button: button_rows.Pressable, deed: str, id_: str
    ) -> Effect:
        """A button under a voice message. Sent, it is handled as if its sender had typed it now."""
        chosen, sender = voice.Deed(deed), given.message.sender
        kept = await self.context.store.read(lambda tx: voice.confirmed(tx, id_, sender))
        act: Effect | None = None
        if chosen in (voice.Deed.SEND, voice.Deed.RUN, voice.Deed.ASK):
            given.message = typed = kept.typed(chosen)
            found = await self.context.store.read(lambda tx: self._background(tx, typed))
            act = await self._meant(given, person, hear(typed, found, self.context.registry), found)
        else:
            given.heard = False  # the draft of a voice message is edited or thrown away
        return self.voices.pressed(kept, chosen, button, act)

    async def _spoken(
        self, given: Given, person: Person, said: Spoken, found: Background, digest: str = ""
    ) -> Effect:
        """A typed command: it discards a draft, and says so, unless it only shows something."""
        message, registry = given.message, self.context.registry
        command = registry.get(said.verb)
        meaning.demand_one(said, registry, registry.write(message.adapter, said.verb))
        draft = found.draft_for(message)
        effect = await self._call(given, person, said, found.task, digest=digest)
        if draft is None or command is None or command.right is Right.SEE:
            return effect
        verb = registry.write(message.adapter, draft.verb)

        def instead(posts: Posts) -> None:
            drafts.drop(posts.tx, message.chat, message.sender)
            effect(posts)
            if given.verb not in drafts.VERBS:
                posts.post(message.chat, Card(line(f"Your {verb} draft was discarded.")))

        return instead

    async def _edited(self, given: Given, person: Person, said: Heard | None, found: Background) -> Effect:
        """An edited message: its task, if it has not started, is replaced by the task that it asks for now."""
        before = edits.demand_known(found.before)
        if not before.task:
            given.heard = True
            effect = await self._meant(given, person, said, found)
            return edits.anew(given.message, effect)
        if isinstance(said, Spoken) and found.unstarted and before.whole and said.verb in edits.REPLACE:
            given.heard = True
            effect = await self._spoken(given, person, said, found)
            return edits.replacing(given.message, effect, before, self.context.control)
        return edits.told(given.message, before, self.context.registry)

    async def _call(
        self, given: Given, person: Person, said: Spoken, task: str, *, digest: str, put: int = 0
    ) -> Effect:
        message, registry = given.message, self.context.registry
        command = registry.demand(said.verb)
        if not message.pressed and asks_for_help(said.args, words=command.verb == "say"):
            said, command = Spoken("help", command.verb), registry.demand("help")
        given.verb = command.verb
        if not command.checks_right:
            demand_right(person, command.right, registry.write(message.adapter, command.verb))
        await self.context.control.demand(command.right, f"do /{command.verb}")
        if command.takes_words and any(file.source for file in message.files):
            fault(Point.CHAT_CALL)
            message = await self._fetch[message.adapter](message)
        call = Call(message, person, command.verb, said.args, task=task, digest=digest, put=put)
        return await command.handler(self.context, call)
