"""A job that is followed as if its command ran in the foreground, with a worker of its own if no other serves it."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from queuectl_nb.client.logs import Logs
from queuectl_nb.engine import heartbeat
from queuectl_nb.engine.enclosing_job import enclosing_job
from queuectl_nb.model.errors import BadEnvironment, QueuectlError
from queuectl_nb.model.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from queuectl_nb.client.pool import WorkerPool
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.model.job import JobRecord

__all__ = ["ForegroundJob"]

CHECK_INTERVAL_S = 1.0
"""Interval at which a job that waits is checked for a worker that serves it."""
STOP_TIMEOUT_S = 3.0
"""How long to wait for the end of the worker that was started here; it finishes a job that it has begun."""
EXIT_FAILED = 1
EXIT_TIMED_OUT = 124
"""The exit code of timeout(1)."""
EXIT_SIGNAL = 128


class ForegroundJob:
    """Follows a job, and starts a worker for it while none serves its queue.

    That worker is detached and ends when its queue is drained, so that the job continues if this process ends.
    """

    def __init__(self, queue: Queue, job_id: str, since: float = 0.0) -> None:
        """Follow the job ``job_id`` of ``queue``, without the attempts that have finished before the time ``since``."""
        self.queue = queue
        self.job_id = job_id
        self._since = since
        self.on_note: Callable[[str], object] = lambda _text: None
        """Called with each message for the user."""
        self._pool: WorkerPool | None = None
        self._check_at = 0.0
        self._reported_wait = False
        self._attempt = 0
        """Number of the attempt that is followed."""

    def chunks(self) -> Iterator[tuple[str, bytes]]:
        """Yield (stream, bytes) as they are written, attempt after attempt, until the job has finished."""
        self.serve()
        logs = Logs(self.queue.store)
        return logs.follow(self.job_id, since=self._since, on_attempt=self._begin_attempt, on_wait=self.serve)

    def serve(self) -> None:
        """Start a worker if the job needs one; called often, checks once in :data:`CHECK_INTERVAL_S`."""
        if time.monotonic() >= self._check_at:
            self.serve_now()

    def serve_now(self) -> None:
        """Start a worker if the job needs one."""
        is_first = not self._check_at
        self._check_at = time.monotonic() + CHECK_INTERVAL_S
        job = self.queue.store.jobs.get(self.job_id)
        if job.is_finished:
            return
        paused = {"*", job.queue}.intersection(self.queue.store.reader.paused_queues())
        if workers := self._serving(job):
            if not is_first and not paused:  # at first, an idle worker may not have seen the job
                self._report_wait(job, workers)
            return
        if job.state is not State.PROCESSING and paused:
            return
        try:
            self._pool = self.queue.start_workers(queues=[job.queue], drain=True, detach=True)
        except BadEnvironment as error:
            raise BadEnvironment(f"{error}; job {job.id} stays {job.state}") from error
        self.on_note(f"started {', '.join(self._pool.names)} for queue {job.queue}")

    def _report_wait(self, job: JobRecord, workers: Mapping[str, str | None]) -> None:
        """Say once that the job could start, but that all ``workers`` run others."""
        due = job.state is State.PENDING and (job.run_at or 0) <= time.time()
        if due and all(workers.values()) and not self._reported_wait:
            self._reported_wait = True
            name, current = next(iter(workers.items()))
            doing = f"{name} runs {current}" if len(workers) == 1 else f"all {len(workers)} are busy"
            self.on_note(f"waiting for a free worker; {doing}")

    def _serving(self, job: JobRecord) -> Mapping[str, str | None]:
        """Return the live workers that run the job or take jobs of its queue, with their current jobs."""
        store = self.queue.store
        outer = enclosing_job(store.path)  # its worker is busy until this process ends
        current = store.workers.current_jobs()
        found = {}
        for row in store.workers.list_all():
            takes = not row.stop and (not row.queues or job.queue in row.queues)
            runs = job.state is State.PROCESSING and row.name == job.worker
            busy = outer is not None and current.get(row.name) == outer
            if (takes or runs) and not busy and not heartbeat.is_dead(store.worker_dir, row):
                found[row.name] = current.get(row.name)
        return found

    def _begin_attempt(self, number: int) -> None:
        """Report why there is another attempt."""
        if self._attempt:
            before = self.queue.store.reader.attempt(self.job_id, self._attempt)
            why = "" if before is None or before.error is None else f" ({before.error})"
            self.on_note(f"attempt {self._attempt} did not succeed{why}; this is attempt {number}")
        self._attempt = number

    def stop_worker(self) -> None:
        """Stop the worker that was started here, if any, after its current job."""
        if self._pool is not None:
            with suppress(QueuectlError):
                self._pool.stop(timeout=STOP_TIMEOUT_S)

    def outcome(self) -> tuple[int, str | None]:
        """Return the exit code of a shell that had run the command, and why the finished job did not complete."""
        job = self.queue.store.jobs.get(self.job_id)
        if job.state is State.COMPLETED:
            return 0, None
        attempts = self.queue.store.reader.attempts_without_output(self.job_id)
        return _exit_code(attempts[-1] if attempts else None), f"job {job.id} is {job.state}: {job.error}"


def _exit_code(attempt: AttemptRecord | None) -> int:
    if attempt is None:
        return EXIT_FAILED
    if attempt.outcome == "timed_out":
        return EXIT_TIMED_OUT
    if attempt.signal is not None and attempt.outcome == "failed":
        name = attempt.signal
        number = signal.Signals[name] if name in signal.Signals.__members__ else int(name.removeprefix("SIG"))
        return EXIT_SIGNAL + number
    return attempt.exit_code or EXIT_FAILED
