"""A dispatcher: a worker whose jobs run on dask, many at a time.

It claims only as many jobs as can start now; the others stay ``pending`` in the queue, in order. One transaction
records all attempts that have ended and claims a job for each slot that has become free.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.collect import add_reply
from queuectl_nb.engine.dask.dispatch_table import read_dispatched
from queuectl_nb.engine.dask.messages import Ended
from queuectl_nb.engine.outcome_journal import lock_journal, read_journal
from queuectl_nb.model.attempt import DISK_FULL_NOTE, Ending
from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import Busy, QueuectlError
from queuectl_nb.model.outcome import Cancelled
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.claims import Claims, StartedAttempt
from queuectl_nb.store.output import limit_files

if TYPE_CHECKING:
    from queuectl_nb.engine.dask.dispatch_table import DispatchTable
    from queuectl_nb.engine.dask.executor import DaskExecutor
    from queuectl_nb.engine.dask.remote_run import RemoteRun
    from queuectl_nb.engine.worker_core import WorkerCore
    from queuectl_nb.model.attempt import Lease

__all__ = ["Dispatcher", "take_over"]

JOURNAL_LOCK_TIMEOUT_S, JOURNAL_LOCK_INTERVAL_S = 5.0, 0.02
"""How long, and how often, to try to lock the journal of a dead dispatcher: a rescuer may hold it."""
COUNT_INTERVAL_S = 0.02
"""Minimum interval between counts of ready jobs."""
UNSTARTED_PAUSE_S = 0.02
"""Pause after a job came back unstarted: its agent may be overloaded."""
MAX_CLAIMS = 256
"""Maximum number of jobs claimed in one transaction."""


class Dispatcher:
    """Runs jobs elsewhere until it is stopped or the queue is drained."""

    def __init__(self, core: WorkerCore, executor: DaskExecutor) -> None:
        """Run jobs with ``executor``."""
        self.core = core
        self.buffer = core.buffer
        self.control = core.control
        self.executor = executor
        self.in_flight: dict[str, RemoteRun] = {}
        """Attempts sent and not collected yet, by token."""
        self.unrecorded_starts: list[RemoteRun] = []
        """Long-running attempts whose pid and host are not in the database yet."""
        self.may_have_work = True
        """Whether a claim may find a job."""
        self.ready_jobs = 0
        """Number of jobs that could start now, at the last count."""
        self.count_at = 0.0
        self._stopped_as: tuple[str, bool] | None = None
        """The request to stop for which the running jobs were terminated, and whether the supervisor was gone."""

    def work(self) -> None:
        """Work until stopped; no step waits for the remote side."""
        while True:
            self._poll_control()
            ended, long_running = self.executor.poll()
            for run in ended:
                self._collect(run)
            self.unrecorded_starts += long_running
            self._request_slots()
            if self._flush_due():
                self._flush()
            self._start_claimed()
            if not self.in_flight and not self.buffer.claimed and self.core.can_exit():
                break
            self._wait(self.executor.maintain(self.control.settings))
        self.core.finish()

    def _poll_control(self) -> None:
        self.core.poll_control(self._refresh)
        stop = (self.control.stop or "", self.control.orphaned)
        if self.control.stop == "now" and self._stopped_as != stop:
            self._stopped_as = stop
            for run in self.in_flight.values():
                run.forced_outcome = run.forced_outcome or self.core.stop_outcome(run.lease)
                self.executor.terminate(run, self.control.kill_grace_s)

    def _refresh(self) -> None:
        """Reload settings and requests, and limit the output of running jobs."""
        self.core.store.db.check_identity()
        self.control.refresh()
        settings = self.control.settings
        for run in self.in_flight.values():
            if sum(run.received.values()) > settings.output_limit and limit_files(run.limited_paths, settings):
                run.note = DISK_FULL_NOTE
        for token in self.core.claims.cancel_requests():
            cancelled = self.in_flight.get(token)
            if cancelled is not None and cancelled.forced_outcome is None:
                cancelled.forced_outcome = Cancelled()
                self.executor.terminate(cancelled, self.control.kill_grace_s)

    def _request_slots(self) -> None:
        """Request as many slots as there are jobs in flight and ready."""
        found = None if self.control.stop else self.core.check_for_work(idle=not self.in_flight)
        if found is not None:
            self.may_have_work = found
        ready = 0
        if self.may_have_work and not self.control.stop:
            now = time.monotonic()
            if now >= self.count_at:
                self.count_at = now + COUNT_INTERVAL_S
                with contextlib.suppress(Busy):  # counted again at the next interval
                    self.ready_jobs = self.core.claims.count_ready(
                        self.executor.max_in_flight, time.time(), read_boot_time()
                    )
            ready = self.ready_jobs
        self.executor.request_slots(len(self.in_flight) + ready)

    # ------------------------------------------------------------------ start

    def _start_claimed(self) -> None:
        """Send claimed jobs while there is capacity, and release the rest."""
        claimed = self.buffer.claimed
        if claimed and self.control.receive_notification():  # a setting was changed before they were enqueued
            self._poll_control()
        while claimed and self.executor.capacity():
            self._start(claimed.popleft())
        if claimed:
            self.buffer.release_claimed()

    def _start(self, lease: Lease) -> None:
        run = self.core.start(lease, self.executor.start, ship_blobs=True)
        if run is not None:
            self.in_flight[lease.token] = run

    # ------------------------------------------------------------------ settle and claim

    def _collect(self, run: RemoteRun) -> None:
        """Collect outcome, usage, output and result of an ended attempt."""
        self.in_flight.pop(run.token, None)
        if not isinstance(run.end, Ended):
            self.buffer.release_claimed([run.lease])
            self.buffer.pause(UNSTARTED_PAUSE_S)
            self.may_have_work = True
            return
        now = time.time()
        started_at = run.started_at if run.end.duration_s is None else now - run.end.duration_s
        artifacts = run.unpack_artifacts(self.control.settings.artifact_limit)
        known = Ending(now, started_at, run.pid, host=run.host, note=run.note, artifacts=artifacts, usage=run.end.usage)
        ending, spooled, _ = self.core.capture(run.token, run.paths, known)
        outcome = run.outcome
        if run.lease.kind != Kind.COMMAND:
            reply = self.core.store.spool.read_reply(run.token) or run.lost_reply
            outcome, ending, _ = add_reply(reply, outcome, ending)
        sizes = ending.stdout_size, ending.stderr_size
        has_values = ending.result is not None or run.end.reply is not None
        has_files = has_values or any((*sizes, ending.note, ending.artifacts, ending.metrics))
        self.buffer.add_result(run.lease, outcome, ending, spooled if has_files else None)

    def _flush_due(self) -> bool:
        """Return True if it is time for a transaction."""
        if not self.buffer.can_flush():
            return False
        if not self.buffer.flushed or self.unrecorded_starts:
            return True
        return self.may_have_work and not self.control.stop and self.executor.capacity() > 0

    def _flush(self) -> None:
        """Record results and starts, release leases and claim what can start now."""
        want = 0 if self.control.stop or not self.may_have_work else min(MAX_CLAIMS, self.executor.capacity())
        runs = [run for run in self.unrecorded_starts if run.token in self.in_flight]
        started = [StartedAttempt(run.lease, run.pid, run.started_at or 0.0, run.host) for run in runs]
        if not self.buffer.flush(self.control.settings, want, started):
            return
        self.unrecorded_starts = []
        self.ready_jobs = max(0, self.ready_jobs - len(self.buffer.claimed))
        if want and not self.buffer.claimed:
            self.may_have_work, self.count_at = False, 0.0
        self.buffer.force_check()

    # ------------------------------------------------------------------ wait

    def _wait(self, timeout: float) -> None:
        """Wait until something happens or is due, at most ``timeout`` seconds."""
        now, buffer = time.monotonic(), self.buffer
        wake_at = min(self.control.next_poll_at, now + timeout)
        if buffer.retry_at > now:
            wake_at = min(wake_at, buffer.retry_at)
        elif not buffer.flushed or self.unrecorded_starts:
            wake_at = now
        self.core.wait(wake_at, now, idle=self.executor.in_flight < self.executor.max_in_flight)


def take_over(core: WorkerCore, table: DispatchTable, predecessor: str) -> dict[str, list[Lease]]:
    """Hold what ``predecessor`` and other dead dispatchers have sent and not recorded; return it by dispatcher.

    What cannot be taken over is lost when its lease is over.
    """
    workers, folder = core.store.workers, core.store.worker_dir
    try:
        dead = [row.name for row in workers.list_all() if heartbeat.is_dead(folder, row)]
        names = dict.fromkeys([predecessor, *dead, *workers.orphaned_workers()])
        taken = {name: _take_over_from(name, core, table) for name in names if name not in ("", core.control.name)}
    except (QueuectlError, OSError) as error:
        core.events.warn(f"cannot take over the attempts of other dispatchers: {error}")
        return {}
    return {name: leases for name, leases in taken.items() if leases}


def _take_over_from(name: str, core: WorkerCore, table: DispatchTable) -> list[Lease]:
    folder = core.store.worker_dir
    dispatched, claims = read_dispatched(folder, name), Claims(core.store.db, name, "")
    if not dispatched or not claims.held_leases():
        return []
    deadline = time.monotonic() + JOURNAL_LOCK_TIMEOUT_S
    while (handle := lock_journal(folder, name)) is None:
        if time.monotonic() >= deadline:
            return []
        time.sleep(JOURNAL_LOCK_INTERVAL_S)
    with handle:
        recorded = read_journal(folder, name)
        tokens = [each.token for each in claims.held_leases() if each.token in dispatched - recorded.keys()]
        for token in tokens:  # first: a rescuer must not take them for attempts that were never sent
            table.add(token)
        return core.claims.take_over(tokens)
