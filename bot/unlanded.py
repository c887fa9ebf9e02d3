"""The work of tasks that did not land, as people and scripts see it: where each tree is, and what can be done."""

from __future__ import annotations

from collections.abc import Iterator

from bot import words
from bot.cards import Action, Card, Line, Tone, footed, line, one_line
from bot.pages import Page
from fleet.events import SnapshotMade
from fleet.model import ENDS, STOPPED_EARLY, Isolation
from fleet.store.core import Tx
from fleet.store.recent import last_events
from fleet.store.states import TreeState
from fleet.store.trees import Unlanded

_GOING = {TreeState.DELETING: "being deleted", TreeState.RECLAIMING: "being reclaimed"}


def where(tree: Unlanded) -> str:
    """Where the work is: ``worktree on macbook, snapshot 1a2b3c4d5e``."""
    places = [f"worktree on {tree.session.machine}"] if tree.in_worktree else []
    if tree.row.state in _GOING:
        places.append(_GOING[tree.row.state])
    if tree.commit:
        places.append(f"snapshot {words.short(tree.commit)}")
    return ", ".join(places)


def list_card(tx: Tx, found: list[Unlanded], page: Page, isolation: Isolation) -> Card:
    """A page of the list; a button for each tree shows what can be done with it."""
    lines: list[Line] = [
        line(f"{tree.task.id} {tree.task.repo} · {tree.task.state} {_ago(tx, tree)} · ", one_line(where(tree), 60))
        for tree in found
    ]
    return Card(
        line(f"{words.count(page.total, 'change')} did not land{page.span}"),
        tuple(lines) or (line("All work has landed, or was deleted."),),
        actions=(
            *(Action(tree.task.id, f"/unlanded {tree.task.id}", once=False) for tree in found),
            *page.actions("/unlanded "),
        ),
        footer=footed(isolation),
    )


def tree_card(tx: Tx, tree: Unlanded) -> Card:
    """One tree, with what can be done with it."""
    task = tree.task
    lines = [
        line(one_line(task.prompt, 80)),
        *([line(one_line(task.why, 160))] if task.why else []),
        line(where(tree)),
        *_size(tx, tree),
        *([line("Kept: a person wanted it.")] if tree.row.kept_us else []),
    ]
    return Card(
        line(f"{task.id} · {task.state} {_ago(tx, tree)} · not landed"),
        tuple(lines),
        actions=tuple(_actions(tree)),
        footer=footed(tree.session.isolation),
        tone=Tone.WAITING,
    )


def plain(tx: Tx, tree: Unlanded) -> dict[str, object]:
    """What ``--json`` prints of it."""
    task, session = tree.task, tree.session
    return {
        "task": task.id,
        "repo": task.repo,
        "state": str(task.state),
        "why": task.why,
        "machine": session.machine,
        "worktree": session.workspace if tree.in_worktree else "",
        "base": session.base,
        "snapshot": tree.commit,
        "tree": tree.saved.tree if tree.saved else "",
        "condition": str(tree.row.state),
        "kept": bool(tree.row.kept_us),
        "ended_us": session.ended_us,
    }


def _actions(tree: Unlanded) -> Iterator[Action]:
    task = tree.task
    if tree.commit:
        yield Action("Diff", f"/diff {task.id}", once=False)
    if tree.row.state in _GOING:
        return
    if task.state not in ENDS:
        if task.state in STOPPED_EARLY:
            yield Action("Go on", f"/go {task.id}")
            yield Action("Land it", f"/judge {task.id}")
        yield Action("Stop", f"/stop {task.id}")
        return
    yield Action("Go on", f"/unlanded go {task.id}")
    yield Action("Land it", f"/unlanded land {task.id}")
    yield Action("Keep", f"/unlanded keep {task.id}")
    yield Action("Delete", f"/unlanded delete {task.id}", once=False)


def _size(tx: Tx, tree: Unlanded) -> list[Line]:
    for recorded in last_events(tx, 1, kinds=(SnapshotMade.KIND,), task=tree.task.id):
        made = recorded.event
        if isinstance(made, SnapshotMade) and made.commit == tree.commit:
            return [line(words.change(made.files, made.insertions, made.deletions))]
    return []


def _ago(tx: Tx, tree: Unlanded) -> str:
    return f"{words.about(tx.now_us() - (tree.session.ended_us or tree.task.updated_us))} ago"
