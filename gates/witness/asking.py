"""Asks witnesses to sign checkpoints of our ledger. An answer is untrusted until its signature is checked."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final

from fleet.config import WitnessConfig
from fleet.errors import AirbossError, Unavailable
from fleet.store import ledger, tree
from fleet.store.core import Store
from fleet.supervise import side_by_side
from gates.receipts.checkpoint import Checkpoint
from gates.receipts.checkpoints import Checkpoints
from gates.receipts.note import NoteKey, SignedNote
from gates.witness.protocol import BODY_LIMIT, Submission

SECONDS: Final = 5.0
"""So long a witness may take; a gate waits for it."""

_TRIES: Final = 5
"""So often we may lose against other controllers of our ledger, which ask the same witnesses."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A checkpoint, and who signed it. ``note`` has the signatures; ``missing``: who did not sign, and why."""

    point: Checkpoint
    note: str
    witnesses: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Overtaken:
    """The witness has signed a later point of our ledger: another controller was faster, or our ledger is older."""

    signed: int
    size: int

    def __str__(self) -> str:
        return f"it signed {self.signed:,} events before, this ledger has {self.size:,}"


@dataclass(slots=True)
class Witnesses:
    """The witnesses of ``fleet.toml``. What each signed last is remembered only until a restart: it tells."""

    store: Store
    checkpoints: Checkpoints
    config: Callable[[], Mapping[str, WitnessConfig]]
    _known: dict[str, int] = field(default_factory=dict)
    _last: Witnessed | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def sign(self) -> Witnessed:
        """A checkpoint of the ledger's end, kept here and signed by whoever answers in time. Who waited for another
        one gets that, if it contains what was there at the call.

        Raises ``DiskFull`` or ``Unavailable`` where it cannot be kept.
        """
        size = await self.store.read(ledger.size)
        async with self._one:
            if self._last is None or self._last.point.size < size:
                self._last = await self._sign()
            return self._last

    async def _sign(self) -> Witnessed:
        for tries in range(1, _TRIES + 1):
            point, note = await self.checkpoints.keep()
            asked = dict(self.config())
            if not asked or not point.size:
                return Witnessed(point, note)
            works = [self._ask(name, each, point, note) for name, each in asked.items()]
            answers = await side_by_side(works, "ask a witness")
            beyond = max((answer.signed for answer in answers if isinstance(answer, _Overtaken)), default=0)
            if tries == _TRIES or not beyond or await self.store.read(ledger.size) < beyond:
                return await self._signed(point, note, asked, answers)
        raise AssertionError("unreachable: the last try returns")

    async def _signed(
        self,
        point: Checkpoint,
        note: str,
        asked: Mapping[str, WitnessConfig],
        answers: Sequence[SignedNote | _Overtaken | str],
    ) -> Witnessed:
        """What they answered, kept."""
        signed = {
            name: answer for name, answer in zip(asked, answers, strict=True) if isinstance(answer, SignedNote)
        }
        missing = [f"{name}: {answer}" for name, answer in zip(asked, answers, strict=True) if name not in signed]
        for reason in missing:
            log.warning("a checkpoint of %s events is not witnessed by %s", point.size, reason)
        whole = note + "".join(_line(answer, asked[name]) for name, answer in signed.items())
        if signed:
            await asyncio.to_thread(self.checkpoints.folder.put, point, whole)
        return Witnessed(point, whole, tuple(signed), tuple(missing))

    async def _ask(
        self, name: str, witness: WitnessConfig, point: Checkpoint, note: str
    ) -> SignedNote | _Overtaken | str:
        """The note with the witness's signature, or why it gave none."""
        try:
            key = NoteKey.parse(witness.key)
            answer = await self._signature(name, witness, key, point, note)
        except AirbossError as error:
            return error.cause
        if isinstance(answer, SignedNote):
            self._known[name] = point.size
        return answer

    async def _signature(
        self, name: str, witness: WitnessConfig, key: NoteKey, point: Checkpoint, note: str
    ) -> SignedNote | _Overtaken:
        old = min(self._known.get(name, 0), point.size)
        for _ in range(_TRIES):
            status, body = await _post(witness.url, await self._request(old, point, note))
            if status == HTTPStatus.OK:
                signed = SignedNote.parse(note + body)
                if signed.signed_by(key) is None:
                    raise _refused("its signature is not by its key")
                return signed
            if status != HTTPStatus.CONFLICT or not body.strip().isdigit():
                break
            known = int(body[:20])
            if known == old == point.size:
                raise _refused(f"it signed another root of {old:,} events: this ledger was written anew")
            old = known
            if old > point.size:
                return _Overtaken(old, point.size)
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise _refused(f"it signed {old:,} events that are not the start of this ledger: it was written anew")
        raise _refused(f"it answered {status}: {body.strip()[:100]!r}")

    async def _request(self, old: int, point: Checkpoint, note: str) -> Submission:
        proof: list[bytes] = []
        if 0 < old < point.size:
            proof = await self.store.read(partial(tree.consistency, old=old, new=point.size), long=True)
        return Submission(old, tuple(proof), note)


async def latest(url: str, origin: str) -> SignedNote | None:
    """What a witness of ours signed last for a log; ``None``: nothing. Raises ``Unavailable`` or ``Malformed``."""
    named = hashlib.sha256(origin.encode()).hexdigest()
    status, body = await _exchange("GET", f"{url.rstrip('/')}/{named}/checkpoint", b"")
    if status == HTTPStatus.NOT_FOUND:  # also of a witness that shows nothing
        return None
    if status != HTTPStatus.OK:
        raise _refused(f"it answered {status}")
    return SignedNote.parse(body)


async def _post(url: str, request: Submission) -> tuple[int, str]:
    return await _exchange("POST", f"{url.rstrip('/')}/add-checkpoint", request.text.encode())


async def _exchange(method: str, url: str, body: bytes) -> tuple[int, str]:
    import aiohttp  # takes long, and few judgements need it

    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=SECONDS), trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.request(method, url, data=body or None, allow_redirects=False) as response,
        ):
            data = await response.content.read(BODY_LIMIT)
            return response.status, data.decode()
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _refused(f"it does not answer: {error or type(error).__name__}") from error


def _line(signed: SignedNote, witness: WitnessConfig) -> str:
    """The witness's own line, and no other that it may have added."""
    return signed.line_of(NoteKey.parse(witness.key))


def _refused(cause: str) -> Unavailable:
    return Unavailable(attempted="have a checkpoint witnessed", cause=cause)
