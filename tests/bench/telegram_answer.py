"""From an update to the answer on the phone, against a bare python-telegram-bot that echoes.

Ours is the whole stack: the update's row committed before it is confirmed, rights, the command, its effect and the
answer's row in one commit, the outbox, Telegram. The echo is what the library's first example does. Each is
a process of its own and speaks to a fake Bot API over HTTP, in turn; the clock runs from the update's arrival there
to the message's. A burst is ten people who write at once: the clock stops at the last of the answers.

The sides do not do the same work, and on a quiet machine a single message has taken 1.66 to 1.71 times the echo's
time. What costs the rest, by the analysis in docs/adr/0011: a message is durable before it is confirmed and before
its handler runs, and its effect and answer are durable before the answer is sent. That is two commits on the
store's own thread: mostly four wakings of a sleeping thread, and two fsyncs. The echo commits nothing.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from telegram import Update
from telegram.ext import ApplicationBuilder, ContextTypes, MessageHandler, filters

from tests.bench.harness import Trial, compare, report
from tests.bench.serving import serving
from tests.far_end.bot_api import TOKEN, BotApi

BAR = 1.5
ROUNDS = 151
WARM = 10
BURST = 10
BURSTS = 21
BURSTS_WARM = 2
PEOPLE = ROUNDS + WARM + (BURSTS + BURSTS_WARM) * BURST
#: What a bot still does after its answer falls on nobody's clock, and nobody sends more than 30 a second.
REST_SECONDS = 0.015
ECHO = "echo"
FIRST_USER = 10_000
FLEET = """
isolation = "unsafe-same-user"

[machines.here]
executor = "local"
python = "{python}"
home = "{machine}"

[agents.echo]
driver = "command"
program = ["cat"]

[repos.shop]
url = "/nowhere"
agent = "echo"

[[people]]
name = "bench"
role = "operator"
ids = [{ids}]
"""


async def echo(root: str) -> None:
    """The library alone, with its defaults, until it is ended."""

    async def answer(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        if update.message is not None and update.message.text is not None:
            await update.message.reply_text(update.message.text)

    app = ApplicationBuilder().token(TOKEN).base_url(f"{root}/bot").base_file_url(f"{root}/file/bot").build()
    app.add_handler(MessageHandler(filters.TEXT, answer))
    async with app:
        await app.start()
        assert app.updater is not None, "the builder makes one"
        await app.updater.start_polling()
        await asyncio.Event().wait()


@contextmanager
def echoing(api: BotApi) -> Iterator[None]:
    """The echo in a process of its own, as a bot lives."""
    bot = subprocess.Popen([sys.executable, "-m", "tests.bench.telegram_answer", ECHO, api.url])
    try:
        api.wait(lambda: api.called("getUpdates"), "the echo polls")
        yield
    finally:
        bot.kill()
        bot.wait()


def asking(api: BotApi, text: str, people: Iterator[int], together: int = 1) -> Trial:
    """Updates and their answers, from people who have not written before: no chat's budget is spent."""

    def ask() -> float:
        users = [next(people) for _ in range(together)]
        started = time.perf_counter()
        for user in users:
            api.say(user, text)
        for user in users:
            api.wait(partial(api.screen, user), "the bot answers")
        seconds = time.perf_counter() - started
        api.wait(lambda: not api.unconfirmed(), "the update is confirmed")
        time.sleep(REST_SECONDS * together)
        return seconds

    return ask


def main() -> int:
    """Prints the figure; 1 when it misses its bar."""
    with tempfile.TemporaryDirectory(prefix="airboss-bench-") as name, BotApi() as ours, BotApi() as bare:
        ids = ", ".join(f'"telegram::{FIRST_USER + number}"' for number in range(PEOPLE))
        fleet = FLEET.format(python=sys.executable, machine=Path(name) / "machine", ids=ids)
        secrets = f"AIRBOSS_TELEGRAM_TOKEN={TOKEN}\nAIRBOSS_TELEGRAM_API={ours.url}\n"
        with serving(Path(name), fleet, secrets), echoing(bare):
            ours.wait(lambda: ours.called("getUpdates"), "Airboss polls")
            names = "Airboss: /help run, rows committed", "python-telegram-bot: echo"
            people = [iter(range(FIRST_USER, FIRST_USER + PEOPLE)) for _ in names]
            found = []
            for what, together, rounds, warm in (
                ("a Telegram update to its answer", 1, ROUNDS, WARM),
                (f"a burst of {BURST} to the last answer", BURST, BURSTS, BURSTS_WARM),
            ):
                sides = [
                    (name, asking(api, "/help run", someone, together))
                    for name, api, someone in zip(names, (ours, bare), people, strict=True)
                ]
                found.append(compare(what, sides[0], sides[1], bar=BAR, rounds=rounds, warm=warm))
            return report(found)


if __name__ == "__main__":
    if sys.argv[1:2] == [ECHO]:
        asyncio.run(echo(sys.argv[2]))
    sys.exit(main())
