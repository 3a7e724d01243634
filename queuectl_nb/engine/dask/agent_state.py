"""What a dispatcher knows about one agent: its slots, its attempts, and until when its lease lasts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuectl_nb.engine.dask.messages import LeaseRenewal, RecoveryQuery, Request
from queuectl_nb.engine.remote_lease import boot_clock, remote_lease_s

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.messages import AgentStatus, OutputRead
    from queuectl_nb.engine.dask.remote_run import RemoteRun
    from queuectl_nb.model.settings import Settings

__all__ = ["MAX_PREFETCH", "AgentState"]

MAX_PREFETCH = 16
"""Most jobs that wait in an agent for a slot whose jobs are short."""


@dataclass(eq=False)
class AgentState:
    """One agent. Times are seconds of this host's :func:`~queuectl_nb.engine.remote_lease.boot_clock`."""

    id: str
    address: str
    boot: str = ""
    host: str = ""
    folder: str = ""
    slots: int = 0
    sequence: int = 0
    """Of the latest status."""
    clock_offset: float = float("-inf")
    """Lower bound of how far its clock is ahead of ours."""
    gone: bool = False
    """Whether the scheduler or the dask worker reported that the agent is gone."""

    runs: dict[str, RemoteRun] = field(default_factory=dict)
    """The attempts assigned to it that have not ended, by token."""
    prefetch: int = 0

    pending: Request | None = None
    """The request that is waiting for its response."""
    unconfirmed: bool = False
    """Whether the last request failed. Until one succeeds its lease is not extended and no job is sent."""
    slow: bool = False
    """Whether the pending request takes long. Until it is answered no job is sent."""
    request_number: int = 0
    sent_at: float = float("-inf")
    lease_until: float = float("-inf")
    lost_at: float = 0.0
    """When everything that was sent has ended, unless the lease is extended."""
    forward_at: float = 0.0
    retry_at: float = 0.0
    check_at: float = 0.0
    """When to look for leftovers again."""

    # for the next request
    unsent: list[RemoteRun] = field(default_factory=list)
    terminations: dict[str, float] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)

    @property
    def free_slots(self) -> int:
        """How many slots have no job; negative if jobs wait for a slot."""
        return self.slots - len(self.runs)

    @property
    def capacity(self) -> int:
        """How many more jobs may be sent."""
        if self.gone or self.unconfirmed or self.slow or not self.slots:
            return 0
        return max(0, self.free_slots + self.prefetch)

    @property
    def reads(self) -> list[OutputRead]:
        """The output to request: what is known to exist and was not received."""
        return [read for run in self.runs.values() if not run.complete for read in run.missing_output()]

    def recovery_query(self) -> RecoveryQuery:
        """Ask for what is missing of its attempts, now that it is gone."""
        tokens = [token for token, run in self.runs.items() if run.end is None]
        return RecoveryQuery(self.folder, self.boot, [self.id, *tokens], self.reads)

    def update(self, status: AgentStatus) -> None:
        """Apply the status that came with an event or response."""
        self.clock_offset = max(self.clock_offset, status.clock - boot_clock())
        self.boot, self.host, self.folder = status.boot, status.host, status.folder
        if status.sequence > self.sequence:
            self.sequence, self.slots = status.sequence, status.slots

    def request_due(self, now: float, lease_s: float, *, changed: bool) -> bool:
        """Return whether to send a request: there is something to send, or the lease must be extended."""
        if self.pending is not None or self.gone:
            return False
        if changed and self.runs:
            return True
        if now < self.retry_at:
            return False
        if self.unsent or self.terminations or (self.unconfirmed and self.runs):
            return True
        if not all(run.complete for run in self.runs.values()):
            return True
        return bool(self.runs or self.acknowledged) and now - self.sent_at >= lease_s / 4

    def next_due_at(self, lease_s: float) -> float | None:
        """Return when a request is due or the agent is lost; None if there is nothing to wait for."""
        if not self.runs and not self.acknowledged:
            return None
        if self.gone:
            return min(self.lost_at, self.check_at) if self.runs else None
        if self.pending is not None:
            return self.lost_at if self.runs else None
        return self.retry_at if self.unconfirmed else max(self.retry_at, self.sent_at + lease_s / 4)

    def make_request(self, settings: Settings, *, now: float, changed: bool) -> Request:
        """Return a request with everything that waits to be sent, and extend the lease from ``now``."""
        self.request_number += 1
        self.sent_at = now
        if not self.unconfirmed:
            self.lease_until = now + settings.lease
            self.lost_at = now + remote_lease_s(settings)
        forward = changed or now >= self.forward_at
        if forward:
            self.forward_at = now + settings.lease / 4
        names = ("timeout", "kill_grace", "spool_limit", "max_retries")
        for run in self.unsent:
            run.request_number = self.request_number
        self.pending = Request(
            self.request_number,
            LeaseRenewal(self.lease_until + self.clock_offset, {name: getattr(settings, name) for name in names}),
            forward,
            jobs=[run.lease for run in self.unsent],
            prefetch=self.prefetch,
            terminations=self.terminations,
            reads=self.reads,
            acknowledged=self.acknowledged,
        )
        self.unsent, self.terminations, self.acknowledged = [], {}, []
        return self.pending

    def on_response(self, request: Request) -> None:
        """Record that ``request`` was answered."""
        if self.pending is request:
            self.pending = None
        self.unconfirmed = self.slow = False

    def on_failure(self, request: Request, now: float, pause_s: float) -> None:
        """Record that ``request`` failed, and repeat it except for its jobs, which may have arrived."""
        if self.pending is not request:
            return
        self.pending = None
        self.unconfirmed, self.slow = True, False
        self.retry_at = now + pause_s
        self.terminations = {**request.terminations, **self.terminations}
        self.acknowledged = request.acknowledged + self.acknowledged
        self.forward_at = 0.0

    def remove_run(self, token: str) -> None:
        """Forget an attempt that is over."""
        self.runs.pop(token, None)
        self.terminations.pop(token, None)
