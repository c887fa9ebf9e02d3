"""Values of the store's columns that have a fixed set: kinds and states of rows."""

from __future__ import annotations

from enum import StrEnum


class ApprovalKind(StrEnum):
    """What a question to a person is about."""

    PERMISSION = "permission"
    HOLD = "hold"
    STALL = "stall"


class BlobKind(StrEnum):
    """What a file is that controllers share."""

    COMMIT = "commit"  # a pack with a commit that we made, and what the repository lacks of what it reaches
    GATE_OUTPUT = "gate-output"
    REVIEW = "review"
    CHAT_FILE = "chat-file"  # what a person sent, or a document of ours
    LARGE_FILE = "large-file"  # an object of Git LFS
    RECEIPT = "receipt"  # of a day; those of tasks and gate runs are made again from the ledger


class ControllerRole(StrEnum):
    """What a controller was when it was last seen."""

    LEADS = "leads"
    STANDS_BY = "stands-by"
    SHARES = "shares"  # it leads tasks that the one that leads gives it, and stands by


class HaltCause(StrEnum):
    """Why a task was halted before it was done, until a person decides."""

    BUDGET = "budget"
    REPEATS = "repeats"  # the same tool call again and again
    SAME_FAILURE = "same-failure"  # the same gates failed again, on the same tree
    BY_HAND = "by-hand"  # a person takes over


class TakeoverState(StrEnum):
    """How far a person's work by hand is. Each step is a state, so that it can go on."""

    WANTED = "wanted"  # the agent is to step aside
    STARTING = "starting"  # its own interface is about to start
    OPEN = "open"  # it runs
    ENDING = "ending"  # somebody wants it to end
    ENDED = "ended"  # it has ended; what follows has not begun
    OVER = "over"


class ProcessKind(StrEnum):
    """What a session's process is."""

    AGENT = "agent"
    INTERFACE = "interface"  # the agent's own, in which a person worked by hand


class AfterHand(StrEnum):
    """What follows when a person has finished their work by hand."""

    GO = "go"  # the agent continues
    JUDGE = "judge"  # the gates judge the work
    ASK = "ask"  # a person is asked


class SlotState(StrEnum):
    """How far a slot of a pool is."""

    ASKED = "asked"  # its provider is asked for it
    UP = "up"  # it is a machine of the fleet
    LOST = "lost"  # it was taken away while it was one
    RELEASING = "releasing"  # its provider is asked to end it
    GONE = "gone"  # its provider said that it has ended


class ApprovalScope(StrEnum):
    """How far a yes goes."""

    ONCE = ""
    SESSION = "session"


class TreeState(StrEnum):
    """Where the work of a task that did not land is. Each step of a removal is a state, so that it can go on."""

    HERE = "here"  # in its worktree, as the task left it
    EMPTY = "empty"  # the worktree is proven to equal its base
    RECLAIMING = "reclaiming"
    RECLAIMED = "reclaimed"  # only the controller's snapshot is left
    DELETING = "deleting"
    DELETED = "deleted"


class MergeState(StrEnum):
    """How far the move of a session onto a newer base is. Each step is a state, so that it can go on."""

    RECORDED = "recorded"  # the worktree may be on either base
    MOVED = "moved"  # worktree and session are on the newer base
    TOLD = "told"  # the agent has read what to do


class PlaceState(StrEnum):
    """How far a change in the landing queue is. All but the first are about the base that it was merged with."""

    JOINED = "joined"  # not merged yet
    MERGED = "merged"  # its verdict is not there yet
    PASSED = "passed"
    NOT_PASSED = "not-passed"
    CONFLICT = "conflict"


class InboxState(StrEnum):
    """Whether an update's effect is committed, and how it ended."""

    PENDING = "pending"
    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"


class OutboxKind(StrEnum):
    """A new message, or a change of one."""

    PUT = "put"
    EDIT = "edit"


class OutboxState(StrEnum):
    """How far a row's delivery is."""

    WAITING = "waiting"
    IN_FLIGHT = "in_flight"
    DELIVERED = "delivered"
    GAVE_UP = "gave_up"
