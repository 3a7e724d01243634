"""The dispatcher's state of one agent: slots, lease and attempts, updated by what the agent reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuectl_nb.engine.control import remote_lease_s
from queuectl_nb.engine.dask.messages import AgentStatus, Ended, LeaseRenewal, RecoveryQuery, Request, Unstarted
from queuectl_nb.engine.dask.output_reporter import SHORT_RUN_S
from queuectl_nb.engine.heartbeat import boot_clock
from queuectl_nb.model.outcome import Lost

if TYPE_CHECKING:
    from typing import Self

    from queuectl_nb.engine.dask.messages import OutputChunk, OutputRead, Response, Running
    from queuectl_nb.engine.dask.remote_run import RemoteRun
    from queuectl_nb.model.settings import Settings

__all__ = ["AgentState"]

MAX_PREFETCH = 16
"""Maximum number of jobs that wait in an agent for a slot whose jobs are short."""
RETRY_DELAY_S = 0.5
"""How long after a failed request the next one is sent."""
_LIMITS = ("output_limit", "spool_limit", "artifact_limit", "display_limit")
SENT_SETTINGS = ("timeout", "kill_grace", "max_retries", "shell", *_LIMITS)
"""The settings that runners apply."""


@dataclass(eq=False)
class AgentState:
    """One agent. Times are seconds of this host's :func:`~queuectl_nb.engine.heartbeat.boot_clock`."""

    status: AgentStatus
    """The latest status."""
    finished: list[RemoteRun]
    """Receives the attempts that have finished, with all of their output."""
    long_running: list[RemoteRun]
    """Receives the attempts that are newly reported as running."""

    clock_offset: float = float("-inf")
    """Lower bound of how far its clock is ahead of ours."""
    gone: bool = False
    """Whether the scheduler or the dask worker reported that the agent is gone."""

    runs: dict[str, RemoteRun] = field(default_factory=dict)
    """The attempts assigned to it that have not finished, by token."""
    prefetch: int = 0

    pending: Request | None = None
    """The request that is waiting for its response."""
    unconfirmed: bool = False
    """Whether the last request failed or takes long: until one succeeds, no job is sent and no lease is extended."""
    request_number: int = 0
    sent_at: float = float("-inf")
    lease_until: float = float("-inf")
    lost_at: float = 0.0
    """When everything that was sent has ended, unless the lease is extended."""
    retry_at: float = 0.0
    check_at: float = 0.0
    """When to look for leftovers again."""

    # for the next request
    unsent: list[RemoteRun] = field(default_factory=list)
    terminations: dict[str, float] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    sent_settings: Settings | None = None

    @classmethod
    def of_dead_dispatcher(
        cls, name: str, finished: list[RemoteRun], long_running: list[RemoteRun], settings: Settings
    ) -> Self:
        """Return the unknown agents of a dead dispatcher as one that is gone."""
        status = AgentStatus(name, address="", boot="", host=None, folder="", sequence=0, slots=0, clock=0.0)
        return cls(status, finished, long_running, gone=True, lost_at=boot_clock() + remote_lease_s(settings))

    @property
    def free_slots(self) -> int:
        """How many slots have no job; negative if jobs wait for a slot."""
        return self.status.slots - len(self.runs)

    @property
    def capacity(self) -> int:
        """How many more jobs may be sent."""
        if self.gone or self.unconfirmed or not self.status.slots:
            return 0
        return max(0, self.free_slots + self.prefetch)

    def update(self, status: AgentStatus) -> None:
        """Apply the status that came with an event or response."""
        self.clock_offset = max(self.clock_offset, status.clock - boot_clock())
        if status.sequence > self.status.sequence:
            self.status = status

    # ------------------------------------------------------------------ requests

    def add(self, run: RemoteRun) -> None:
        """Send a job with the next request."""
        self.unsent.append(run)
        self.runs[run.token] = run

    def terminate(self, token: str, grace_s: float) -> None:
        """Terminate an attempt with the next request."""
        if token in self.runs:
            self.terminations[token] = min(grace_s, self.terminations.get(token, grace_s))

    def _reads(self) -> list[OutputRead]:
        """Return the output to request: what is known to exist and was not received."""
        return [read for run in self.runs.values() for read in run.missing_output()]

    def recovery_query(self) -> RecoveryQuery:
        """Ask for what is missing of its attempts, now that it is gone."""
        tokens = [token for token, run in self.runs.items() if run.end is None]
        return RecoveryQuery(self.status.folder, self.status.boot, [self.status.id, *tokens], self._reads())

    def request_due(self, now: float, settings: Settings) -> bool:
        """Return whether to send a request: there is something to send, or the lease must be extended."""
        if self.pending is not None or self.gone or now < self.retry_at:
            return False
        if self.unsent or self.terminations:
            return True
        if self.runs and (self.unconfirmed or self.sent_settings != settings):
            return True
        if not all(run.complete for run in self.runs.values()):
            return True
        return bool(self.runs or self.acknowledged) and now - self.sent_at >= settings.lease / 4

    def make_request(self, now: float, settings: Settings) -> Request:
        """Return a request with everything that waits to be sent, and extend the lease from ``now``."""
        self.request_number += 1
        self.sent_at = now
        if not self.unconfirmed:
            self.lease_until = now + settings.lease
            self.lost_at = now + remote_lease_s(settings)
        for run in self.unsent:
            run.request_number = self.request_number
        self.sent_settings = settings
        self.pending = Request(
            self.request_number,
            LeaseRenewal(
                self.lease_until + self.clock_offset, {name: getattr(settings, name) for name in SENT_SETTINGS}
            ),
            jobs=[run.lease for run in self.unsent],
            prefetch=self.prefetch,
            terminations=self.terminations,
            reads=self._reads(),
            acknowledged=self.acknowledged,
        )
        self.unsent, self.terminations, self.acknowledged = [], {}, []
        return self.pending

    def on_failure(self, request: Request, retry_at: float) -> None:
        """Record that ``request`` failed, and repeat it except for its jobs, which may have arrived."""
        if self.pending is request:
            self.pending = None
            self.unconfirmed = True
            self.retry_at = retry_at
            self.terminations = {**request.terminations, **self.terminations}
            self.acknowledged = request.acknowledged + self.acknowledged

    def on_response(self, request: Request, response: Response | None) -> None:
        """Apply the response to ``request``; None if another process has the address now."""
        if self.pending is request:
            self.pending = None
        self.unconfirmed = False
        if response is None:
            self.gone = True
            missing = [run for run in self.runs.values() if run.request_number == request.number]
        else:
            self.update(response.status)
            for end in response.ended:
                self.on_end(end)
            for chunk in response.chunks:
                self.on_chunk(chunk)
            for report in response.running:
                self.on_running(report)
            there = set(response.attempts)
            sent = [run for run in self.runs.values() if 0 < run.request_number <= request.number]
            missing = [run for run in sent if run.token not in there]
        for run in missing:  # an agent ignores a request that arrives late
            self.on_end(Unstarted(run.token, "it did not arrive"))

    # ------------------------------------------------------------------ attempts

    def on_running(self, report: Running) -> None:
        """Record that an attempt runs and what it prints; stop prefetching for now."""
        run = self.runs.get(report.token)
        if run is None or run.end is not None:
            return
        run.add_output(report.sizes, report.output)
        if run.started_at is None:
            run.mark_running(report.pid, report.age_s, self.status.host)
            self.prefetch = 0
            self.long_running.append(run)

    def on_chunk(self, chunk: OutputChunk) -> None:
        """Store requested output."""
        run = self.runs.get(chunk.token)
        if run is not None:
            run.add_chunk(chunk.stream, chunk.offset, chunk.data)
            self._finish_if_complete(run)

    def on_end(self, end: Ended | Unstarted) -> None:
        """Record the end of an attempt; one that is unknown here was settled before."""
        run = self.runs.get(end.token)
        if run is None:
            self.acknowledged.append(end.token)
        elif run.end is None:
            run.finish(end, self.status.host)
            self._finish_if_complete(run)
            if isinstance(end, Ended) and end.duration_s and end.duration_s < SHORT_RUN_S:
                self.prefetch = min(MAX_PREFETCH, 2 * self.status.slots, max(1, 2 * self.prefetch))

    def _finish_if_complete(self, run: RemoteRun) -> None:
        """Finish an attempt once it has ended and all of its output has been received."""
        if run.end is not None and run.complete:
            self._finish(run)

    def _finish(self, run: RemoteRun) -> None:
        del self.runs[run.token]
        self.terminations.pop(run.token, None)
        self.acknowledged.append(run.token)
        self.finished.append(run)

    def return_unsent(self, reason: str) -> None:
        """Return the jobs that have not been sent yet, so that they can start elsewhere."""
        runs, self.unsent = self.unsent, []
        for run in runs:
            self.on_end(Unstarted(run.token, reason))

    def lose(self, *, proven: bool, only_stopped: bool = False) -> None:
        """Give up all attempts, or those that were stopped; ``proven`` means that none of their processes is left."""
        why = "died" if self.gone else "did not respond"
        name = f"dask worker {self.status.address}" if self.status.address else self.status.id
        self.return_unsent(f"its dask worker {why}")
        self.unconfirmed = True
        for run in list(self.runs.values()):
            if only_stopped and run.forced_outcome is None:
                continue
            if run.end is None:
                run.lose(Lost(name, why, not proven))
            else:
                run.note = "the rest of its output was lost with its dask worker"
            self._finish(run)
