"""Every kind of card, measured in a real browser at a phone's width: nothing is cut, the short ones are short."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bot.cards import MAX_LINES, Card, Tone, line
from bot.outbox.port import Outgoing
from tests.chat_house import CHAT
from tests.conftest import sampled
from tests.gallery.browser import WIDTH, browser
from tests.gallery.gallery import Measured, again, measure
from tests.gallery.looks import LOOKS
from tests.gallery.scenes import Shown, groups, scenes

#: The mention takes a line, the title may take two, the footer one; the promise is about what stands between.
FRAME = 4
#: In a terminal the frame, the buttons and the rows between are lines of text too.
CONSOLE_FRAME = 5


async def test_every_card_fits_a_phone_in_every_chat(tmp_path: Path) -> None:
    found: list[Measured] = []
    drawn: dict[str, int] = {}
    looks = sampled(LOOKS, 1)
    async with browser() as tab:
        for look in looks:
            (tmp_path / look).mkdir()
            some = await scenes(tmp_path / look, look)
            drawn[look] = len(some)
            found += await measure(tab, look, some)
    walls = {(measured.look, measured.group) for measured in found}
    assert walls == {(look, group) for look in looks for group in groups(look)}
    assert Counter(measured.look for measured in found) == drawn
    cut = [f"{measured.look} {measured.name}: {measured.cut}" for measured in found if measured.cut]
    assert not cut, "\n".join(cut)
    long = [f"{measured.look} {measured.name}: {measured.lines} lines" for measured in found if too_long(measured)]
    assert not long, "\n".join(long)


def too_long(measured: Measured) -> bool:
    frame = FRAME + (CONSOLE_FRAME if measured.look == "console" else 0)
    return measured.short and measured.lines > MAX_LINES + frame


@pytest.mark.parametrize("look", LOOKS)
async def test_the_measure_sees_what_does_not_fit(look: str) -> None:
    rows = tuple(line(f"row {number}") for number in range(40))
    tall = Card(line("tall"), rows, tone=Tone.PLAIN)
    outgoing = Outgoing(0, CHAT, tall, edits="", ping=False, again=False, task="", key="")
    async with browser() as tab:
        (measured,) = await measure(tab, look, [Shown("fleet", "tall", outgoing)])
        assert too_long(measured)
        assert measured.lines >= 40
        assert measured.box[2] == WIDTH
        await tab.evaluate("document.querySelector('.said').innerHTML += `<nobr>${'x'.repeat(200)}</nobr>`")
        (wide,) = await again(tab, look)
        assert wide.cut
