"""Sends and edits a card: in the strongest form that Slack takes, then its files."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.chats.slack import files as slack_files
from bot.chats.slack.calls import paced
from bot.chats.slack.errors import GONE, Rejected, WrongToken
from bot.chats.slack.ladder import LONGEST, Offered, Target, instead_of, weaker
from bot.chats.slack.pace import RateLimiter
from bot.chats.slack.render import Drawn
from bot.outbox.port import ChatMoved, Outgoing
from fleet.errors import Misused, Unavailable
from fleet.store.chat.moves import ELSEWHERE

_log = logging.getLogger(__name__)

_PEOPLE: Final = ("U", "W")  # how the ids of people start
_FILE_TRIES: Final = 5
"""So often a file is tried while Slack answers with errors of its own; then the words are sent without it."""


@dataclass(slots=True)
class _Unfinished:
    """A card whose message is sent and whose files are not: the message's id, where it is, the words that go into a
    file, how many files are done, and how often the next one was tried. ``upload``: Slack's id of the next one,
    once Slack was asked to show it."""

    ts: str
    place: Target
    arrived: str
    whole: str
    files: int = 0
    tries: int = 0
    upload: str = ""


@dataclass(slots=True)
class SlackPost:
    """Raises what ``errors.raised_by`` says, and ``RetryAfter`` when our own budget is spent. ``closed`` is called
    with a channel that takes nothing."""

    web: Callable[[], AsyncWebClient]
    posts: RateLimiter
    edits: RateLimiter
    closed: Callable[[str], Awaitable[None]]
    _halves: dict[int, _Unfinished] = field(default_factory=dict)

    def has_begun(self, outgoing: Outgoing) -> bool:
        """Whether its words are shown, and not all of its files."""
        return outgoing.id in self._halves

    async def carry(self, outgoing: Outgoing, *, user: str) -> str:
        """Sends or edits, and returns the id of the message in our store. ``user`` is mentioned."""
        if outgoing.edits and outgoing.id not in self._halves and await self._edited(outgoing):
            return outgoing.edits
        return await self._sent(outgoing, user)

    # --- edits --------------------------------------------------------------------------------------------

    async def _edited(self, outgoing: Outgoing) -> bool:
        """Whether the message still exists and shows the card, or as much of it as Slack takes."""
        place, ts = outgoing.chat.chat, outgoing.edits
        attempt = Offered(Target(place), outgoing.card, again=outgoing.again, edit=True)
        for _ in range(LONGEST):
            now = attempt.drawn()
            try:
                await paced(self.edits, "chat.update", "", lambda now=now: self._update(place, ts, now))  # type: ignore[misc] # a lambda's default has no type
            except Rejected as error:
                other = None if error.code in GONE else weaker(attempt, error.code)
                if other is None:
                    return False  # it is sent anew, with all its words and a ladder of its own
                _log.warning("Slack refuses an edit (%s): showing another form", error.code)
                attempt = other
            else:
                return True
        return False

    async def _update(self, place: str, ts: str, now: Drawn) -> Any:
        return await self.web().chat_update(channel=place, ts=ts, text=now.text, blocks=now.blocks, parse="none")

    # --- new messages -------------------------------------------------------------------------------------

    async def _sent(self, outgoing: Outgoing, user: str) -> str:
        """The message, then its files. A retry after the message was sent continues with the files."""
        half = self._halves.get(outgoing.id)
        if half is None:
            place = Target(outgoing.chat.chat, outgoing.chat.thread or outgoing.root)
            broadcast = bool(outgoing.ping and place.thread)
            offered = Offered(place, outgoing.card, user=user, again=outgoing.again, broadcast=broadcast)
            half = await self._climb(offered)
            self._halves[outgoing.id] = half
        await self._files(outgoing, half)
        del self._halves[outgoing.id]
        if half.place.elsewhere:
            return ELSEWHERE
        if half.arrived != half.place.channel:
            raise ChatMoved(half.arrived, half.ts)
        return half.ts

    async def _climb(self, attempt: Offered) -> _Unfinished:
        """Sends it, in the strongest form that Slack takes. Raises ``Rejected`` when it takes none."""
        for _ in range(LONGEST):
            place, now = attempt.place, attempt.drawn()
            try:
                answer = await self._message(place, now, broadcast=attempt.broadcast)
            except Rejected as error:
                other = weaker(attempt, error.code)
                if other is None:
                    raise
                _log.warning("Slack refuses a message (%s): sending it in another form", error.code)
                if other.place != place:
                    await self.closed(place.channel)
                attempt = other
            else:
                private = place.channel.startswith(_PEOPLE)  # Slack then names the private chat that it came to
                arrived = str(answer.get("channel", "")) if private else ""
                return _Unfinished(str(answer.get("ts", "")), place, arrived or place.channel, now.whole)
        raise Rejected("no_form_is_accepted")

    async def _message(self, place: Target, now: Drawn, *, broadcast: bool = False) -> Mapping[str, Any]:
        return await paced(
            self.posts,
            "chat.postMessage",
            place.channel,
            lambda: self.web().chat_postMessage(
                channel=place.channel,
                text=now.text,
                blocks=now.blocks,
                thread_ts=place.thread or None,
                reply_broadcast=True if broadcast else None,
                parse="none",
                link_names=False,
                unfurl_links=False,
                unfurl_media=False,
            ),
        )

    # --- files --------------------------------------------------------------------------------------------

    async def _files(self, outgoing: Outgoing, half: _Unfinished) -> None:
        sends: list[tuple[str, str | bytes]] = []
        if half.whole:
            sends.append((f"{outgoing.task or 'airboss'}.txt", half.whole))
        for path in (outgoing.card.picture, outgoing.card.document):
            if path and not outgoing.edits:  # the message that an edit replaces had them
                sends.append((Path(path).name, await asyncio.to_thread(slack_files.content, Path(path))))
        for name, content in sends[half.files :]:
            await self._file(half, name, content)
            half.files, half.tries, half.upload = half.files + 1, 0, ""

    async def _file(self, half: _Unfinished, name: str, content: str | bytes) -> None:
        """A file that Slack refuses is named, and its words are sent as text if no message has them."""
        place = Target(half.arrived, half.place.thread)
        try:
            await paced(
                self.posts,
                "files.completeUploadExternal",
                place.channel,
                lambda: self._upload(half, place, name, content.encode() if isinstance(content, str) else content),
            )
        except Rejected as error:
            why = error.code
        except WrongToken:
            raise
        except Misused as error:
            why = error.cause
        except Unavailable as error:
            half.tries += 1
            if half.tries < _FILE_TRIES:
                raise
            why = error.cause
        else:
            return
        try:
            for text in instead_of(name, half.whole if content is half.whole else "", why):
                await self._message(place, Drawn([], text))
        except Rejected as error:
            _log.warning("Slack refuses the note about a file (%s): its card has arrived without", error.code)

    async def _upload(self, half: _Unfinished, place: Target, name: str, content: bytes) -> None:
        """Uploads a file and shows it, unless an earlier try did so and its answer was lost."""
        web = self.web()
        if half.upload and await _is_shown(web, half.upload):
            return
        half.upload = ""
        given = await web.files_getUploadURLExternal(filename=name, length=len(content))
        assert web.session is not None
        async with web.session.post(str(given["upload_url"]), data=content, proxy=web.proxy) as answer:
            answer.raise_for_status()
        half.upload = str(given["file_id"])
        shown: list[dict[str, str | None]] = [{"id": half.upload, "title": name}]
        thread = place.thread or None
        await web.files_completeUploadExternal(files=shown, channel_id=place.channel, thread_ts=thread)


async def _is_shown(web: AsyncWebClient, upload: str) -> bool:
    """Whether Slack shows this file somewhere; it is in no channel before we ask for that."""
    try:
        file: dict[str, object] = (await web.files_info(file=upload)).get("file", {})
    except SlackApiError:
        return False
    return any(file.get(name) for name in ("shares", "channels", "groups", "ims"))
