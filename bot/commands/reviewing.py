"""``/review``: asks an independent reviewer about any branch. It decides nothing."""

from __future__ import annotations

from bot.cards import Card, line
from bot.commands import choose
from bot.commands.usual import usual_of
from bot.outbox.posting import Posts
from bot.parse import words as split
from bot.registry import Call, Command, Context, Group, in_write
from bot.telling.asked_reviews import AskedReview
from fleet.errors import Refused
from gates.people import Right
from gates.review.exchange import NoReview
from gates.review.independence import choose as choose_reviewer

_OPTIONS = ("repo", "by", "author")


@in_write
def review(context: Context, call: Call, posts: Posts) -> None:
    """Says that the reviewer is asked; its answer changes that card."""
    given = dict.fromkeys(_OPTIONS, "")
    branches = []
    for word in split(call.args):
        name, equals, value = word.partition("=")
        if equals and name.lower() in given:
            given[name.lower()] = value
        else:
            branches.append(word)
    if len(branches) != 1:
        raise COMMAND.misused("it takes one branch")
    config, (branch,) = context.config(), branches
    usual = usual_of(posts.tx, call.message.chat)
    wanted = given["repo"] or (usual if usual in config.repos else "")
    repo = choose.pick("repository", "repo=", wanted, sorted(config.repos))
    try:
        by = choose_reviewer(config.reviewers, given["by"], given["author"])
    except NoReview as error:
        raise Refused(
            attempted=f"review {branch}",
            on=repo,
            cause=error.cause,
            hint="Add a reviewer to fleet.toml and try it: airboss review try",
        ) from None
    message = call.message
    asked = AskedReview(f"{message.adapter}:{message.update_id}", message.chat, repo, branch, by, given["author"])
    asked.keep(posts.tx)
    posts.data = {"repo": repo, "branch": branch, "reviewer": by}
    posts.post(
        message.chat,
        Card(line("review · ", asked.what), (line(f"Asking {by}. Its answer comes here; it decides nothing."),)),
        key=asked.key,
    )


COMMAND = Command(
    "review",
    "",
    "ask a reviewer about any branch; it decides nothing",
    "BRANCH [repo=R] [by=REVIEWER] [author=FAMILY]",
    Right.RUN,
    review,
    Group.REPORTS,
)
COMMANDS = (COMMAND,)
