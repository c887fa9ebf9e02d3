"""The ledger's events: one envelope, one small class for each kind, one file for each subject, one codec."""

from fleet.events.budgets import BudgetGranted, BudgetNoted, BudgetReached, ProgressHalted, TaskBudgeted
from fleet.events.codec import KINDS, Redact, decode
from fleet.events.controller import ConfigReloaded, ControllerStarted, LedgerReset
from fleet.events.digests import DayIssued, RootPosted
from fleet.events.envelope import Event, Recorded, Source, UnknownEvent, kind_of, leaf_hash
from fleet.events.gates import (
    GateClosed,
    GateClosedV2,
    GateClosedV3,
    GateClosedV4,
    GateClosedV5,
    GateClosedV6,
    GateOpened,
    GateOverridden,
    GateWitnessed,
    HoldReleased,
    HoldReleasedV2,
    SecretsReleased,
    VerdictGiven,
)
from fleet.events.hooked import (
    EditedWithoutHooks,
    HookedBegan,
    HookedEnded,
    HookedJudged,
    HookedSubagent,
    HooksOff,
)
from fleet.events.imports import CallDisputed, CallUnobserved, ImportDone, SessionImported
from fleet.events.landings import (
    BaseMoved,
    FencedBy,
    LandingDone,
    LandingDoneV2,
    LandingIntended,
    LandingLeft,
    LandingMissed,
    LandingQueued,
    LandingsResumed,
    ReceiptIssued,
)
from fleet.events.locks import LocksGranted, LocksRefused, LocksReleased
from fleet.events.people import CommandGiven, CommandOutcome, PersonRevoked
from fleet.events.permissions import PermissionAsked, PermissionDecided, PermissionGranted
from fleet.events.pools import SlotMoved
from fleet.events.queueing import FleetPaused, FleetPausedV2, FleetResumed, TaskBumped, TaskChained
from fleet.events.reviews import ReviewAnswered, ReviewAsked, ReviewFinding
from fleet.events.schedules import ScheduleDue, ScheduleMoved, ScheduleSet, ScheduleSetV2, ScheduleSetV3
from fleet.events.sessions import (
    SPOOL_STALLED,
    LeftProcessEnded,
    LinkChanged,
    PipeEnded,
    PipeEndedV2,
    PipeEndedV3,
    PipeStarted,
    SessionEnded,
    SessionEndedV2,
    SessionHandedBack,
    SessionMoves,
    SessionPlaced,
    SessionPlacedV2,
    SessionTaken,
    SnapshotMade,
    SnapshotMadeV2,
)
from fleet.events.setups import SetupBroke, SetupBuilt, SetupChanged
from fleet.events.tasks import TaskForked, TaskModelChosen, TaskMoved, TaskMovedV2, TaskRequested
from fleet.events.trees import TreeDecided, TreeDecision, TreeRemoved
from fleet.events.turns import (
    AgentContinued,
    AgentReady,
    AgentSaid,
    AgentSilent,
    AgentUnknown,
    PersonSaid,
    StallDecided,
    Taken,
    ToolCallEnded,
    ToolCallEndedV2,
    ToolCallStarted,
    ToolCallStartedV2,
    TurnClosed,
    TurnClosedV1,
    TurnStarted,
    UsageReported,
)
from fleet.refs import Refs
