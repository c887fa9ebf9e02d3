"""The ledger's events: one envelope, one small class for each kind, one file for each subject, one codec."""

from fleet.events.codec import KINDS, Redact, decode, encode
from fleet.events.controller import ConfigReloaded, ControllerStarted, LedgerReset
from fleet.events.digests import DayIssued
from fleet.events.envelope import Event, Recorded, Refs, Source, UnknownEvent, kind_of, leaf_hash
from fleet.events.gates import (
    GateClosed,
    GateClosedV2,
    GateClosedV3,
    GateClosedV4,
    GateOpened,
    HoldReleased,
    SecretsReleased,
    VerdictGiven,
)
from fleet.events.imports import ImportDone, SessionImported
from fleet.events.landings import LandingDone, LandingIntended, LandingMissed, ReceiptIssued
from fleet.events.locks import LocksGranted, LocksRefused, LocksReleased
from fleet.events.people import PersonRevoked
from fleet.events.permissions import PermissionAsked, PermissionDecided, PermissionGranted
from fleet.events.queueing import FleetPaused, FleetResumed, TaskBumped, TaskChained
from fleet.events.reviews import ReviewAnswered, ReviewAsked, ReviewFinding
from fleet.events.schedules import ScheduleDue, ScheduleMoved, ScheduleSet
from fleet.events.sessions import (
    SPOOL_STALLED,
    LinkChanged,
    PipeEnded,
    PipeEndedV2,
    PipeStarted,
    SessionEnded,
    SessionPlaced,
    SessionPlacedV2,
    SnapshotMade,
)
from fleet.events.tasks import TaskMoved, TaskRequested
from fleet.events.turns import (
    AgentContinued,
    AgentReady,
    AgentSaid,
    AgentUnknown,
    PersonSaid,
    StallDecided,
    Taken,
    ToolCallEnded,
    ToolCallStarted,
    TurnClosed,
    TurnClosedV1,
    TurnStarted,
    UsageReported,
)

__all__ = [
    "KINDS",
    "SPOOL_STALLED",
    "AgentContinued",
    "AgentReady",
    "AgentSaid",
    "AgentUnknown",
    "ConfigReloaded",
    "ControllerStarted",
    "DayIssued",
    "Event",
    "FleetPaused",
    "FleetResumed",
    "GateClosed",
    "GateClosedV2",
    "GateClosedV3",
    "GateClosedV4",
    "GateOpened",
    "HoldReleased",
    "ImportDone",
    "LandingDone",
    "LandingIntended",
    "LandingMissed",
    "LedgerReset",
    "LinkChanged",
    "LocksGranted",
    "LocksRefused",
    "LocksReleased",
    "PermissionAsked",
    "PermissionDecided",
    "PermissionGranted",
    "PersonRevoked",
    "PersonSaid",
    "PipeEnded",
    "PipeEndedV2",
    "PipeStarted",
    "ReceiptIssued",
    "Recorded",
    "Redact",
    "Refs",
    "ReviewAnswered",
    "ReviewAsked",
    "ReviewFinding",
    "ScheduleDue",
    "ScheduleMoved",
    "ScheduleSet",
    "SecretsReleased",
    "SessionEnded",
    "SessionImported",
    "SessionPlaced",
    "SessionPlacedV2",
    "SnapshotMade",
    "Source",
    "StallDecided",
    "Taken",
    "TaskBumped",
    "TaskChained",
    "TaskMoved",
    "TaskRequested",
    "ToolCallEnded",
    "ToolCallStarted",
    "TurnClosed",
    "TurnClosedV1",
    "TurnStarted",
    "UnknownEvent",
    "UsageReported",
    "VerdictGiven",
    "decode",
    "encode",
    "kind_of",
    "leaf_hash",
]
