"""Nothing of a stranger's text is live: 300 texts by the fake's rules; 60,000 by TDLib's in ``make torture``."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bot.cards import Line
from bot.chats.telegram.render import plain
from fleet.untrusted import Untrusted
from tests.far_end.bot_api_text import read
from tests.far_end.tdlib import Tdlib

FULL: Final = os.environ.get("AIRBOSS_CAMPAIGN") == "full"
TEXTS: Final = 60_000 if FULL else 300
CACHE: Final = Path(__file__).parents[2] / ".cache" / "tdlib"
OURS: Final = (*"$ Az_1.é()-", "fleet.toml", ".toml", "toml", "$0", "$1INCH", "$TON", "$0.31", "x.")
"""What prices and names of files are made of, and what is near them."""
PIECES: Final = (
    *"ab1Z-_~.:/@#$+ \n\"'()[]<>,;!?&=%*|\t",
    *"💩éß。．\u200c\u00ad٠例рф\u2011\u2014\u2024\ufe52\u00b7\u0300",
    *["com", "http", "https", "://", "tg://", "ton://", "www.", "la", "t.me/", "4111", "12:30", "1:02:03"],
    *["@user", "/start", "mailto:", "xn--", "evil~.com/login", "get.💩.la/x", "a@b.co", "tel:+491511234567"],
    *["#tag", "$USD", "http://localhost", "1.2.3.4:80", "4111 1111 1111 1111"],
)


def by_the_fake(text: str) -> list[str]:
    return read(text, None).live()


def _beside(text: str, chance: random.Random) -> Line:
    """A stranger's text in two pieces, between texts of ours."""
    cut = chance.randint(0, len(text))
    first, last = (
        chance.choice(["t1.", "4111 1111 11", "12:", "@"]),
        chance.choice(["com", "12345678", ":30", ".py"]),
    )
    return first, Untrusted(text[:cut]), Untrusted(text[cut:]), last


def test_no_text_of_a_stranger_is_live() -> None:
    live: Callable[[str], list[str]] = Tdlib(CACHE).live if FULL else by_the_fake
    chance = random.Random(7)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(1, 14))) for _ in range(TEXTS)]
    lines = [(Untrusted(text).one_line(400), plain(_beside(text, chance))) for text in texts]
    assert sum(bool(live(text)) for text, _ in lines) > TEXTS // 5, "most of them would be live"
    assert [shown for text, shown in lines if text and live(shown)] == []


if FULL:

    def test_the_fake_finds_each_cashtag_and_link_that_tdlib_finds() -> None:
        tdlib, chance, found = Tdlib(CACHE), random.Random(7), 0
        for text in ("".join(chance.choices(OURS, k=chance.randint(1, 8))) for _ in range(TEXTS)):
            fake = {entity.partition(":")[0] for entity in by_the_fake(text)}
            theirs = {"textEntityTypeCashtag": "cashtag", "textEntityTypeUrl": "url"}
            wanted = {kind for name, kind in theirs.items() if name in tdlib.live(text)}
            assert wanted <= fake, text
            found += bool(wanted)
        assert found > TEXTS // 20
