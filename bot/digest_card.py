"""``/digest``: the figures of a period for a phone. The headline first, and behind each figure what it counts."""

from __future__ import annotations

from collections import Counter
from datetime import tzinfo

from bot import words
from bot.cards import Action, Card, Field, Line, Text, footed, line, one_line
from bot.cards import field as card_field
from bot.digest import UTC, WEEK_US, Digest
from fleet.figures import ToolCalls
from fleet.model import Isolation, TaskState
from fleet.range_figures import Period, RangeFigures
from fleet.verdict import Outcome

_FAILED = (
    "Claude Code: is_error of a result; Codex: its status, success or exit code; ACP: its status. "
    "A denied or unfinished call is not in the rate"
)
_ON_A_PHONE = 8
_MEASURES = "This measures the harness: what ran and how it ended. It does not say that the code is right."


def headline(figures: RangeFigures) -> str:
    """``21,875 tool calls · 24 active days · … · 0.0046 % failed (1 in 21,875)``: what is not zero."""
    (_, peak), calls = figures.peak, figures.calls
    parts = [
        (figures.tool_calls, words.count_of(figures.tool_calls, "tool call")),
        (len(figures.by_day), words.count_of(len(figures.by_day), "active day")),
        (len(figures.sessions), words.count_of(len(figures.sessions), "session")),
        (peak if len(figures.by_day) > 1 else 0, f"peak {peak:,}"),
        (calls.failed, f"{_share(calls)} failed ({calls.failed:,} in {calls.ok + calls.failed:,})"),
        (figures.subagents, words.count_of(figures.subagents, "subagent")),
    ]
    return " · ".join(text for count, text in parts if count)


def _share(calls: ToolCalls) -> str:
    return calls.error_rate().removesuffix("% err") + " %"


def digest_card(
    digest: Digest,
    isolation: Isolation,
    picture: str = "",
    zone: tzinfo = UTC,
    *,
    look: Line | None = None,
    more: str = "",
    asked: Period | None = None,
) -> Card:
    """The figures of a period, and what deserves a look now. ``asked``: the days that somebody named.

    With ``more``, the command that shows the rest, only as many as a phone shows.
    """
    if more:
        fields, measures = _most_wanted(digest)[:_ON_A_PHONE], ""
    else:
        fields, measures = _all(digest, isolation), _MEASURES
    when, of = words.span(digest.from_us, digest.upto_us, zone), f"{digest.first_seq} to {digest.last_seq}"
    if not digest.upto_us:
        days = f"{words.span(asked.from_us, asked.upto_us - 1, zone)}: " if asked else ""
        when, of = f"{days}nothing happened", f"of {words.count_of(digest.last_seq, 'event')}"
    texts = (when, headline(digest.figures), measures)
    return Card(
        title=line("Digest"),
        lines=(*(line(text) for text in texts if text), *filter(None, (look,))),
        fields=tuple(fields),
        actions=(Action("More", more, once=False),) if more and digest.upto_us else (),
        footer=footed(isolation, f"ledger {of}"),
        picture=picture,
    )


def _most_wanted(digest: Digest) -> list[Field]:
    """What happened and what deserves a look; nothing that is zero."""
    return [
        *_fields(
            ("Tasks", _tasks(digest) if digest.asked or digest.ends else ""),
            ("Gate runs", _counted(digest.gates)),
        ),
        *_of_gates(digest),
        *_of_people(digest),
        *_fields(("Cost", _cost(digest) if digest.cost_udollar else ""), _against_before(digest)),
    ]


def _fields(*given: tuple[str, Text]) -> list[Field]:
    """A field for each name that has a text."""
    return [card_field(name, text) for name, text in given if text]


def _counted(counts: Counter[str]) -> str:
    """``3 passed, 1 failed``."""
    return ", ".join(f"{count} {how}" for how, count in counts.most_common())


def _often(counts: Counter[str], most: int) -> str:
    """``shop moved 3×, web moved 1×``: the most frequent ones."""
    return ", ".join(f"{name} {count}×" for name, count in counts.most_common(most))


