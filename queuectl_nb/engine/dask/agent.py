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
from collections import deque
from typing import TYPE_CHECKING, Any

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.dask.messages import (
    AgentStatus,
    Ended,
    Event,
    LeaseRenewal,
    OutputChunk,
    Response,
    ResultsReady,
    RunJob,
    Running,
    SlotClosed,
    SlotOpened,
    Terminate,
    Unstarted,
)
from queuectl_nb.engine.dask.recovery import create_folder, kill_leftovers, load_end, read_chunk, remove_attempt
from queuectl_nb.engine.dask.runner_pool import RunnerPool
from queuectl_nb.engine.remote_lease import boot_clock
from queuectl_nb.model.outcome import Lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from queuectl_nb.engine.dask.messages import OutputRead, Request
    from queuectl_nb.engine.dask.runner_pool import RunnerClient
    from queuectl_nb.model.attempt import Lease

__all__ = ["Agent"]

SLOT_IDLE_S = 1.0
"""How long a slot waits for a job before it returns its thread to dask."""
SLOT_LIFETIME_S = 10.0
"""Age after which a slot ends between two jobs, so that dask can give the thread to others."""
MAX_EVENT_BYTES = 64 * 1024
"""Larger results are fetched with the next request."""
ABANDONED_AFTER_S = 600.0
"""How long after the end of its lease an agent without slots is kept."""
CLEANUP_TIMEOUT_S = 3.0
"""How long to try to kill what a dead runner left."""


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
        self.runners = RunnerPool(self.folder, db, self.id)
        self._boot = heartbeat.boot_id()
        self._send_event = send_event
        self._changed = threading.Condition()
        self._slots = 0
        self._backlog: deque[Lease] = deque()
        self._active: dict[str, RunnerClient | None] = {}
        """The runner of each attempt that a slot has taken; None until it is known."""
        self._running: dict[str, tuple[int | None, float]] = {}
        """Pid and start, on the boot clock, of the attempts reported as running."""
        self._terminations: dict[str, float] = {}
        """Grace of the attempts to terminate. Repeated, since a runner may miss a message."""
        self._ended: dict[str, Ended | Unstarted] = {}
        self._folders: dict[str, str] = {}
        """Where the files of each attempt are that is running or has ended."""
        self._renewal = LeaseRenewal(0.0, {})
        self._request_number = 0
        self._sequence = 0

    # ------------------------------------------------------------------ slots

    def run_slot(self, slot: str) -> None:
        """Run jobs on the calling thread until none has arrived for a while."""
        with self._changed:
            self._slots += 1
            self._emit(SlotOpened(slot))
        deadline = boot_clock() + SLOT_LIFETIME_S
        while (lease := self._next_job(deadline)) is not None:
            self._run(lease)

    def _next_job(self, deadline: float) -> Lease | None:
        """Wait for a job and return it; close the slot and return None if it is time to leave."""
        with self._changed:
            idle_until = boot_clock() + SLOT_IDLE_S
            while True:
                now = boot_clock()
                if now >= self._renewal.until:
                    self._return_backlog("the lease of its dispatcher has expired")
                if now >= deadline or (not self._backlog and now >= idle_until):
                    break
                if self._backlog:
                    lease = self._backlog.popleft()
                    self._active[lease.token] = None
                    return lease
                self._changed.wait(idle_until - now)
            self._slots -= 1
            last = not self._slots
            if last:
                self._return_backlog("no slot was left")
            self._emit(SlotClosed())
            needed = list(self._folders.values())
        if last:
            self.runners.close_idle(needed)
        return None

    def _run(self, lease: Lease) -> None:
        """Run one job and report how it ended."""
        token = lease.token
        try:
            runner = self.runners.take()
        except OSError as error:
            self._finish(Unstarted(token, f"no process could be started there: {error.strerror}"))
            return
        with self._changed:
            self._active[token] = runner
            unwanted = token in self._terminations
        end = Unstarted(token, "it was stopped before it started") if unwanted else self._monitor(lease, runner)
        if end is None:
            runner.close()
            gone = kill_leftovers([token], [runner.folder], CLEANUP_TIMEOUT_S)
            end = load_end(runner.folder, token) or Ended(token, Lost("its runner", "died", not gone))
            self.runners.close(runner)
        else:
            self.runners.give_back(runner)
        self._finish(end, runner.folder if isinstance(end, Ended) else None)

    def _monitor(self, lease: Lease, runner: RunnerClient) -> Ended | Unstarted | None:
        """Have the runner run a job, forward its messages and return the last one; None if the runner died."""
        for message in runner.run(RunJob(lease, self._renewal)):
            if isinstance(message, Ended | Unstarted):
                return message
            with self._changed:
                if isinstance(message, Running):
                    self._running[lease.token] = (message.pid, boot_clock() - message.age_s)
                    self._folders[lease.token] = runner.folder
                    if self._slots == len(self._active):
                        self._return_backlog("the job before it takes long")
                self._emit(message)
        return None

    def _finish(self, end: Ended | Unstarted, folder: str | None = None) -> None:
        """Report the end of an attempt; ``folder`` has its end and the output that is still to be read."""
        token = end.token
        with self._changed:
            for known in (self._active, self._terminations, self._running, self._folders):
                known.pop(token, None)
            if folder is not None:
                self._folders[token] = folder
            self._report(end)

    def _return_backlog(self, reason: str) -> None:
        """Return all jobs of the backlog unstarted."""
        while self._backlog:
            self._report(Unstarted(self._backlog.popleft().token, reason))

    def _report(self, end: Ended | Unstarted) -> None:
        """Emit the end of an attempt and keep it until the dispatcher acknowledges it."""
        self._ended[end.token] = end
        size = 0
        if isinstance(end, Ended):
            size = len(end.result or "") + sum(len(data) for _, data in end.output.values())
        self._emit(end if size <= MAX_EVENT_BYTES else ResultsReady())

    def _emit(self, body: Any) -> None:
        self._send_event(Event(self.dispatcher_id, self._status(), body))

    def _status(self) -> AgentStatus:
        self._sequence += 1
        host = heartbeat.host_name()
        identity = (self.id, self.address, self._boot, host, self.folder)
        return AgentStatus(*identity, self._sequence, self._slots, boot_clock())

    @property
    def abandoned(self) -> bool:
        """Whether no slot is open and the dispatcher has been silent for long."""
        return not self._slots and boot_clock() >= self._renewal.until + ABANDONED_AFTER_S

    def remove_files(self) -> None:
        """Remove the files of an agent that is abandoned."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    # ------------------------------------------------------------------ requests

    def handle_request(self, request: Request) -> Response:
        """Carry out a request without blocking and return the response.

        A request that arrives after a later one is ignored, so that its jobs can be considered lost.
        """
        messages: list[tuple[RunnerClient | None, Any]] = []
        with self._changed:
            if request.number > self._request_number:
                self._request_number = request.number
                self._renewal = request.renewal
                for token in request.acknowledged:
                    self._forget(token)
                self.runners.remove_closed(self._folders.values())
                self._accept(request.jobs, request.prefetch)
                terminations = dict(request.terminations)
                if request.forward:
                    terminations = {**self._terminations, **terminations}
                    messages += [(runner, self._renewal) for runner in self._active.values()]
                for token, grace in terminations.items():
                    messages.append((self._terminate(token, grace), Terminate(token, grace)))
                self._changed.notify_all()
        for runner, message in messages:
            if runner is not None:
                runner.send(message)
        return self._respond(request.reads)

    def _terminate(self, token: str, grace: float) -> RunnerClient | None:
        """Return the runner that must end an attempt; one in the backlog is returned unstarted."""
        if token in self._active:
            self._terminations[token] = grace
            return self._active[token]
        self._return_job(token, "it was stopped before it started")
        return None

    def _accept(self, jobs: list[Lease], prefetch: int) -> None:
        """Queue as many jobs as there are free slots, plus ``prefetch``; return the others."""
        capacity = self._slots - len(self._active) - len(self._backlog) + (prefetch if self._slots else 0)
        for number, lease in enumerate(jobs):
            self._backlog.append(lease)
            if number >= capacity:
                self._return_job(lease.token, "no slot was free")

    def _return_job(self, token: str, reason: str) -> None:
        """Return a job unstarted if it is in the backlog."""
        for lease in self._backlog:
            if lease.token == token:
                self._backlog.remove(lease)
                self._report(Unstarted(token, reason))
                return

    def _forget(self, token: str) -> None:
        """Drop what is kept of an attempt that the dispatcher has acknowledged."""
        self._ended.pop(token, None)
        if (folder := self._folders.pop(token, None)) is not None:
            remove_attempt(folder, token)

    def _respond(self, reads: list[OutputRead]) -> Response:
        chunks = []
        for read in reads:
            folder = self._folders.get(read.token)
            empty = OutputChunk(read.token, read.stream, read.offset, None)
            chunks.append(empty if folder is None else read_chunk(folder, read))
        with self._changed:
            now = boot_clock()
            return Response(
                self._status(),
                attempts=[*(lease.token for lease in self._backlog), *self._active],
                running=[Running(token, pid, now - started) for token, (pid, started) in self._running.items()],
                ended=list(self._ended.values()),
                chunks=chunks,
            )
