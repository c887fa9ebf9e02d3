"""Whether a reviewer is of another family than the author of a change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleet.agents.families import family, named
from fleet.config import AgentConfig, ReviewerConfig
from gates.review.endpoint import ModelReply
from gates.review.exchange import NoReview, WhyNone


class Identity(StrEnum):
    """How the reviewer's model is known."""

    PINNED = "pinned"
    """By the digest of its files, which ``fleet.toml`` names."""
    ASSERTED = "asserted"
    """By the endpoint's word."""


@dataclass(frozen=True, slots=True)
class SeenReviewer:
    """Who answered."""

    model: str
    families: tuple[str, ...]
    identity: Identity
    digest: str

    def __str__(self) -> str:
        return f"{self.model} ({', '.join(self.families)}, {self.identity})"


def author_family(agents: Sequence[tuple[str, AgentConfig | None]], observed: Iterable[str]) -> str:
    """The one family of everything that worked on a change: configured, and as the agents said themselves.

    Raises ``NoReview`` when it is unknown, or more than one.
    """
    families: set[str] = set()
    hint = "Set `family` or `model` of the agent in fleet.toml."
    for name, config in agents:
        if config is None:
            raise NoReview(WhyNone.AUTHOR_UNKNOWN, f"fleet.toml no longer has the agent {name or '(none)'}")
        stated = {config.family.lower()} if config.family else set[str]()
        known = stated | (set(named(config.model)) if config.model else {family(config.driver)} - {""})
        if not known:
            raise NoReview(WhyNone.AUTHOR_UNKNOWN, f"the family of the agent {name} is not known", hint)
        families |= known
    stated_by_operator = bool(agents) and all(config is not None and config.family for _, config in agents)
    for model in observed:
        found = named(model)
        if not found and not stated_by_operator:
            raise NoReview(WhyNone.AUTHOR_UNKNOWN, f"the family of the author's model {model} is not known", hint)
        families |= found
    if len(families) != 1:
        which = ", ".join(sorted(families)) or "none"
        raise NoReview(WhyNone.AUTHOR_UNKNOWN, f"the author's family is not one: {which}", hint)
    return families.pop()


def choose(reviewers: dict[str, ReviewerConfig], wanted: str, author: str) -> str:
    """The reviewer to ask: the one that the gate names, or the first of another family.

    Raises ``NoReview`` when there is none.
    """
    if wanted and wanted not in reviewers:
        raise NoReview(WhyNone.NOT_CONFIGURED, f"fleet.toml has no [reviewers.{wanted}]")
    if not reviewers:
        raise NoReview(WhyNone.NOT_CONFIGURED, "fleet.toml has no [reviewers.NAME]")
    able = [name for name in sorted(reviewers) if author not in named(reviewers[name].model)]
    if wanted:
        able = [name for name in able if name == wanted]
    if not able:
        raise NoReview(WhyNone.SAME_FAMILY, f"the author and the reviewer are both of the family {author}")
    return able[0]


def check_answerer(
    reviewer: ReviewerConfig, reply: ModelReply, author: str, *, allow_asserted: bool
) -> SeenReviewer:
    """Who answered. Raises ``NoReview`` unless it is the model that was asked for, of another family than
    ``author``; an empty ``author`` fits every family."""
    asked, answered = named(reviewer.model), named(reply.model)
    if answered != asked:
        cause = f"{reviewer.model} was asked, and {reply.model or '(no name)'} answered"
        raise NoReview(WhyNone.SWAPPED, cause)
    families = answered | named(reply.weights.family)
    if author and author in families:
        raise NoReview(
            WhyNone.SAME_FAMILY, f"the author and the model that answered are both of the family {author}"
        )
    identity = Identity.ASSERTED
    if wanted := reviewer.digest.removeprefix("sha256:"):
        if not reply.weights.digest.startswith(wanted):
            found = reply.weights.digest[:12] or "none"
            raise NoReview(WhyNone.SWAPPED, f"the digest of {reviewer.model} is {found}, not {wanted[:12]}")
        identity = Identity.PINNED
    if identity is Identity.ASSERTED and not allow_asserted:
        hint = "Set `digest` of the reviewer in fleet.toml: airboss review try prints it."
        raise NoReview(WhyNone.NOT_PINNED, "only a reviewer whose model is pinned by a digest counts here", hint)
    return SeenReviewer(reply.model, tuple(sorted(families)), identity, reply.weights.digest)