def _all(digest: Digest, isolation: Isolation) -> list[Field]:
    calls, figures, land_us = digest.calls, digest.figures, digest.median_to_land_us
    refused, needed, size = digest.refused, digest.claims.needed, figures.output_bytes
    used = ", ".join(f"{name} {count:,}" for name, count in figures.by_machine.most_common(4))
    return [
        *_fields(
            ("Tasks", _tasks(digest)),
            ("Gate runs", _counted(digest.gates) or "none"),
            ("Tool calls", f"{calls.ok:,} ok, {calls.failed:,} failed · {calls.error_rate()}"),
            ("Not counted", _not_counted(digest)),
            ("Cost", _cost(digest)),
        ),
        *_of_people(digest),
        *_of_gates(digest),
        *_fields(
            ("Machines", one_line(used, 160) if used else ""),
            ("Output of tools", f"{size:,} bytes, as agents show it" if size else ""),
            ("Locks", f"{words.count(refused, 'time')} another had what was wanted" if refused else ""),
            ("Median to land", words.duration(land_us) if land_us is not None else ""),
            ("Claims", digest.claims.line),
            ("Attention", f"a person was needed {words.count(needed, 'time')}" if needed else ""),
            _against_before(digest),
            ("Enforced", _enforced(digest, isolation)),
            ("Failed is", _FAILED if calls.failed else ""),
        ),
    ]


def _tasks(digest: Digest) -> str:
    return f"{digest.asked} asked, ended: {_counted(digest.ends) or 'none'}"


def _against_before(digest: Digest) -> tuple[str, str]:
    """The name and the text of the field."""
    if digest.before is None:
        return "", ""
    name = "A week before" if digest.before.earlier_us == WEEK_US else "Before that"
    return name, _trend(digest, digest.before)


def _not_counted(digest: Digest) -> str:
    calls, figures = digest.calls, digest.figures
    rare = [(figures.unobserved, "unobserved"), (figures.disputed, "disputed between stream and file")]
    more = "".join(f", {count} {name}" for count, name in rare if count)
    return f"{calls.denied} denied, {calls.unfinished} unfinished{more}"


def _of_people(digest: Digest) -> list[Field]:
    return _fields(
        ("Budgets", _counted(digest.halts)),
        ("Base, by others", one_line(_often(digest.pushes, 4), 160) if digest.pushes else ""),
        ("By people", ", ".join(f"{count} {what}" for what, count in digest.people.items() if count)),
    )


def _of_gates(digest: Digest) -> list[Field]:
    fields = []
    if still_open := len(digest.figures.open_gates):
        fields.append(card_field("Opened, not closed", words.count(still_open, "gate run")))
    if digest.flaky:
        passed = one_line(_often(digest.flaky, 3), 200)
        fields.append(card_field("Flaky", "failed and passed on one commit: ", passed))
    if digest.quarantined:
        failed = one_line(_often(digest.quarantined, 3), 200)
        fields.append(card_field("In quarantine", "failed, and did not count: ", failed))
    if digest.reviews:
        caught, planted = digest.planted[True], digest.planted.total()
        ended = _counted(digest.reviews)
        fields.append(card_field("Reviews", f"{ended} · {caught} of {planted} planted defects caught"))
    return fields


def _enforced(digest: Digest, isolation: Isolation) -> str:
    """What the machines enforced, and what rested on the owner."""
    machine = ["separate logins"] if isolation is Isolation.SEPARATE_LOGINS else []
    owner = [] if machine else ["one login for all"]
    if digest.witnessed:
        machine.append(f"{digest.witnessed} of {digest.opened} openings witnessed")
    if digest.opened > digest.witnessed:
        owner.append(f"{words.count(digest.opened - digest.witnessed, 'opening')} unwitnessed")
    for name in ("self-approved", "overridden"):
        if count := digest.people[name]:
            owner.append(f"{count} {name}")
    return (
        f"by the machines: {', '.join(machine) or 'nothing'} · by the owner's word: {', '.join(owner) or 'nothing'}"
    )


def _cost(digest: Digest) -> str:
    spent, landed = digest.cost_udollar, digest.ends[TaskState.LANDED]
    each = f" · {words.money(spent // landed)} a landed change" if landed and spent else ""
    return f"{words.money(spent)}{each}"


def _trend(digest: Digest, before: Digest) -> str:
    """The figures of the period before, where that had any, and how this one differs."""
    calls, landed = before.figures.tool_calls, before.ends[TaskState.LANDED]
    if not (calls or landed or before.asked):
        return ""
    failed = before.gates[Outcome.FAILED]
    pairs = [
        (words.count_of(calls, "tool call"), digest.figures.tool_calls, calls),
        (f"{landed} landed", digest.ends[TaskState.LANDED], landed),
        (f"{failed} gates failed", digest.gates[Outcome.FAILED], failed),
        (words.money(before.cost_udollar), digest.cost_udollar, before.cost_udollar),
    ]
    return ", ".join(f"{text}{_change(now, then)}" for text, now, then in pairs)


def _change(now: int, then: int) -> str:
    """`` (now +25 %)``; nothing where there is nothing to compare."""
    return f" (now {round(100 * (now - then) / then):+d} %)" if then and now != then else ""
