"""Messages between dispatcher, agents and runners, and their wire format.

Dispatcher and agents run on different hosts and exchange messages through dask (msgpack). An agent and its runners
are parent and children and use a socket pair (:mod:`marshal`). Neither format knows our classes, so :func:`to_wire`
turns a message into nested lists of plain values, and :func:`from_wire` restores it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from queuectl_nb.model.attempt import Lease, Usage
from queuectl_nb.model.outcome import OUTCOME_CLASSES, Outcome

__all__ = [
    "PROTOCOL",
    "AgentStatus",
    "Ended",
    "Event",
    "LeaseRenewal",
    "OutputChunk",
    "OutputRead",
    "Recovery",
    "RecoveryQuery",
    "Request",
    "Response",
    "ResultsReady",
    "RunJob",
    "Running",
    "SlotOpened",
    "Terminate",
    "Unstarted",
    "from_wire",
    "to_wire",
]

PROTOCOL = 8
"""Version of these messages; increase it with every change."""


# ---------------------------------------------------------------------- dispatcher to agent, agent to runner


class LeaseRenewal(NamedTuple):
    """Extends the lease of everything the dispatcher has sent, and carries the current settings."""

    until: float
    """Expiry of the lease, on the clock of the agent's host."""
    settings: dict[str, Any]


class OutputRead(NamedTuple):
    """Asks for ``size`` bytes of output from ``offset``."""

    token: str
    stream: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """Everything a dispatcher has for one agent. Later requests have higher numbers."""

    number: int
    renewal: LeaseRenewal
    jobs: list[Lease] = field(default_factory=list)
    prefetch: int = 0
    """How many jobs the agent may queue in addition to those that a free slot takes at once."""
    terminations: dict[str, float] = field(default_factory=dict)
    """Seconds between SIGTERM and SIGKILL, by token."""
    reads: list[OutputRead] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    """Tokens of attempts whose end the dispatcher has received completely."""


class RunJob(NamedTuple):
    """Asks a runner to start a command."""

    lease: Lease
    renewal: LeaseRenewal


class Terminate(NamedTuple):
    """Asks a runner to end its command."""

    token: str
    grace_s: float


# ---------------------------------------------------------------------- runner to agent, agent to dispatcher


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt has been running for ``age_s`` seconds; also sent when its output has grown."""

    token: str
    pid: int | None
    age_s: float
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each stream that has grown."""
    output: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Offset and new bytes of such a stream, if they are few."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt has ended and none of its processes is left."""

    token: str
    outcome: Outcome
    usage: Usage = field(default_factory=Usage)
    pid: int | None = None
    duration_s: float | None = None
    result: str | None = None
    note: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each stream."""
    output: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """The whole output with offset 0, by stream; missing if it is large and stays in files."""
    reply: str | None = None
    """What the process of a Python job has written about its calls."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """The large values of these calls, by their SHA-256."""
    artifact_note: str | None = None
    """The artifacts that were not kept, and why."""

    @property
    def size(self) -> int:
        """Bytes of output and results that the message carries."""
        parts = [self.result or "", self.reply or "", *(data for _, data in self.output.values()), *self.blobs.values()]
        return sum(map(len, parts))


class Unstarted(NamedTuple):
    """An attempt never started on this agent and never will."""

    token: str
    reason: str


# ---------------------------------------------------------------------- agent to dispatcher


class SlotOpened(NamedTuple):
    """Dask has started the task of a slot."""

    slot: str


class ResultsReady(NamedTuple):
    """An attempt has ended whose result is too large for an event; the next response carries it."""


class AgentStatus(NamedTuple):
    """What every event and response of an agent says about it."""

    id: str
    address: str
    boot: str
    host: str | None
    folder: str
    """Where it keeps files, which outlive it."""
    sequence: int
    """Increases with each message, which shows the order of two."""
    slots: int
    clock: float


class Event(NamedTuple):
    """Sent by an agent at any time. Events are fast but may be lost; responses repeat what matters."""

    dispatcher_id: str
    status: AgentStatus
    body: SlotOpened | ResultsReady | Running | Ended | Unstarted | None
    """None if only the status has changed: a slot has ended."""


class OutputChunk(NamedTuple):
    """Answers an :class:`OutputRead`. The offset is larger where the middle was discarded; None means no more data."""

    token: str
    stream: str
    offset: int
    data: bytes | None


class Response(NamedTuple):
    """Answers a :class:`Request` with everything that the dispatcher has not acknowledged yet."""

    status: AgentStatus
    attempts: list[str]
    """Tokens of the attempts that wait or run here."""
    running: list[Running]
    ended: list[Ended | Unstarted]
    chunks: list[OutputChunk]


class RecoveryQuery(NamedTuple):
    """Asks a dask worker on the host of an agent that is gone for what the agent left."""

    folder: str
    """Empty if the agent is unknown: then nothing is killed."""
    boot: str
    """The boot and pid namespace in which its processes can be seen."""
    tokens: list[str]
    """The attempts whose ends are missing, and the id of the agent."""
    reads: list[OutputRead]
    """The missing output of attempts that have ended."""


class Recovery(NamedTuple):
    """What an agent that is gone has left."""

    gone: bool
    """Whether none of its processes is left."""
    ended: list[Ended]
    chunks: list[OutputChunk]


_CLASSES: dict[str, type] = {
    each.__name__: each
    for each in (
        *(LeaseRenewal, OutputRead, Request, RunJob, Terminate, Running, Ended, Unstarted),
        *(SlotOpened, ResultsReady, AgentStatus, Event, OutputChunk, Response, RecoveryQuery, Recovery),
        *(Lease, Usage, *OUTCOME_CLASSES.values()),
    )
}


def to_wire(value: Any) -> Any:
    """Return a message as ``[class name, *fields]``, with the messages inside it treated alike."""
    kind = type(value)
    if kind.__name__ in _CLASSES:
        fields = value if isinstance(value, tuple) else [getattr(value, name) for name in kind.__slots__]
        return [kind.__name__, *map(to_wire, fields)]
    return [to_wire(each) for each in value] if kind is list else value


def from_wire(raw: Any) -> Any:
    """Return the message that :func:`to_wire` encoded.

    A list that begins with a class name is a message. Other lists hold tokens or messages only, so text of users
    cannot be taken for one: it is in dictionaries and plain fields.
    """
    match raw:
        case [str(name), *fields] if name in _CLASSES:
            return _CLASSES[name](*map(from_wire, fields))
        case [*items]:
            return [from_wire(item) for item in items]
    return raw
