"""Whatever is edited, refused, lost and restarted in between: a phone ends with the newest form of each card."""

from __future__ import annotations

from itertools import count
from typing import Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.model import ChatRef
from fleet.store.chat import outbox
from fleet.store.core import Store, Tx

KEY = "t1"
BOTS = count()

Step = Literal["post", "edit", "claim", "arrives", "refused", "gone", "crash after", "crash before"]
HISTORIES = st.lists(
    st.sampled_from(
        ["post", "edit", "edit", "claim", "claim", "arrives", "refused", "gone", "crash after", "crash before"]
    ),
    min_size=4,
    max_size=24,
)


class Phone:
    """The far end: messages as the platform has them, and what we are in the middle of telling it."""

    def __init__(self) -> None:
        self.chat = ChatRef(f"bot {next(BOTS)}", "1")
        self.shown: dict[str, str] = {}
        self.flying: list[outbox.Delivery] = []
        self.version = 0
        self.newest = ""

    def take(self, tx: Tx) -> None:
        self.flying += outbox.claim(tx, self.chat.adapter, 4)

    def show(self, delivery: outbox.Delivery) -> str:
        message = delivery.message_id or f"m{len(self.shown)}"
        self.shown[message] = delivery.card_json
        return message

    def step(self, tx: Tx, step: Step) -> None:
        match step:
            case "post" | "edit":
                self._say(tx, anew=step == "post")
            case "claim":
                self.take(tx)
            case "crash after" | "crash before":
                if step == "crash after":
                    for delivery in self.flying:
                        self.show(delivery)
                self.flying.clear()
                outbox.requeue(tx, self.chat.adapter)
            case _ if self.flying:
                self._settle(tx, self.flying.pop(0), step)
            case _:
                pass

    def _say(self, tx: Tx, *, anew: bool) -> None:
        self.version += 1
        card = f"v{self.version}"
        if anew:
            outbox.put(tx, chat=self.chat, card_json=card, card_key=KEY, priority=1)
            self.newest = card
        elif outbox.edit(tx, KEY, card, chat=self.chat):
            self.newest = card

    def _settle(self, tx: Tx, delivery: outbox.Delivery, step: Step) -> None:
        if step == "arrives":
            outbox.delivered(tx, delivery.id, self.show(delivery))
        elif step == "refused" or delivery.message_id:
            outbox.retry(tx, delivery.id, 0, "429")
        else:
            outbox.gave_up(tx, delivery.id, "thrown out")

    def drain(self, tx: Tx) -> None:
        while True:
            self.take(tx)
            if not self.flying:
                return
            while self.flying:
                self._settle(tx, self.flying.pop(0), "arrives")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each history has a bot of its own
@given(HISTORIES)
def test_a_card_ends_in_its_newest_form(store: Store, steps: list[Step]) -> None:
    phone = Phone()
    with store.transaction() as tx:
        for step in steps:
            phone.step(tx, step)
        phone.drain(tx)
        assert outbox.backlog(tx, phone.chat) == 0
        if message := outbox.thread_of(tx, KEY, phone.chat.adapter, phone.chat.chat):
            assert phone.shown[message] == phone.newest
