"""Checks a receipt against a key that the reader pinned and, on request, against the repository and the ledger.

Every check is reported, not only the first that fails. A key that came with the receipt proves nothing and is never
used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import rfc8785

from fleet.errors import Malformed, Misused, Refused
from fleet.events.merkle import STEP, Frontier, Node
from fleet.git.command import Git
from fleet.isolation import Sharing
from fleet.model import Isolation
from fleet.store import rehash
from fleet.store.core import Store
from gates.receipts import day, dsse, gate_run, issue, results, sshsig
from gates.receipts.statement import OLD_PREDICATE_TYPE, PREDICATE_TYPE, STATEMENT_TYPE

#: A receipt lists a handful of gates; one with more than this is not a receipt.
SIZE_LIMIT = 4 << 20
_PAGE = 2_000
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a receipt. ``detail`` is for a person, and may contain untrusted text."""

    name: str
    ok: bool
    detail: str


def pinned_keys(
    home: Path,
    allowed_signers: Path | None,
    keys: Sequence[str],
    receipt: Path,
    namespaces: Collection[str] = (sshsig.NAMESPACE,),
) -> tuple[sshsig.PublicKey, ...]:
    """The keys that the reader trusts: from the options, or else from ``AIRBOSS_HOME/pinned``.

    Raises ``Misused`` when there is none, or when the given file is beside the receipt.
    """
    if keys:
        return tuple(map(sshsig.PublicKey.parse, keys))
    if allowed_signers is not None:
        if allowed_signers.resolve().parent == receipt.resolve().parent:
            raise _unpinned(f"{allowed_signers} is beside the receipt, so it proves nothing", _APART)
        return sshsig.from_allowed_signers(_text(allowed_signers), namespaces)
    folder = home / "pinned"
    files = sorted(folder.glob("*.pub")) if folder.resolve() != receipt.resolve().parent else []
    if not files:
        raise _unpinned(f"{folder} has no key")
    return tuple(sshsig.PublicKey.parse(_text(file)) for file in files)


_APART: Final = (
    "get allowed_signers from the controller's operator, keep it in another directory, and name that one: "
    "--allowed-signers ~/airboss/allowed_signers"
)
_GET: Final = (
    "get the public key from the controller's operator and give it with --key 'ssh-ed25519 AAAA…', or keep it as "
    "AIRBOSS_HOME/pinned/NAME.pub"
)


def _unpinned(cause: str, hint: str = _GET) -> Misused:
    return Misused(attempted="find the pinned key", cause=cause, hint=hint)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise Misused(attempted="read the pinned key", on=str(path), cause=str(error)) from error


def check_signature(data: bytes, armoured: str, pinned: Sequence[sshsig.PublicKey]) -> Check:
    """Whether a pinned key signed exactly these bytes as a receipt."""
    reasons = []
    for key in pinned:
        reason = sshsig.verify(armoured, data, key)
        if not reason:
            return Check("signature", True, f"by the pinned key {key.fingerprint}")
        reasons.append(reason)
    return Check("signature", False, "; ".join(dict.fromkeys(reasons)))


def check_envelope(envelope: dsse.Envelope, pinned: Sequence[sshsig.PublicKey]) -> Check:
    """Whether a pinned key signed the statement in a DSSE envelope."""
    for key in pinned:
        if envelope.signed_by(key):
            return Check("signature", True, f"by the pinned key {key.fingerprint}, as DSSE")
    return Check("signature", False, "no pinned key signed the envelope")


def check_shape(data: bytes) -> tuple[Check, dict[str, Any]]:
    """Whether the bytes are a complete receipt of this version; and the statement.

    Every gate in it must have ended with ``exit 0`` on exactly the tree that landed.
    """
    try:
        statement = json.loads(data)
        canonical = rfc8785.dumps(statement)
    except (ValueError, rfc8785.CanonicalizationError, RecursionError) as error:
        return Check("statement", False, f"not a JSON statement: {error}"), {}
    check = _PROBLEMS.get(type_of(statement), _problem)
    problem = "its bytes are not in canonical form" if canonical != data else check(statement)
    if problem:
        return Check("statement", False, problem), {}
    return Check("statement", True, _about(statement)), statement


