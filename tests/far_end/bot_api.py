"""A strict fake of Telegram's Bot API over real HTTP, with a phone in the hands of the test.

It refuses what Telegram refuses (``bot_api_refusals``), shows messages as a phone would, and keeps its own clock.
The server has a thread of its own; every control may be called from any other thread.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

import aiohttp
from aiohttp import web

from tests.far_end import bot_api_refusals as refusals
from tests.far_end.bot_api_methods import Given, Methods, Query, Upload
from tests.far_end.bot_api_rates import UNLIMITED, Meter, Rates
from tests.far_end.bot_api_world import Chat, Said, World, message_json, user_json

T = TypeVar("T")
TOKEN = "4242:AAtest-token_of-the-fake"
MB = 1 << 20
_DEFAULT_UPDATES = ("message", "edited_message", "callback_query")


class BotApi:
    """Use as a context manager. ``url`` is the API's root (``https://api.telegram.org`` elsewhere)."""

    def __init__(
        self,
        *,
        rates: Rates = UNLIMITED,
        token: str = TOKEN,
        upload_limit: int = 50 * MB,
        download_limit: int = 20 * MB,
    ) -> None:
        self.token, self.world, self.meter = token, World(), Meter(rates)
        self.methods = Methods(self.world, self.meter, self.now, upload_limit, download_limit)
        #: ``unknown_methods`` are a 404; ``mangled``: what becomes of a result, or of the whole answer (bytes).
        #: ``refusing``: how the next calls of a method are refused, whatever they ask for.
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[tuple[str, str]] = []
        self.webhook_answers: list[int] = []
        self.outage, self.turned_away = "", 0
        self.unknown_methods: set[str] = set()
        self.mangled: dict[str, Callable[[Any], Any]] = {}
        self.refusing: dict[str, list[refusals.Refusal]] = {}
        self._lose_answers = 0
        self._forwarded = 0.0
        self._updates: list[dict[str, Any]] = []
        self._again: list[dict[str, Any]] = []
        self._sent: dict[int, dict[str, Any]] = {}
        self._allowed: tuple[str, ...] = _DEFAULT_UPDATES
        self._update_ids = itertools.count(1000)
        self._query_ids = itertools.count(1)
        self._poll = 0
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="bot api", daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60), "the fake Bot API did not come up"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    # --- the phone ----------------------------------------------------------------------------------------

    def say(
        self, user: int, text: str = "", *, chat: int = 0, reply_to: int = 0, thread: int = 0,
        photo: bytes = b"", document: tuple[str, bytes] | None = None, **raw: Any,
    ) -> int:  # fmt: skip
        """A person writes, in private without ``chat``; answers the update's id. ``raw`` overlays the message."""

        def work() -> int:
            where = self.world.chats[chat] if chat else self.world.person(user)
            said = self.world.say(where, user, text, thread=thread, reply_to=reply_to)
            shown = message_json(self.world, said, int(self.now()))
            if photo or document:
                shown |= {"caption": shown.pop("text", ""), "caption_entities": shown.pop("entities", [])}
            if photo:
                kept = self.world.store("photo.jpg", photo, "image/jpeg")
                size = {"file_id": kept.id, "file_unique_id": kept.id, "file_size": len(photo)}
                shown["photo"] = [{**size, "width": 640, "height": 480}]
            if document:
                kept = self.world.store(*document, "text/plain")
                about = {"file_id": kept.id, "file_unique_id": kept.id, "file_size": len(document[1])}
                shown["document"] = {**about, "file_name": document[0], "mime_type": "text/plain"}
            return self._update("message", {**shown, **raw})

        return self._on_loop(work)

    def press(self, user: int, message: Said, label: str = "", *, data: str = "") -> int:
        """A person presses a button (or sends any ``data`` under a message); answers the update's id."""

        def work() -> int:
            query = str(next(self._query_ids))
            self.methods.queries[query] = Query(self.now())
            shown = message_json(self.world, message, int(self.now()))
            pressed = {"id": query, "from": user_json(user), "message": shown, "chat_instance": "1"}
            return self._update("callback_query", {**pressed, "data": data or message.data(label)})

        return self._on_loop(work)

    def post(self, bodies: Iterable[Mapping[str, Any]]) -> list[int]:
        """Updates as a test wrote them, of whatever kind, and whether the bot asked for that kind or not."""

        def work() -> list[int]:
            made = [{**body, "update_id": next(self._update_ids)} for body in bodies]
            for update in made:
                pressed = update.get("callback_query", {}).get("id")
                if pressed is not None:
                    self.methods.queries[pressed] = Query(self.now())
                self._sent[update["update_id"]] = update
            self._updates.extend(made)
            return [update["update_id"] for update in made]

        return self._on_loop(work)

    def edit(self, user: int, message: int, text: str) -> int:
        """A person changes what they wrote in private before."""

        def work() -> int:
            said = self.world.person(user).messages[message]
            shown = {**message_json(self.world, said, int(self.now())), "text": text, "edit_date": int(self.now())}
            return self._update("edited_message", shown)

        return self._on_loop(work)

    def delete(self, message: Said) -> None:
        """A person deletes one of the bot's messages."""
        self._on_loop(lambda: setattr(message, "deleted", True))

    def group(self, title: str = "Fleet", *, kind: str = "supergroup", forum: bool = False) -> Chat:
        """A new group with the bot in it."""
        return self._on_loop(lambda: self.world.group(title, kind=kind, forum=forum))

    def upgrade(self, chat: Chat) -> Chat:
        """A group becomes a supergroup: a new id. Telegram says so in the old one, and whoever writes there is
        answered with where it went."""

        def work() -> Chat:
            new = self.world.group(chat.title)
            said = message_json(self.world, self.world.say(chat, 777000, ""), int(self.now()))
            chat.moved_to = new.id
            self._update("message", {**said, "migrate_to_chat_id": new.id})
            return new

        return self._on_loop(work)

    def redeliver(self, update: int) -> None:
        """The same update once more, as after a confirmation that did not arrive."""
        self._on_loop(lambda: self._again.append(self._sent[update]))

    def screen(self, chat: int, *, thread: int | None = None) -> list[Said]:
        """The bot's messages in a chat (a person's id for the private one), as the phone shows them now."""
        found = self.world.chats[chat].messages.values() if chat in self.world.chats else ()
        shown = [
            message
            for message in list(found)
            if message.mine and not message.deleted and (message.text or message.has_media)
        ]
        return [message for message in shown if thread is None or message.thread == thread]

    # --- the far end --------------------------------------------------------------------------------------

    def now(self) -> float:
        """Seconds, by the fake's clock."""
        return time.time() + self._forwarded

    def forward(self, seconds: float) -> None:
        """Lets time pass at Telegram's end."""
        self._on_loop(lambda: setattr(self, "_forwarded", self._forwarded + seconds))

    def break_down(self, how: str = "502") -> None:
        """From now on every request meets an outage: a page with this HTTP status, as something between us and
        Telegram shows it, or ``drop`` for cut connections; "" ends it."""

        def work() -> None:
            self.outage = how
            self._poll += 1
            self._notify()

        self._on_loop(work)

    def lose_answers(self, count: int) -> None:
        """The next messages are shown on the phone, but the bot never hears so."""
        self._on_loop(lambda: setattr(self, "_lose_answers", count))

    def refuse(self, chat: int, seconds: float) -> None:
        """429 for everything that is shown in this chat, for so long."""
        self._on_loop(lambda: self.meter.forced.__setitem__(chat, self.now() + seconds))

    def unconfirmed(self) -> list[int]:
        """Updates that no poller has confirmed yet."""
        return [update["update_id"] for update in list(self._updates)]

    def called(self, method: str) -> list[dict[str, Any]]:
        """The parameters of every call of a method so far."""
        return [given for name, given in list(self.calls) if name == method]

    async def until(self, true: Callable[[], T], what: str = "", seconds: float = 60.0) -> T:
        """Waits until something is so at this end, and answers it."""
        return await asyncio.to_thread(self.wait, true, what, seconds)

    def wait(self, true: Callable[[], T], what: str = "", seconds: float = 60.0) -> T:
        """The same for code without an event loop."""
        found: list[T] = []

        def look() -> bool:
            found[:] = [true()]
            return bool(found[0])

        with self._changed:
            if not self._changed.wait_for(look, seconds):
                shown = [message.text[:200] for chat in self.world.chats for message in self.screen(chat)][-8:]
                raise AssertionError(f"it never came about that {what or true}; shown last: {shown}")
        return found[0]

    # --- the server ---------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._stop, self._news = asyncio.Event(), asyncio.Event()
        self._hooked: set[asyncio.Task[None]] = set()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/bot{token}/{method}", self._method)
        app.router.add_get("/file/bot{token}/files/{file}", self._download)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        self._poll += 1
        self._notify()
        for task in self._hooked:
            task.cancel()
        await runner.cleanup()

    def _on_loop(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            done = work()
            self._notify()
            return done

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(20)

    def _notify(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
        with self._changed:
            self._changed.notify_all()

    def _update(self, kind: str, body: dict[str, Any]) -> int:
        number = next(self._update_ids)
        self._sent[number] = {"update_id": number, kind: body}
        if kind in self._allowed:
            self._updates.append(self._sent[number])
            if self.methods.webhook.url:
                task = self._loop.create_task(self._push(self._sent[number]))
                self._hooked.add(task)
                task.add_done_callback(self._hooked.discard)
        return number

    async def _push(self, update: dict[str, Any]) -> None:
        hook = self.methods.webhook
        headers = {"X-Telegram-Bot-Api-Secret-Token": hook.secret} if hook.secret else {}
        async with (
            aiohttp.ClientSession() as session,
            session.post(hook.url, json=update, headers=headers) as answer,
        ):
            self.webhook_answers.append(answer.status)
            if answer.status == 200 and update in self._updates:
                self._updates.remove(update)
            self._notify()

    async def _method(self, request: web.Request) -> web.StreamResponse:
        try:
            self._meet_outage(request)
            if request.match_info["token"] != self.token:
                raise refusals.unauthorized()
            given, method = await _read(request), request.match_info["method"]
            if method in self.unknown_methods:
                raise refusals.no_such_method()
            self.calls.append((method, dict(given.values)))
            if scripted := self.refusing.get(method):
                raise scripted.pop(0)
            if method.lower() == "getupdates":
                result: Any = await self._get_updates(given)
                self._meet_outage(request)
            else:
                result = self.methods.call(method, given)
                if method.lower() == "setwebhook":
                    self._allow(given)
                self._notify()
                if self._lose_answers and method.lower().startswith("send"):
                    self._lose_answers -= 1
                    _cut(request)
        except refusals.Refusal as refusal:
            self.refused.append((request.match_info["method"], refusal.description))
            self._notify()
            return web.json_response(refusal.body(), status=refusal.code)
        if method in self.mangled:  # as a server that is newer, or answers through a proxy that spoils it
            result = self.mangled[method](result)
        if isinstance(result, bytes):
            return web.Response(body=result, content_type="application/json")
        return web.json_response({"ok": True, "result": result})

    def _meet_outage(self, request: web.Request) -> None:
        if self.outage:
            self.turned_away += 1
            self._notify()
        if self.outage == "drop":
            _cut(request)
        if self.outage:
            raise _page(int(self.outage))

    def _allow(self, given: Given) -> None:
        self._allowed = tuple(given.json("allowed_updates") or self._allowed)

    async def _get_updates(self, given: Given) -> list[dict[str, Any]]:
        if self.methods.webhook.url:
            raise refusals.webhook_is_set()
        self._poll += 1
        mine, offset = self._poll, given.number("offset")
        self._notify()
        self._allow(given)
        self._updates = [update for update in self._updates if update["update_id"] >= offset or offset <= 0]
        until = self._loop.time() + given.number("timeout")
        while not self._updates and not self._again and (left := until - self._loop.time()) > 0:
            news = self._news
            try:
                await asyncio.wait_for(news.wait(), left)
            except TimeoutError:
                break
            if self._poll != mine:
                if not self.outage and not self._stop.is_set():
                    raise refusals.other_poller()
                break
        again, self._again = self._again, []
        return [*again, *self._updates[: given.number("limit") or 100]]

    async def _download(self, request: web.Request) -> web.StreamResponse:
        self._meet_outage(request)
        kept = self.world.files.get(request.match_info["file"])
        if kept is None or request.match_info["token"] != self.token:
            raise web.HTTPNotFound
        return web.Response(body=kept.data)


def _page(status: int) -> web.HTTPException:
    page: type[web.HTTPException] = type("Page", (web.HTTPException,), {"status_code": status})
    return page(text=f"<html><h1>{status}</h1></html>", content_type="text/html")


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise web.HTTPServiceUnavailable


async def _read(request: web.Request) -> Given:
    values: dict[str, Any] = dict(request.query)
    uploads: dict[str, Upload] = {}
    if request.content_type == "application/json":
        values |= json.loads(await request.read() or b"{}")
        return Given(values)
    posted: Mapping[str, Any] = await request.post()
    for name, value in posted.items():
        if isinstance(value, web.FileField):
            uploads[name] = Upload(value.filename, value.file.read(), value.content_type)
        else:
            values[name] = value
    return Given(values, uploads)
