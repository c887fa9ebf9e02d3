"""The phone was lost: an id's rights, drafts and buttons end, and the ledger says who said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cards import Card, line, shown, task_key
from bot.cli import main
from bot.revoking import unlist
from fleet.config import load_fleet, parse_fleet
from fleet.errors import Misused
from fleet.events import PersonRevoked
from fleet.model import ChatRef
from fleet.store import ledger, tasks
from fleet.store.chat import buttons, settings
from fleet.store.core import Store, Tx
from gates.people import console_owner
from tests.chat_flight import everything
from tests.chat_house import ADA, CHAT, FLEET, OTTO, VERA, house


async def test_what_the_store_keeps_for_an_id_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET.replace("phone::otto", 'phone::otto", "slack:T1:U1'))
    async with house(tmp_path) as there:
        await there.say("/run repo=shop on=evo-x2 agent=demo", OTTO)
        await there.store.write(
            lambda tx: [buttons.mint(tx, CHAT, command="/x", once=True, person=str(who)) for who in (OTTO, ADA)]
        )
        drafted = await there.store.read(lambda tx: settings.beginning(tx, "draft:"))
        denied, _ = await there.say("/revoke phone::otto", VERA)
        assert denied.status == 2
        done, cards = await there.say("/revoke phone::otto", ADA)
        assert done.status == 0 and any("revoked" in str(card.title) for card in cards)
        there.configured(load_fleet(tmp_path / "fleet.toml"))
        kept = await there.store.read(lambda tx: settings.beginning(tx, "draft:"))
        assert drafted and [key for key in kept if "otto" in key] == []
        result, cards = await there.say("the words of the draft", OTTO)
        assert await there.tasks() == [] and "not registered" in str(cards[0].title) and result.status == 0
        (entry,) = await there.store.read(lambda tx: ledger.read(tx, kinds=(PersonRevoked.KIND,)))
        assert (entry.actor, entry.event) == (str(ADA), PersonRevoked("phone::otto", "Otto"))
        text = (tmp_path / "fleet.toml").read_text()
        assert "phone::otto" not in text and "slack:T1:U1" in text, "the other ids of a person stay"
        again, _ = await there.say("/revoke phone::otto", ADA)
        assert again.status == 2


async def test_a_pressed_button_of_a_revoked_id_does_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as there:
        _, (card,) = await there.say("/run fix it", OTTO)
        people = [person for person in there.config.people if person.name != "Otto"]
        there.configured(there.config.model_copy(update={"people": people}))
        await there.press(card, "Stop", OTTO)
        assert not await there.store.read(lambda tx: tasks.stop_requested(tx, "t1"))


async def test_nothing_more_about_the_fleet_reaches_the_private_chat_of_a_lost_phone(tmp_path: Path) -> None:
    lost = ChatRef("phone", "ottos-own")
    async with house(tmp_path) as there:
        await there.hand_over(there.message("/run repo=shop fix it", OTTO, chat=lost))

        async def told(text: str) -> list[str]:
            """What of an edit, a task's card, a loose card with a sound reaches the phone."""
            before = len(there.phone.sent)

            def work(tx: Tx) -> None:
                posts = there.outbox.open(tx)
                posts.repost(lost, Card(line(text)), key=task_key("t1"))
                posts.post(lost, Card(line(text)), task="t1")
                posts.post(lost, Card(line(text)), ping=True)
                posts.post(CHAT, Card(line(text)), task="t1")

            await there.store.write(work)
            await there.settle(lost)
            await there.settle()
            return [post.chat.chat for post in there.phone.sent[before:] if text in shown(post.card.title)]

        assert sorted(await told("before")) == [CHAT.chat, *[lost.chat] * 3]
        everyone = there.config
        there.configured(everyone.model_copy(update={"people": [p for p in everyone.people if p.name != "Otto"]}))
        assert await told("a secret") == [CHAT.chat]
        _, (answer,) = await there.hand_over(there.message("/diff t1", OTTO, chat=lost))
        assert "not registered" in shown(answer.title)
        there.configured(everyone)
        assert lost.chat in await told("back again")


async def test_whoever_revokes_is_told_which_tasks_go_on(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET)
    async with house(tmp_path) as there:
        await there.say("/run repo=shop fix it", OTTO)
        _, (card,) = await there.say("/revoke phone::otto", ADA)
        assert "Its open tasks go on: t1. /stop ends one." in everything(card)


def test_the_command_line_revokes_without_a_controller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fleet.toml").write_text("# kept\n" + FLEET)
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}"):
        pass
    assert main(["--home", str(tmp_path), "people", "revoke", "phone::ada"]) == 0
    assert "No admin is left" in capsys.readouterr().out
    assert "Ada" not in (tmp_path / "fleet.toml").read_text() and "# kept" in (tmp_path / "fleet.toml").read_text()
    with Store.open(f"sqlite:///{tmp_path / 'airboss.db'}") as store, store.transaction() as tx:
        (entry,) = ledger.read(tx, kinds=(PersonRevoked.KIND,))
    assert entry.actor == str(console_owner())
    assert main(["--home", str(tmp_path), "people", "revoke", "phone::ada"]) == 2
    for left in ("phone::otto", "phone::vera"):
        assert main(["--home", str(tmp_path), "people", "revoke", left]) == 0
    assert load_fleet(tmp_path / "fleet.toml").people == []
    parse_fleet((tmp_path / "fleet.toml").read_text(), "fleet.toml")


def test_an_id_that_nobody_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(FLEET)
    with pytest.raises(Misused, match="does not list it"):
        unlist(tmp_path, "nonsense")
    assert (tmp_path / "fleet.toml").read_text() == FLEET