def _about(statement: dict[str, Any]) -> str:
    said = statement["predicate"]
    match type_of(statement):
        case day.DAY_TYPE:
            return f"{said['day']}, events {said['ledger']['first_seq']} to {said['ledger']['last_seq']}"
        case gate_run.GATE_TYPE:
            return "; ".join([f"{said['run']} {said['outcome']}, attempt {said['attempt']}", *shared([said])])
        case results.RESULT_TYPE:
            return f"{said['result']}: {said['url']}"
    gates = len(_gates(statement))
    named = f"{statement['subject'][0]['name']} by {gates} gate{'' if gates == 1 else 's'}"
    return "; ".join([named, *shared(_gates(statement))])


def type_of(statement: Any) -> str:
    """The type of its predicate; empty where it says none."""
    return str(statement.get("predicateType", "")) if isinstance(statement, dict) else ""


def shared(gates: Sequence[Any]) -> list[str]:
    """What a gate run of the receipt shared with other runs, by the words that its verdict has for it."""
    seen = [
        gate["isolation"] for gate in gates if isinstance(gate, dict) and isinstance(gate.get("isolation"), dict)
    ]
    open_ = [each for each in seen if (each.get("processes"), each.get("files")) != (Sharing.OWN, Sharing.OWN)]
    words = {"login": "gates-share-a-login", "supervisor": "supervisor-shares-login"}
    return [word for name, word in words.items() if any(each.get(name) != Sharing.OWN for each in open_)]


def commit_of(statement: dict[str, Any]) -> str:
    """The commit that it is about; empty for a day."""
    subject = statement["subject"][0] if statement else {}
    return str(subject.get("digest", {}).get("gitCommit", ""))


def lands(statement: dict[str, Any]) -> bool:
    """Whether it is the receipt of a landing."""
    return type_of(statement) in (PREDICATE_TYPE, OLD_PREDICATE_TYPE)


def _gates(statement: dict[str, Any]) -> list[dict[str, Any]]:
    gates: list[dict[str, Any]] = statement["predicate"]["gates"]
    return gates


def _problem(statement: Any) -> str:
    match statement:
        case {
            "_type": str(kind),
            "predicateType": str(predicate_type),
            "subject": [{"name": str(), "digest": {"gitCommit": str(subject)}}],
            "predicate": {
                "isolation": str(isolation),
                "task": {"id": str()},
                "judged": {"tree": str(judged_tree)},
                "landed": {"commit": str(commit), "tree": str(tree), "replaced": str(replaced), "ref": str()},
                "gates": [_, *_] as gates,
                "ledger": {"size": int(), "root_sha256": str(head), "first_seq": int(), "last_seq": int()},
                "witness": str(),
            },
        }:
            pass
        case _:
            return "a required field is missing"
    if kind != STATEMENT_TYPE or predicate_type not in (PREDICATE_TYPE, OLD_PREDICATE_TYPE):
        return f"it has another type ({predicate_type!r})"
    if isolation not in {str(item) for item in Isolation}:
        return f"it has an unknown isolation ({isolation!r})"
    if not all(_SHA1.fullmatch(item) for item in (commit, tree, replaced)) or not _SHA256.fullmatch(head):
        return "an object id or a root in it is malformed"
    if subject != commit:
        return f"its subject is {subject} but {commit} landed"
    if judged_tree != tree:
        return f"the judged tree {judged_tree} is not the landed one {tree}"
    return next((found for gate in gates if (found := _gate_problem(gate, tree))), "")


def _gate_problem(gate: Any, tree: str) -> str:
    match gate:
        case {
            "run": str(run),
            "outcome": "passed",
            "exit": {"how": "exited", "code": 0},
            "raw_wait_status": 0,
            "tree": str(found),
        }:
            return "" if found == tree else f"gate run {run} judged tree {found}, not the landed tree"
        case {"run": str(run), "tree": str(found), "overridden": {"by": str(), "reason": str()}}:
            return "" if found in (tree, "") else f"gate run {run} judged tree {found}, not the landed tree"
        case {"run": str(run)}:
            return f"gate run {run} did not end with exit 0"
    return "a gate run in it has no name"


