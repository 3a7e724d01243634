"""The dispatcher's counterpart inside a dask worker: handles its requests and runs its jobs in slots.

A slot is a dask task, so it occupies a thread of the dask worker, in which it runs one job after another. A job is sent
to one agent, once, in a request, and only that agent can return it unstarted. So neither the death nor a second run of
a *task* starts an *attempt* twice. The end of an attempt, reported by an event, is repeated in every response until the
dispatcher acknowledges it: events are fast, responses are reliable.
"""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine.dask.archive import ARCHIVE, pack
from queuectl_nb.engine.dask.messages import (
    AgentStatus,
    Ended,
    Event,
    LeaseRenewal,
    Response,
    ResultsReady,
    RunJob,
    Running,
    SlotOpened,
    Terminate,
    Unstarted,
)
from queuectl_nb.engine.dask.recovery import KEEP_S, create_folder, kill_leftovers, load_end, read_chunk, remove_attempt
from queuectl_nb.engine.dask.runner_client import RunnerPool
from queuectl_nb.engine.heartbeat import boot_clock, boot_id, job_host
from queuectl_nb.model.outcome import Lost
from queuectl_nb.store.artifact_folder import take_left
from queuectl_nb.store.artifacts import artifact_dir
from queuectl_nb.store.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.engine.dask.messages import Request
    from queuectl_nb.engine.dask.runner_client import RunnerClient
    from queuectl_nb.model.attempt import Lease

__all__ = ["Agent"]

SLOT_IDLE_S = 1.0
"""How long a slot waits for a job before it returns its thread to dask."""
SLOT_LIFETIME_S = 10.0
"""Age after which a slot ends between two jobs, so that dask can give the thread to others."""
MAX_EVENT_BYTES = 64 * 1024
"""Larger results are fetched with the next request."""
FORWARD_INTERVAL_S = 0.5
"""How often runners get the renewed lease: a quarter of the shortest one."""
CLEANUP_TIMEOUT_S = 3.0
"""How long to try to kill what a dead runner left."""


@dataclass
class _Attempt:
    """An attempt that the dispatcher has sent and not acknowledged."""

    lease: Lease
    taken: bool = False
    """Whether a slot runs it; until then it waits for one."""
    runner: RunnerClient | None = None
    pid: int | None = None
    started_at: float | None = None
    """On the boot clock; None unless it was reported as running."""
    grace_s: float | None = None
    """Seconds between SIGTERM and SIGKILL, once it is to be terminated."""
    end: Ended | Unstarted | None = None


