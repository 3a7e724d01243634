"""A worker: claims, starts, waits for and settles one command at a time.

Short jobs are prefetched and settled in groups, and the next one starts before the previous result is recorded, since
a commit costs as much as a start. Nobody else has to wait for that: as soon as a job is long (:mod:`.run_monitor`),
results are recorded and prefetched jobs are released. Before a start the worker checks from time to time whether a job
with a higher priority has arrived.
"""

from __future__ import annotations

import math
import os
import random
import signal
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine.collect import add_reply, read_reply
from queuectl_nb.engine.control import POLL_INTERVAL_S
from queuectl_nb.engine.run_monitor import RunMonitor
from queuectl_nb.engine.work_buffer import LOCK_TIMEOUT_S, MAX_GROUP
from queuectl_nb.model.attempt import DISK_FULL_NOTE, Ending
from queuectl_nb.model.call import Kind
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.outcome import Cancelled, Returned
from queuectl_nb.store.claims import StartedAttempt
from queuectl_nb.store.maintenance import free_disk_space
from queuectl_nb.store.output import FULL_DISK_BYTES, limit_files

if TYPE_CHECKING:
    from queuectl_nb.engine.local_executor import LocalExecutor
    from queuectl_nb.engine.worker_core import WorkerCore
    from queuectl_nb.model.attempt import Lease

__all__ = ["Worker"]

RECHECK_S = 0.1
"""Time in which other workers that run short jobs take at least one. It is multiplied by a random number up to the
number of workers: on a loaded machine, idle ones would otherwise all check at once and slow down the busy ones."""
WORKERS_PER_POLL = 16
"""The more idle workers there are, the less often each polls, at random: hundreds could take a tenth of a core."""
LONG_JOB_LOCK_TIMEOUT_S = 0.05
"""Time for which a worker waits for the write lock before it checks whether its long job has ended."""
KINDS_WITH_FILES = frozenset({Kind.CELL, Kind.NOTEBOOK})
"""Kinds of jobs that always have files of their own."""
_NONE: frozenset[str] = frozenset()


