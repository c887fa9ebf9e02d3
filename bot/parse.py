"""Turns typed text into a command, a reply or nothing. Never raises."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

FLEET: Final = "fleet"
"""The verb before every other one, for what a chat's menu does not list: ``/fleet retry t1`` is ``/retry t1``."""

_QUOTES = str.maketrans("“”„‟«»‘’‚‛", '""""""\'\'\'\'')
_DASHES = re.compile("[‐‑‒–—―−]+")
_INVISIBLE = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_DROPPED = dict.fromkeys(map(ord, _INVISIBLE))
_FIRST_WORD = re.compile(r"\S+")
_SLASHES = "/／!⁄∕"  # look-alikes that a phone's keyboard offers
_AROUND = "\"'“”„‟«»‘’‚‛"
_AFTER = ".!?…。！？"  # a keyboard ends a sentence automatically
_VERB = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,31})(?:@[A-Za-z0-9_.-]{1,64})?(?=$|\s)")
_SAID_SLASH = re.compile(r"slash[,\s]\s*([A-Za-z][A-Za-z_-]*)(?=$|[\s.!?])", re.IGNORECASE)
_MENTION = re.compile(r"@[A-Za-z0-9_.-]{1,64}[:,]?\s+")
_NAMES = "repo|on|machine|agent|after|budget|model|wait"
_OPTION = re.compile(
    rf"[-‐‑‒–—―−]{{0,2}}({_NAMES})(?:[=:]|[^\S\n]*=[^\S\n]*)(\S+)(?=$|\s)"
    r"|@([A-Za-z0-9][A-Za-z0-9_.-]*)[,;]?(?=$|\s)",
    re.IGNORECASE,
)
_FLAG = re.compile(rf"(?:--|[‐‑‒–—―−])({_NAMES}|needs)[^\S\n]+(?=[^\s-])", re.IGNORECASE)
"""An option as a shell takes it, ``--repo shop``; autocorrect writes one long dash."""

_LAST_OPTION = re.compile(
    rf"\s(?:[-‐‑‒–—―−]{{0,2}}(?:{_NAMES}|needs)=\S+|@[A-Za-z0-9][A-Za-z0-9_.-]*)$", re.IGNORECASE
)
_MEANT = re.compile(r"(?:--|[‐‑‒–—―−])([A-Za-z]+)(?=$|[\s=:])|-?([A-Za-z]+)=")
_OPTIONS: Final = (*_NAMES.split("|"), "needs", "lock", "share")
_FORMATS: Final = ("```", "`", "**", "*", "_", "~")
_LANGUAGE = re.compile(r"```[\w+#.-]+\n")
"""How a block of code begins that names its language."""

_FORMATTED_WORD = re.compile(r"(`|\*\*|[*_~])([/!]?\w[\w-]*)\1(?=\s|$)")
_LOCK = re.compile(
    r"(?:[-‐‑‒–—―−]{1,2}(lock|share)[^\S\n]*[=:]?|(lock|share)=)[^\S\n]*"
    r"(\"[^\"\n]+\"|'[^'\n]+'|“[^”\n]+”|‘[^’\n]+’|\S+)(?=$|\s)",
    re.IGNORECASE,
)
_NEEDS = re.compile(
    r"[-‐‑‒–—―−]{0,2}needs=[\"'“”‘’]?([a-z0-9][^\s\"'“”‘’]*(?:[^\S\n]*(?:>=|≥)[^\S\n]*\d[^\s\"'“”‘’]*)?)"
    r"[\"'“”‘’]?[,;]?(?=$|\s)",
    re.IGNORECASE,
)
_END_OF_OPTIONS = re.compile(r"(?:--|—|–)(?=$|\s)")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A verb in lower case and everything after it, unchanged. ``plain``: it was typed without a slash.
    ``below``: later lines that begin with a command too."""

    verb: str
    args: str = ""
    plain: bool = field(default=False, compare=False)
    below: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """Text that is no command: for the session it replies to, if any."""

    text: str


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nothing for us."""

    why: str