async def check_repository(statement: dict[str, Any], repo: Path) -> Check:
    """Whether the repository has the landed commit with that tree, on top of what it replaced.

    Raises ``Unavailable`` when git or the repository cannot be read.
    """
    landed = statement["predicate"]["landed"]
    git = Git()
    found = await git.run(
        "cat-file",
        "commit",
        landed["commit"],
        cwd=repo,
        attempted="read the landed commit",
        on=str(repo),
        expect=(0, 128),
    )
    if found.code:
        if "dubious ownership" in found.err:
            mend = "git clone --bare it, and name your clone"
            return Check("repository", False, f"{repo} belongs to another login, so git does not read it: {mend}")
        return Check("repository", False, f"{repo} has no commit {landed['commit']}")
    head = found.out.split(b"\n\n", 1)[0].decode("utf-8", "replace").splitlines()
    tree = [line[5:] for line in head if line.startswith("tree ")]
    parents = [line[7:] for line in head if line.startswith("parent ")]
    if tree != [landed["tree"]]:
        return Check("repository", False, f"the commit has tree {tree}, the receipt says {landed['tree']}")
    if landed["replaced"] not in parents:
        return Check("repository", False, f"the commit does not follow {landed['replaced']}, which it replaced")
    return Check(
        "repository", True, f"{landed['commit'][:12]} has the judged tree and follows {landed['replaced'][:12]}"
    )


async def check_ledger(data: bytes, statement: dict[str, Any], store: Store) -> Check:
    """Whether the ledger gives this receipt again, byte for byte, and the bytes of every event up to the landing
    give the Merkle root in it. The first event that differs is named.

    Nothing else in the store is trusted: not the leaves, the indexed columns or the subtree roots.
    """
    ledger = statement["predicate"].get("ledger")
    if ledger is not None and (damage := await _rehashed(store, ledger)):
        return Check("ledger", False, damage)
    try:
        again, what = await _again(statement, store)
    except (Refused, Malformed, ValueError) as error:
        return Check("ledger", False, str(error))
    if ledger is None:  # a result: what our own statement says of the ledger
        ledger, again = json.loads(again)["predicate"]["ledger"], results.result_of(again)
        if damage := await _rehashed(store, ledger):
            return Check("ledger", False, damage)
    if again != data:
        return Check("ledger", False, f"the ledger gives another receipt for {what}")
    return Check("ledger", True, f"{ledger['size']} events hashed again, root {ledger['root_sha256'][:16]}…")


async def _rehashed(store: Store, ledger: dict[str, Any]) -> str:
    """What is wrong with the events up to this size, of this root; empty: nothing."""
    frontier, nodes = Frontier(), list[Node]()
    while frontier.size < ledger["size"]:
        upto = min(ledger["size"], frontier.size + _PAGE)
        read = await store.read(partial(rehash.page, frontier=frontier, upto=upto), long=True)
        if read.damage is not None:
            return str(read.damage)
        frontier = read.frontier
        nodes += [node for node in read.nodes if node.level == STEP]
    if frontier.root().hex() == ledger["root_sha256"]:
        return ""
    changed = await store.read(partial(rehash.first_changed_subtree, nodes=nodes), long=True)
    first, last = changed or (len(nodes) * (1 << STEP) + 1, frontier.size)
    where = f"by the subtree roots in the store, one of the events {first} to {last} was changed"
    return f"the first {frontier.size} events do not give the receipt's root; {where}"


async def _again(statement: dict[str, Any], store: Store) -> tuple[bytes, str]:
    """Our own statement as the ledger gives it now, and what it is about. Raises ``Refused``, ``Malformed`` or
    ``ValueError`` where it gives none."""
    said = statement["predicate"]
    match type_of(statement):
        case day.DAY_TYPE:
            return await day.again(store, statement), said["day"]
        case gate_run.GATE_TYPE:
            kind, name, task = "run", said["run"], said["task"]
        case results.RESULT_TYPE:
            kind, name = results.named(said["url"]) or ("", "")
            task = name.partition(".")[0]  # T1.1.1-tests
        case _:
            kind, name, task = "task", said["task"]["id"], ""
    if kind == "run":
        return await store.read(lambda tx: issue.compute_gate(tx, name, task), long=True), name
    of_type = type_of(statement) if lands(statement) else PREDICATE_TYPE
    found, _ = await store.read(lambda tx: issue.compute(tx, name, of_type), long=True)
    return found, name


_PROBLEMS: Final[dict[str, Callable[[Any], str]]] = {
    day.DAY_TYPE: day.problem,
    gate_run.GATE_TYPE: gate_run.problem,
    results.RESULT_TYPE: results.problem,
}