class Worker:
    """Runs jobs one at a time until it is stopped or the queue is drained."""

    def __init__(self, core: WorkerCore, executor: LocalExecutor) -> None:
        """Run jobs with ``executor``."""
        self.core = core
        self.buffer = core.buffer
        self.control = core.control
        self.executor = executor
        self.monitor: RunMonitor | None = None
        """The running attempt."""
        self._has_waited = False
        """Whether it has waited since its last job."""
        self._first_ready: list[int] | None = None
        """The first ready jobs, if they are to be compared at ``_recheck_at``."""
        self._recheck_at = math.inf

    def work(self) -> None:
        """Work until stopped. Every step is short, and every wait can be interrupted."""
        while True:
            self._poll_control()
            if self.monitor is not None and self.monitor.step(self.control.settings, self.control.kill_grace_s):
                self._collect(self.monitor)
            if self.monitor is None and not self.control.stop:
                self._start_next()
                if self.monitor is not None:  # while the next job runs
                    self.buffer.explain_newest()
            if self._flush_due():
                recorded = not self.buffer.flushed
                self._flush()
                if self.monitor is None and (recorded or self.buffer.claimed):
                    continue  # do not wait: a job can start, or the queue may be drained
            if self.monitor is None and self.core.can_exit():
                break
            self._wait()
        self.executor.close()
        self.core.finish()

    def _poll_control(self) -> None:
        self.core.poll_control(self._refresh)
        if self.control.stop == "now" and self.monitor is not None:
            outcome = self.monitor.forced_outcome or self.core.stop_outcome(self.monitor.run.lease)
            self.monitor.end(outcome, self.control.kill_grace_s)
        if self.control.job_signal is not None:
            if self.monitor is not None:
                self.monitor.end(self.control.job_signal, self.control.kill_grace_s)
            self.control.job_signal = None

    def _refresh(self) -> None:
        """Reload settings and requests, and limit the output of the running job; end it if its lease is lost."""
        if self.core.store.db.is_replaced():
            self._abort()
        self.control.refresh()
        if self.monitor is not None:
            lease = self.monitor.run.lease
            run = self.monitor.run
            if limit_files([*run.paths.values(), run.metrics_path], self.control.settings):
                run.lost_output = True
            elif free_disk_space(self.core.store.db) < FULL_DISK_BYTES:
                self.core.events.warn(f"the disk of {self.core.store.db.path} is full: jobs may wait for space")
            current = self.core.claims.with_current_timeout(lease)
            if current is None:  # a rescuer in another container cannot kill it
                self.monitor.end(Returned("a rescuer has settled it"), 0.0)
                return
            run.lease = current
            if lease.token in self.core.claims.cancel_requests():
                self.monitor.end(Cancelled(), self.control.kill_grace_s)

    # ------------------------------------------------------------------ start

    def _start_next(self) -> None:
        """Start the next claimed job that was not preempted."""
        if self.buffer.claimed and self._has_waited:  # meanwhile, jobs of other workers may have changed them
            self._restore_limits()
        self.buffer.release_preempted()
        while self.buffer.claimed and self.monitor is None:
            if self.control.receive_notification():  # a setting was changed before this job was enqueued
                self._poll_control()
            else:
                self._start(self.buffer.claimed.popleft())

    def _start(self, lease: Lease) -> None:
        settings = self.control.settings
        run = self.core.start(lease, lambda full, owned: self.executor.start(full, settings, owned))
        if run is not None:
            self.monitor = RunMonitor(run)
            self._has_waited = False
            self.control.job_pid = run.pid

    def _restore_limits(self) -> None:
        """Restore the resource limits for the next job, or end: a new worker has those of the supervisor."""
        if not self.executor.restore_limits():
            self.core.events.warn("a job has lowered the resource limits of this worker, which is replaced")
            os.kill(os.getpid(), signal.SIGKILL)

    # ------------------------------------------------------------------ settle and claim

    def _collect(self, monitor: RunMonitor) -> None:
        """Collect outcome, usage, output and result of a finished run."""
        run = monitor.run
        self._restore_limits()
        limit = self.control.settings.artifact_limit
        artifacts = self.executor.artifacts.take(run.lease.token, run.started, limit)
        note = DISK_FULL_NOTE if run.lost_output else None
        known = Ending(time.time(), run.start_time(), run.pid, note=note, artifacts=artifacts, usage=run.usage)
        if artifacts is None and run.files.left_nothing(run.started):
            ending, spooled, keep_files, left_files = known, _NONE, False, note is not None
        else:
            ending, spooled, keep_files = self.core.capture(run.lease.token, run.paths, known)
            left_files = bool(ending.note or ending.artifacts) or self.core.store.spool.has_reports(run.lease.token)
        outcome = monitor.outcome
        if run.lease.kind != Kind.COMMAND:
            reply = read_reply(self.core.store.spool, run.lease, run.files.name)
            outcome, ending, modules = add_reply(reply, outcome, ending)
            self.executor.fork_servers.learn(modules)
            run.lease = run.lease._replace(call=None)  # its payload takes memory until the result is recorded
        # a note: the job may have replaced its output file
        if (keep_files or ending.note is not None) and not run.move_to_own_files() and ending.note is None:
            ending = ending._replace(note=DISK_FULL_NOTE)
        has_files = run.has_own_files or left_files or run.lease.kind in KINDS_WITH_FILES
        self.buffer.add_result(run.lease, outcome, ending, spooled if has_files else None)
        if not run.has_own_files and (ending.stdout_size or ending.stderr_size):
            run.clear_files()
        if monitor.was_short:
            self.buffer.grow_prefetch(ending.finished_at - run.started_at)
        self.monitor = None

    def _flush_due(self) -> bool:
        """Return True if it is time for a transaction."""
        buffer, monitor = self.buffer, self.monitor
        if not buffer.can_flush():
            return False
        if monitor is None:
            if not buffer.flushed:
                return not buffer.claimed or len(buffer.results) >= MAX_GROUP
            return not buffer.claimed and not self.control.stop and self._may_claim()
        if len(buffer.results) >= MAX_GROUP:
            return True
        if monitor.is_long(time.monotonic()):
            return bool(not buffer.flushed or buffer.claimed or not monitor.recorded)
        # the last claimed job is running: record and claim meanwhile, unless its end could not be noticed
        return bool(buffer.results) and not buffer.claimed and buffer.prefetch > 1 and not buffer.contended

    def _may_claim(self) -> bool:
        """Return True if there is work that nobody else takes."""
        found = bool(self.core.check_for_work(idle=True))
        if found and not self.control.hop and self._has_waited:
            return not self._others_take_jobs()
        self._first_ready, self._recheck_at = None, math.inf
        return found

    def _others_take_jobs(self) -> bool:
        """Return True if the ready jobs, which nobody has woken this worker for, are being taken by others.

        More workers than needed for short jobs make all of them slower. A notification may have been lost, however.
        """
        self.buffer.force_check()
        now, previous, recheck_at = time.monotonic(), self._first_ready, self._recheck_at
        self._first_ready, self._recheck_at = None, math.inf
        try:
            first = self.core.claims.first_ready()
        except Busy:
            return True
        if first and previous is None:
            self._first_ready, self._recheck_at = first, now + RECHECK_S * random.uniform(1, self.control.workers)
        elif first and first == previous and now < recheck_at:
            self._first_ready, self._recheck_at = first, recheck_at
        else:
            return bool(first) and first != previous
        return True

    def _flush(self) -> None:
        """Record results, release leases and claim the next jobs."""
        monitor = self.monitor
        is_long = monitor is not None and monitor.is_long(time.monotonic())
        if is_long:
            self.buffer.shrink_prefetch()
        want = 0 if is_long or self.buffer.claimed or self.control.stop else self.buffer.prefetch
        started = []
        timeout = LOCK_TIMEOUT_S if monitor is None else LONG_JOB_LOCK_TIMEOUT_S if is_long else 0.0
        if monitor is not None and is_long:
            started = [StartedAttempt(monitor.run.lease, monitor.run.pid, monitor.run.started_at)]
        self.buffer.hop = self.control.hop
        try:
            done = self.buffer.flush(self.control.settings, want, started, timeout)
        except BadEnvironment:
            self._abort()
            return
        if monitor is not None and is_long and done:
            monitor.recorded = True

    def _abort(self) -> None:
        """Kill the running job and raise: the database file was replaced, so nobody would read its result."""
        if self.monitor is not None:
            self.monitor.run.kill()
        self.core.store.db.check_identity()

    # ------------------------------------------------------------------ wait

    def _wait(self) -> None:
        """Wait until something happens or is due."""
        now, buffer, monitor = time.monotonic(), self.buffer, self.monitor
        if monitor is not None and (timeout := monitor.fast_wait_s(now)):
            self.control.wait_for_child(timeout)
            return
        wake_at = self.control.next_poll_at
        if monitor is None:
            wake_at += POLL_INTERVAL_S * random.uniform(0, self.control.workers / WORKERS_PER_POLL)
        if buffer.retry_at > now:
            wake_at = min(wake_at, buffer.retry_at)
        if monitor is None:
            self._has_waited = True
            self.core.wait(min(wake_at, self._recheck_at), now, idle=True)
            return
        if not buffer.flushed or buffer.claimed or not monitor.recorded:
            wake_at = min(wake_at, max(monitor.long_at, buffer.retry_at))
        due = monitor.wake_at(self.control.settings)
        if due is not None:
            wake_at = min(wake_at, due)
        self.control.wait(max(0.0, wake_at - now), idle=False)
