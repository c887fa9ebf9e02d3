"""Answers ``/review``: asks the reviewer, and changes the card that said so.

What was asked is in the store until it is answered, so a restart asks again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from bot.cards import Card, Tone, footed, line, one_line
from bot.outbox.posting import Outbox
from fleet.config import FleetConfig, Secrets
from fleet.errors import AirbossError, StoreUnavailable
from fleet.git.repository import Repository
from fleet.model import ChatRef
from fleet.store.chat import settings
from fleet.store.core import Tx
from fleet.untrusted import Untrusted
from gates.review.agent import AgentLogins, AgentReviewers
from gates.review.asking import Review
from gates.review.exchange import NoReview, WhyNone
from gates.review.of_branch import findings, headline, objections, review_of, why_none

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 1.0
_PREFIX: Final = "review:"
_SHOWN: Final = 6
_BRANCH: Final = 60


@dataclass(frozen=True, slots=True)
class AskedReview:
    """A review that somebody waits for. ``id``: of the message that asked. ``author``: a family, or empty."""

    id: str
    chat: ChatRef
    repo: str
    branch: str
    by: str
    author: str

    @property
    def key(self) -> str:
        """The key of its card."""
        return _PREFIX + self.id

    @property
    def what(self) -> Untrusted:
        """The repository and the branch."""
        return one_line(f"{self.repo} {self.branch}", _BRANCH)

    def keep(self, tx: Tx) -> None:
        """Asks for it."""
        chat = [self.chat.adapter, self.chat.chat, self.chat.thread]
        settings.put(tx, self.key, json.dumps([chat, self.repo, self.branch, self.by, self.author]))

    @classmethod
    def kept(cls, key: str, stored: str) -> AskedReview:
        """Reads it back."""
        chat, repo, branch, by, author = json.loads(stored)
        return cls(key.removeprefix(_PREFIX), ChatRef(*chat), repo, branch, by, author)


@dataclass(frozen=True, slots=True)
class AskedReviews:
    """Asks for one after another; :meth:`answer_all` answers what waits."""

    outbox: Outbox
    config: Callable[[], FleetConfig]
    env: Secrets
    repositories: Callable[[str], Repository]
    executors: AgentLogins

    async def answer_all(self) -> None:
        """Raises ``StoreUnavailable``: call it again."""
        waiting = await self.outbox.store.read(lambda tx: settings.beginning(tx, _PREFIX))
        for key, stored in waiting.items():
            asked = AskedReview.kept(key, stored)
            await self.outbox.store.write(partial(self._tell, asked, await self._answer(asked)))

    def _tell(self, asked: AskedReview, card: Card, tx: Tx) -> None:
        self.outbox.open(tx).repost(asked.chat, card, key=asked.key)
        settings.put(tx, asked.key, "")

    async def _answer(self, asked: AskedReview) -> Card:
        title, footer = line("review · ", asked.what), footed(self.config().isolation)
        try:
            review = await self._asked(asked)
        except StoreUnavailable:
            raise
        except AirbossError as error:
            why = why_none(error) if isinstance(error, NoReview) else str(error)
            return Card(title, (line("no review: ", one_line(why, 300)),), footer=footer)
        except Exception:  # it must not hold up the reviews behind it
            log.exception("internal error: the review of %s is not asked for", asked.branch)
            return Card(title, (line("no review: internal error; airboss.log says which"),), footer=footer)
        found = findings(review)
        lines = [line(one_line(headline(review), 200))]
        if len(found) > _SHOWN:
            lines.append(line(f"The first {_SHOWN} of {len(found)} findings:"))
        if not asked.author and review.none is None:
            lines.append(line("The author's family was not compared (author=FAMILY)."))
        lines.append(line("It decides nothing."))
        tone = Tone.BAD if objections(review) else Tone.PLAIN
        body = Untrusted("\n".join(found[:_SHOWN])) if found else None
        return Card(title, tuple(lines), body=body, tone=tone, footer=footer)

    async def _asked(self, asked: AskedReview) -> Review:
        reviewer = self.config().reviewers.get(asked.by)
        if reviewer is None or asked.repo not in self.config().repos:
            gone = asked.repo if reviewer is not None else asked.by
            raise NoReview(WhyNone.NOT_CONFIGURED, f"fleet.toml no longer has {gone}")
        repository = self.repositories(asked.repo)
        base, head = await repository.fetch(), await repository.branch(asked.branch)
        key = self.env.require(reviewer.key, "ask a reviewer") if reviewer.key else ""
        return await review_of(
            repository,
            base,
            head,
            reviewer,
            key=key,
            author=asked.author,
            about="",
            redact=self.outbox.store.redact,
            agents=AgentReviewers.of(self.config, self.executors, self.env),
        )