class Agent:
    """The agent of one dispatcher in one dask worker. Its methods may be called from any thread."""

    def __init__(
        self, dispatcher_id: str, send_event: Callable[[Event], None], folder: str, db: str, address: str
    ) -> None:
        """Keep files in a new folder inside ``folder``; ``address`` is that of the dask worker."""
        self.id = os.urandom(16).hex()
        self.dispatcher_id = dispatcher_id
        self.address = address
        self.folder, self._lock = create_folder(folder, self.id)
        self._runners = RunnerPool(self.folder, db, self.id)
        self._boot = boot_id()
        self._send_event = send_event
        self._changed = threading.Condition()
        self._slots = 0
        self._attempts: dict[str, _Attempt] = {}
        self._renewal = LeaseRenewal(0.0, {})
        self._forward_at = 0.0
        self._request_number = 0
        self._sequence = 0

    # ------------------------------------------------------------------ slots

    def run_slot(self, slot: str) -> None:
        """Run jobs on the calling thread until none has arrived for a while."""
        with self._changed:
            self._slots += 1
            self._emit(SlotOpened(slot))
        deadline = boot_clock() + SLOT_LIFETIME_S
        while (attempt := self._next_attempt(deadline)) is not None:
            self._run(attempt)

    def _next_attempt(self, deadline: float) -> _Attempt | None:
        """Wait for a job and take it; close the slot and return None if it is time to leave."""
        with self._changed:
            idle_until = boot_clock() + SLOT_IDLE_S
            while True:
                now = boot_clock()
                if now >= self._renewal.until:
                    self._return_waiting("the lease of its dispatcher has expired")
                waiting = self._waiting()
                if now >= deadline or (not waiting and now >= idle_until):
                    break
                if waiting:
                    waiting[0].taken = True
                    return waiting[0]
                self._changed.wait(idle_until - now)
            self._slots -= 1
            if not self._slots:
                self._return_waiting("no slot was left")
            self._emit(None)  # only the status: a slot was closed
        return None

    def _run(self, attempt: _Attempt) -> None:
        """Run one job with a runner and report how it ended."""
        token = attempt.lease.token
        try:
            runner = self._runners.take()
        except OSError as error:
            self._report(attempt, Unstarted(token, f"no process could be started there: {error.strerror}"))
            return
        with self._changed:
            attempt.runner = runner
            unwanted = attempt.grace_s is not None
        end = Unstarted(token, "it was stopped before it started") if unwanted else self._monitor(attempt, runner)
        if end is not None:
            self._runners.give(runner)
            self._report(attempt, end)
            return
        runner.stop()
        gone = kill_leftovers(self.folder, [runner.name], [token], CLEANUP_TIMEOUT_S)
        self._report(attempt, load_end(self.folder, token) or self._lost(token, runner.name, gone=gone))
        runner.close()

    def _lost(self, token: str, runner: str, *, gone: bool) -> Ended:
        """Return the end of an attempt whose runner died, with its artifacts if none of its processes is left."""
        kept = None
        if gone:
            limit = self._renewal.settings.get("artifact_limit", 0)
            kept = pack(self.folder, token, take_left(self.folder, artifact_dir(self.folder, runner), token, limit))
        end = Ended(token, Lost("its runner", "died", not gone), artifact_note=kept.note if kept else None)
        for stream in ("metrics", ARCHIVE):
            end.sizes[stream] = Spool(Path(self.folder)).size(token, stream)
        return end

    def _monitor(self, attempt: _Attempt, runner: RunnerClient) -> Ended | Unstarted | None:
        """Let the runner run a job, forward its messages and return the last one; None if the runner died."""
        for message in runner.run(RunJob(attempt.lease, self._renewal)):
            if isinstance(message, Ended | Unstarted):
                return message
            with self._changed:
                if isinstance(message, Running):
                    attempt.pid, attempt.started_at = message.pid, boot_clock() - message.age_s
                    if len(self._unfinished()) - len(self._waiting()) == self._slots:
                        self._return_waiting("the job before it takes long")
                self._emit(message)
        return None

    # ------------------------------------------------------------------ attempts

    def _unfinished(self) -> list[_Attempt]:
        """Return the attempts that wait or run, in the order in which they arrived."""
        return [attempt for attempt in self._attempts.values() if attempt.end is None]

    def _waiting(self) -> list[_Attempt]:
        return [attempt for attempt in self._unfinished() if not attempt.taken]

    def _return_waiting(self, reason: str) -> None:
        """Return all waiting jobs unstarted."""
        for attempt in self._waiting():
            self._report(attempt, Unstarted(attempt.lease.token, reason))

    def _report(self, attempt: _Attempt, end: Ended | Unstarted) -> None:
        """Emit the end of an attempt and keep it until the dispatcher acknowledges it."""
        is_large = isinstance(end, Ended) and end.size > MAX_EVENT_BYTES
        with self._changed:
            attempt.end = end
            self._emit(ResultsReady() if is_large else end)

    def _emit(self, body: Any) -> None:
        self._send_event(Event(self.dispatcher_id, self._status(), body))

    def _status(self) -> AgentStatus:
        self._sequence += 1
        identity = (self.id, self.address, self._boot, job_host(), self.folder)
        return AgentStatus(*identity, self._sequence, self._slots, boot_clock())

    @property
    def abandoned(self) -> bool:
        """Whether no slot is open and the dispatcher has been silent for long."""
        return not self._slots and boot_clock() >= self._renewal.until + KEEP_S

    def remove_files(self) -> None:
        """Remove the files of an agent that is abandoned."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    # ------------------------------------------------------------------ requests

    def handle_request(self, request: Request) -> Response:
        """Carry out a request without blocking and return the response.

        A request that arrives after a later one is ignored, so that its jobs can be considered lost.
        """
        forward, running = False, []
        with self._changed:
            if request.number > self._request_number:
                self._request_number = request.number
                forward = self._must_forward(request.renewal)
                self._renewal = request.renewal
                for token in request.acknowledged:
                    self._forget(token)
                self._accept(request.jobs, request.prefetch)
                for token, grace in request.terminations.items():
                    self._terminate(token, grace)
                running = [(attempt, attempt.runner) for attempt in self._unfinished() if attempt.runner is not None]
                self._changed.notify_all()
        for attempt, runner in running:
            if forward:
                runner.send(request.renewal)
            if attempt.grace_s is not None:  # repeated, since a runner may miss a message
                runner.send(Terminate(attempt.lease.token, attempt.grace_s))
        chunks = [read_chunk(self.folder, read) for read in request.reads]
        with self._changed:
            now = boot_clock()
            return Response(
                self._status(),
                attempts=[attempt.lease.token for attempt in self._unfinished()],
                running=[
                    Running(attempt.lease.token, attempt.pid, now - attempt.started_at)
                    for attempt in self._unfinished()
                    if attempt.started_at is not None
                ],
                ended=[attempt.end for attempt in self._attempts.values() if attempt.end is not None],
                chunks=chunks,
            )

    def _must_forward(self, renewal: LeaseRenewal) -> bool:
        """Return whether the runners must have this renewal: it shortens the lease, or they have had none for long."""
        now, known = boot_clock(), self._renewal
        if now < self._forward_at and renewal.settings == known.settings and renewal.until >= known.until:
            return False
        self._forward_at = now + FORWARD_INTERVAL_S
        return True

    def _forget(self, token: str) -> None:
        """Drop what is kept of an attempt whose end the dispatcher has; terminate one that it has given up."""
        attempt = self._attempts.get(token)
        if attempt is not None and attempt.taken and attempt.end is None:
            attempt.grace_s = 0.0
            return
        self._attempts.pop(token, None)
        remove_attempt(self.folder, token)

    def _accept(self, jobs: list[Lease], prefetch: int) -> None:
        """Accept as many jobs as there are free slots, plus ``prefetch``; return the others."""
        capacity = self._slots - len(self._unfinished()) + (prefetch if self._slots else 0)
        for number, lease in enumerate(jobs):
            attempt = self._attempts[lease.token] = _Attempt(lease)
            if number >= capacity:
                self._report(attempt, Unstarted(lease.token, "no slot was free"))

    def _terminate(self, token: str, grace_s: float) -> None:
        """Mark an attempt to be terminated, or return it unstarted if it waits."""
        if (attempt := self._attempts.get(token)) is not None:
            attempt.grace_s = grace_s
            if not attempt.taken and attempt.end is None:
                self._report(attempt, Unstarted(token, "it was stopped before it started"))
