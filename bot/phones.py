"""The chats that people have on their phones, as far as ``.env`` has what each needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot.chats.slack import chat as slack
from bot.chats.telegram import chat as telegram
from bot.outbox.contact import Contact
from bot.registry import Registry
from fleet.config import Secrets
from fleet.supervise import OnDeath, Supervisor

if TYPE_CHECKING:
    from bot.chats.slack.adapter import SlackAdapter
    from bot.chats.telegram.adapter import TelegramAdapter


@dataclass(frozen=True, slots=True)
class Phones:
    """``chats``: those with a token. ``off`` has a line for each one without."""

    chats: tuple[SlackAdapter | TelegramAdapter, ...]
    off: tuple[str, ...]

    @classmethod
    def from_secrets(
        cls, env: Secrets, home: Path, registry: Registry, sure: Callable[[], Awaitable[None]]
    ) -> Phones:
        """``sure`` comes back while nobody else may read a chat. Raises ``Misused`` for a token of a wrong kind."""
        found = (
            (telegram.from_secrets(env, home, registry, sure), telegram.OFF),
            (slack.from_secrets(env, home, registry), slack.OFF),
        )
        return cls(
            tuple(chat for chat, _ in found if chat is not None), tuple(off for chat, off in found if chat is None)
        )

    @property
    def contacts(self) -> Mapping[str, Contact]:
        """Whether each platform answers, by the chat's name."""
        return {chat.name: chat.contact for chat in self.chats}

    @property
    def direct(self) -> frozenset[str]:
        """The chats in which a person can be written to directly."""
        return frozenset(chat.name for chat in self.chats)

    def run(self, supervisor: Supervisor) -> None:
        """Keeps each connected. One whose token is refused ends the controller."""
        for chat in self.chats:
            supervisor.run(f"{chat.name} connection", chat.keep_up)
            supervisor.run(chat.name, chat.contact.running, OnDeath.FATAL)