Parsed = Spoken | Reply | Ignore


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The arguments of ``/run`` and ``/ask``; empty strings for what was not given. ``literal``: the prompt comes
    after ``--``."""

    prompt: str
    repo: str = ""
    machine: str = ""
    agent: str = ""
    locks: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    after: str = ""
    budget: str = ""
    model: str = ""
    wait: str = ""
    needs: tuple[str, ...] = ()
    literal: bool = field(default=False, compare=False)

    @property
    def meant(self) -> str:
        """The option that the words seem to begin with, misspelled; empty for none."""
        found = None if self.literal else _MEANT.match(self.prompt)
        if found is None:
            return ""
        word = (found.group(1) or found.group(2)).lower()
        close = difflib.get_close_matches(word, _OPTIONS, n=1, cutoff=0.7)
        return close[0] if close and len(word) > 1 else ""

    @property
    def options(self) -> str:
        """The options as they are typed: :func:`run_request` reads them."""
        chosen = (
            ("repo", self.repo),
            ("on", self.machine),
            ("agent", self.agent),
            ("after", self.after),
            ("budget", self.budget),
            ("wait", self.wait),
            ("needs", ",".join(self.needs)),
            ("model", self.model),
            *(("lock", _quoted(name)) for name in self.locks),
            *(("share", _quoted(name)) for name in self.shares),
        )
        return " ".join(f"{name}={value}" for name, value in chosen if value)

    def options_last(self) -> tuple[str, str]:
        """The words without what looks like options at their end, and these; none where ``--`` begins them."""
        words, last = self.prompt, list[str]()
        while not self.literal and (found := _LAST_OPTION.search(words)):
            last.insert(0, found.group().strip())
            words = words[: found.start()].rstrip()
        return words, " ".join(last)


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name


def parse(text: str, verbs: Collection[str], *, direct: bool = True, threaded: bool = False) -> Parsed:
    """What ``text`` means. ``direct``: it is addressed to us, so a known verb needs no slash.

    ``threaded``: it replies to a task's card, where "run the tests again" is meant for the agent, and only a single
    verb ("stop") is a command without a slash. A slash before an unknown word still gives a ``Spoken``: the core
    answers with the nearest verb.
    """
    rest = _visible(text.strip().strip(_INVISIBLE))
    mention = _MENTION.match(rest)
    if mention and direct:
        rest = _visible(rest[mention.end() :])
    if not rest:
        return Ignore("empty")
    rest = unformatted(rest)
    rest = _alone(rest) or rest
    if direct and (said := _SAID_SLASH.match(rest)) and lone_word(said.group(1)) in verbs:
        rest = f"/{rest[said.start(1) :]}"  # as a voice says it
        rest = _alone(rest) or rest
    slashed = rest[0] in _SLASHES
    if slashed:
        rest = rest.lstrip(_SLASHES).lstrip(" ")
        rest = _alone(unformatted(rest)) or rest
    found = _VERB.match(rest)
    if found is None:
        return Ignore("a slash alone") if slashed and not rest else Reply(text.strip())
    verb, after = _verb(found), rest[found.end() :]
    inner = _VERB.match(within) if verb == FLEET and (within := _visible(after)) else None
    if inner and _verb(inner) in verbs:
        verb, after = _verb(inner), within[inner.end() :]
    if slashed or (direct and verb in verbs and _addressed(after, threaded)):
        return Spoken(
            verb,
            after.strip(),
            plain=not slashed,
            below=tuple(_below(after, verb, verbs, mention[0].strip() if mention and direct else "")),
        )
    return Reply(text.strip())


def _below(after: str, verb: str, verbs: Collection[str], mention: str) -> Iterator[str]:
    """The lines below a command that are one as well: with a slash, with the same mention of us, or with the same
    verb. What is indented, or in a block of code, is not."""
    _, *later = after.split("\n")
    code = False
    for text in later:
        code ^= text.lstrip().startswith("```")
        bare = text.translate(_DROPPED)
        if ours := bool(mention) and bare.startswith(mention):
            bare = bare[len(mention) :].lstrip()
        slashed = ours or (bare[:1] in _SLASHES and bool(bare))
        found = None if code else _VERB.match(bare.lstrip(_SLASHES) if slashed else bare)
        if found and (_verb(found) in {*verbs, FLEET} if slashed else _verb(found) == verb):
            yield f"/{bare.lstrip(_SLASHES)}".strip() if slashed else bare.strip()


def unformatted(text: str) -> str:
    """A message without the marks of code or bold around all of it, or around its first word: chats keep them when
    somebody copies a command out of a page."""
    whole = text.strip()
    for mark in _FORMATS:
        inner = whole[len(mark) : -len(mark)].strip()
        if mark == _FORMATS[0] and (named := _LANGUAGE.match(whole)):
            inner = whole[named.end() : -len(mark)].strip()
        if inner and whole.startswith(mark) and whole.endswith(mark) and mark not in inner:
            return inner
    return _FORMATTED_WORD.sub(r"\2", text, count=1) if _FORMATTED_WORD.match(text) else text


def _visible(text: str) -> str:
    """The text with its first word as it is seen: our own cards have a break in "/run", which is copied with
    it, and Chinese and Japanese keyboards offer wide letters."""
    return _FIRST_WORD.sub(lambda found: _narrow(found.group().translate(_DROPPED)), text, count=1).lstrip()


def _narrow(text: str) -> str:
    """Wide letters, and digits of any script, as we write them."""
    made = unicodedata.normalize("NFKC", text)
    return "".join(str(unicodedata.decimal(letter, letter)) for letter in made) if not made.isascii() else made


def _verb(found: re.Match[str]) -> str:
    return found.group(1).lower().replace("_", "-")


def lone_word(text: str) -> str:
    """A message of one word, in lower case, as a verb would be written; empty for other messages."""
    word = _alone(text.translate(_DROPPED).strip()).lstrip(_SLASHES).strip()
    found = _VERB.fullmatch(word)
    return _verb(found) if found else ""


def _alone(text: str) -> str:
    """A message of one word, without the quotes around it and the full stop after it; empty for other messages."""
    bare = text.strip().strip(_AROUND).rstrip(_AFTER + _AROUND)
    return bare if _VERB.fullmatch(bare.lstrip(_SLASHES).lstrip(" ")) else ""


def _addressed(after: str, threaded: bool) -> bool:
    """Whether text that starts with a verb is a command to us: "stop, wait" is not."""
    after = after.strip()
    return not after if threaded else not after.startswith((",", ":"))


def slip_of(word: str, verbs: Collection[str]) -> str:
    """The verb that a word without a slash may be a mistyped form of; empty for none. It must be much closer than
    for :func:`nearest`, since most words are no verbs."""
    close = difflib.get_close_matches(word, sorted(verb for verb in verbs if len(verb) > 2), n=1, cutoff=0.75)
    return word if word in verbs else close[0] if close else ""


def nearest(verb: str, verbs: Collection[str]) -> str:
    """The registered verb closest to ``verb``; empty when none is close."""
    starts = sorted(known for known in verbs if len(verb) >= 2 and known.startswith(verb))
    if starts:
        return starts[0]
    close = difflib.get_close_matches(verb, sorted(verbs), n=1, cutoff=0.6)
    return close[0] if close else ""


_HELP: Final = frozenset(("--help", "-help", "-h", "-?"))
_QUESTIONS: Final = frozenset(("help", "?"))


def asks_for_help(args: str, *, words: bool) -> bool:
    """Whether the arguments only ask what a command does. ``words``: they may be words for an agent."""
    said = tidy(args).lower()
    return said in _HELP or (said in _QUESTIONS and not words)


def tidy(args: str) -> str:
    """Arguments that are ids, names or numbers, as a keyboard without autocorrect would write them."""
    return _narrow(_DASHES.sub("-", args.translate(_QUOTES).translate(_DROPPED))).strip()


def words(args: str) -> list[str]:
    """:func:`tidy` arguments, split at white space, without quotes and marks around a word."""
    return [word.strip("\"'`*") or word for word in tidy(args).split()]


def headed(args: str) -> tuple[str, str]:
    """The first word, tidied, and what follows it, unchanged: at whatever white space a phone put between them."""
    first, *rest = args.split(maxsplit=1) or [""]
    return tidy(first).strip("\"'"), "".join(rest).strip()


def keyword(word: str) -> str:
    """A word that may be one of ours, as we write it: ``All.`` and ``--all`` are ``all``."""
    return word.strip(_AROUND).rstrip(_AFTER + ",;:").lstrip("-").lower()


def _field(option: str) -> str:
    """What a :class:`RunRequest` calls an option."""
    name = option.lower()
    return "machine" if name == "on" else name


def run_request(args: str) -> RunRequest:
    """Reads ``[repo=R] [on=MACHINE | @MACHINE] [agent=A] [after=TASK] [budget=LIMITS] [model=M] [wait=no]
    [needs=LABEL,…]… [lock=WHAT]… [share=WHAT]… prompt``; the prompt is kept unchanged.

    Options come before the prompt and end at the first word that is not an option, or at ``--``. ``--repo R`` is
    ``repo=R``.
    """
    found: dict[str, str] = {}
    named: dict[str, list[str]] = {"lock": [], "share": [], "needs": []}
    rest, literal = args.strip(), False
    while rest:
        flag = _FLAG.match(rest)
        if flag and not found.get(_field(flag.group(1))):
            rest = f"{flag.group(1)}={rest[flag.end() :]}"
        locked = _LOCK.match(rest)
        if locked:
            named[(locked.group(1) or locked.group(2)).lower()].append(locked.group(3).strip(_AROUND))
            rest = rest[locked.end() :].strip()
            continue
        needed = _NEEDS.match(rest)
        if needed:
            named["needs"] += "".join(needed.group(1).split()).split(",")
            rest = rest[needed.end() :].strip()
            continue
        ended = _END_OF_OPTIONS.match(rest)
        if ended:
            rest, literal = rest[ended.end() :].strip(), True
            break
        option = _OPTION.match(rest)
        if option is None:
            break
        key = "machine" if option.group(3) else _field(option.group(1))
        if found.get(key):
            break
        found[key] = tidy(option.group(3) or option.group(2)).strip("\"',;")
        rest = rest[option.end() :].strip()
    return RunRequest(
        prompt=rest,
        locks=tuple(named["lock"]),
        shares=tuple(named["share"]),
        needs=tuple(filter(None, named["needs"])),
        literal=literal,
        **found,
    )
