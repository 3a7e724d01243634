"""Wait until jobs have finished, as a loop that can sleep or report its progress."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from queuectl_nb.engine.enclosing_job import enclosing_job
from queuectl_nb.engine.notifier import FinishWaiter, waiter_dir
from queuectl_nb.model.errors import BadInput, JobFailed, NotFound, WaitTimeout
from queuectl_nb.model.state import FINISHED_STATES, UNFINISHED_STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from queuectl_nb.client.queue_data import QueueData
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.store import Store

__all__ = ["Progress", "StateChanges", "UnreportedJobs", "Wait"]

MAX_SHOWN = 5
"""Number of failed jobs that an error names."""


class UnreportedJobs:
    """The jobs this process started that finished before anyone waited for them.

    A job may finish before the line, or the notebook cell, that waits for all jobs. It must still be counted, and its
    failure reported. So a wait for all jobs counts from the moment at which this process first enqueued, retried or
    started workers after its previous wait for all jobs. All handles of the same file share one instance.
    """

    _by_file: ClassVar[dict[tuple[Path, tuple[int, int]], UnreportedJobs]] = {}

    def __init__(self, *, enabled: bool = True) -> None:
        """Start empty; not ``enabled`` (on the console, where each command is a process) it stays empty."""
        self._enabled = enabled
        self._since: int | None = None
        self._reported: set[str] = set()

    @classmethod
    def for_queue(cls, queue: QueueData) -> UnreportedJobs:
        """Return the instance for the file of ``queue``; on the console one that stays empty."""
        key = (queue.store.db.file, queue.store.db.identity)
        if not queue.interpreter_first:
            return cls(enabled=False)
        if key not in cls._by_file:
            cls._by_file[key] = cls()
        return cls._by_file[key]

    def start(self, store: Store, retried: Iterable[str] = ()) -> None:
        """Record that jobs may run from now on, and that ``retried`` jobs will finish again."""
        if self._since is None and self._enabled:
            self._since = store.db.revision()[0]
        self._reported.difference_update(retried)

    def since(self, store: Store) -> int:
        """Return the revision from which a wait for all jobs counts finished jobs."""
        now = store.db.revision()[0]
        return now if self._since is None else min(self._since, now)

    def mark_reported(self, ids: Iterable[str]) -> None:
        """Record that the end of these jobs was reported."""
        if self._since is not None:
            self._reported.update(ids)

    def is_reported(self, job_id: str) -> bool:
        """Return True if the end of this job was reported."""
        return job_id in self._reported

    def reset(self) -> None:
        """Record that everything was reported."""
        self._since = None
        self._reported.clear()


class StateChanges:
    """The jobs that changed between two calls of :meth:`read`."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``."""
        self._store = store
        self._seen: tuple[int, int] | None = None
        """Revision and number of deletions at the last call."""

    def read(self) -> list[tuple[str, State]] | None:
        """Return id and state of the jobs that have changed since the last call; a job may be returned twice.

        Return None at the first call and after a deletion, which leaves no trace: then the states of all jobs of
        interest must be read again.
        """
        seen, self._seen = self._seen, self._store.db.revision()
        if seen is None or seen[1] != self._seen[1]:
            return None
        return self._store.reader.changed_since(list(State), seen[0]) if seen != self._seen else []


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a wait: finished jobs by state, and the number of unfinished ones."""

    finished: Mapping[State, int]
    remaining: int
    failed_ids: tuple[str, ...]
    """Ids of the jobs that are dead or cancelled."""

    @property
    def finished_count(self) -> int:
        """Number of finished jobs."""
        return sum(self.finished.values())


MAX_HINTED_JOBS = 100
"""A wait for more named jobs gives hints for the first ones."""
MAX_LOOKED_UP = 10
"""For at most this many named jobs, reading their states is faster than reading what has changed."""


class Wait:
    """A wait for the given jobs, or for all; then the jobs that finish meanwhile and the unreported ones count.

    Inside a job, a wait for all leaves out that job and the jobs that cannot start before it has completed.
    """

    def __init__(self, queue: QueueData, ids: Sequence[str] | None = None, timeout: float | None = None) -> None:
        """Prepare the wait; raise :class:`NotFound` for an unknown id, :class:`BadInput` for the job that waits."""
        self.store = store = queue.store
        self.ids = None if ids is None else list(dict.fromkeys(ids))
        self.timeout = timeout
        self._unreported = UnreportedJobs.for_queue(queue)
        self._since = self._unreported.since(store)
        self._seen: object = None
        """What :meth:`_read_changes` compared last."""
        self._progress: Progress | None = None
        self._named = None if self.ids is None else frozenset(self.ids)
        self._changes = StateChanges(store)
        self.record: JobRecord | None = None
        """The job of a wait for one named job, if it had finished when its state was read last."""
        self._finished: dict[str, State] = {}
        self._failed: dict[str, None] = {}
        self._counts = {state: 0 for state in State if state in FINISHED_STATES}
        own = self._enclosing_job = enclosing_job(store.path)
        if own and self.ids and (never := {own, *store.reader.waiting_for(own)}.intersection(self.ids)):
            other = "itself" if own in never else f"job {min(never)}, which waits for it"
            raise BadInput(f"job {own} cannot wait for {other}")
        self._warns = self._enclosing_job is not None and queue.interpreter_first  # the console shows hints
        states = store.reader.states_of(self.ids or ())
        for job_id in self.ids or ():
            if job_id not in states:
                store.jobs.get(job_id)  # raises NotFound

    def read_progress(self) -> Progress:
        """Return the progress; the previous one if nothing has changed since."""
        if self._read_changes() or self._progress is None:
            finished = sum(self._counts.values())
            left = self._count_unfinished() if self.ids is None else len(self.ids) - finished
            self._progress = Progress(dict(self._counts), left, tuple(self._failed))
        return self._progress

    def finished_ids(self) -> list[str]:
        """Return the jobs that had finished at the last :meth:`read_progress`, in the order in which they did."""
        return list(self._finished)

    def iter_finished(self) -> Iterator[str]:
        """Wait, and yield the id of each job when it has finished."""
        left = set(self.ids or ())
        if left:
            for _ in self.poll():
                for job_id in self.finished_ids():
                    if job_id in left:
                        left.remove(job_id)
                        yield job_id

    def hints(self, program: str) -> list[str]:
        """Return why the jobs of this wait do not start, if no worker serves them."""
        from queuectl_nb.client.hints import job_hints, waiting_hints

        if self.ids is None:
            return waiting_hints(self.store, program=program)
        jobs = [self.store.jobs.get(job_id) for job_id in self.ids[:MAX_HINTED_JOBS]]
        return list(dict.fromkeys(hint for job in jobs for hint in job_hints(self.store, job, program)))

    def _read_changes(self) -> bool:
        """Read the states of the jobs; return False if they cannot have changed."""
        changed: Sequence[tuple[str, State]] | None
        if self.ids is not None and len(self.ids) <= MAX_LOOKED_UP:
            seen: object = (changed := self._read_named(self.ids))
        else:
            seen, changed = self.store.db.change_counters(), None
        if seen == self._seen:
            return False
        self._seen = seen
        if changed is None and (changed := self._changes.read()) is None:
            for job_id in [*self._finished]:
                self._record_state(job_id, None)
            if self.ids is None:
                changed = self.store.reader.changed_since(sorted(FINISHED_STATES), self._since)
            else:
                changed = self._read_named(self.ids)
        for job_id, state in changed:
            if not self._unreported.is_reported(job_id) if self._named is None else job_id in self._named:
                self._record_state(job_id, state)
        return True

    def _record_state(self, job_id: str, state: State | None) -> None:
        """Record the state of a job; None removes it."""
        if (previous := self._finished.pop(job_id, None)) is not None:
            self._counts[previous] -= 1
            self._failed.pop(job_id, None)
        if state in FINISHED_STATES:
            self._finished[job_id] = state
            self._counts[state] += 1
            if state is not State.COMPLETED:
                self._failed[job_id] = None

    def _read_named(self, ids: Sequence[str]) -> list[tuple[str, State]]:
        if len(ids) == 1:  # one query after its end: after a long wait each takes a tenth of a millisecond
            self.record = self.store.jobs.get_finished(ids[0])
            if self.record is not None:
                return [(self.record.id, self.record.state)]
        states = self.store.reader.states_of(ids)
        for job_id in ids:
            if job_id not in states:
                raise NotFound(f"job {job_id} was deleted during the wait")
        return [(job_id, states[job_id]) for job_id in ids]

    def _count_unfinished(self) -> int:
        counts = self.store.reader.counts()
        remaining = sum(counts[state] for state in UNFINISHED_STATES)
        own = self._enclosing_job
        return remaining if own is None else max(0, remaining - len(self.store.reader.waiting_for(own)))

    def run(self, show: Callable[[Progress], object] | None = None) -> Progress:
        """Wait until the jobs have finished; call ``show`` whenever the progress changes.

        Raises :class:`WaitTimeout` at the timeout; the jobs continue.
        """
        last = None
        for progress in self.poll():
            if show is not None and progress is not last:
                show(progress)
                last = progress
        return progress

    def poll(self) -> Iterator[Progress]:
        """Yield the progress at every check (the same object if it did not change) until nothing remains.

        Raises :class:`WaitTimeout` at the timeout; the jobs continue.
        """
        deadline = math.inf if self.timeout is None else time.monotonic() + self.timeout
        with FinishWaiter(waiter_dir(self.store.db.spool)) as waiter:
            while True:
                progress = self.read_progress()
                yield progress
                if not progress.remaining:
                    self._mark_reported()
                    return
                self._warn_once()
                left = deadline - time.monotonic()
                if left <= 0:
                    msg = f"{progress.remaining} job(s) not finished after {self.timeout:g} seconds; they continue"
                    raise WaitTimeout(msg)
                waiter.wait(left, progress.remaining)

    def _warn_once(self) -> None:
        """Warn, inside a job, if the jobs cannot start: the job would wait for ever."""
        if self._warns:
            self._warns = False
            from queuectl_nb.client.hints import CONSOLE

            for hint in self.hints(CONSOLE):
                warnings.warn(hint, RuntimeWarning, stacklevel=2)

    def check(self, progress: Progress) -> None:
        """Raise :class:`JobFailed` with the errors of the first jobs if a job is dead or cancelled."""
        if ids := progress.failed_ids:
            names = [self._with_error(job_id, len(ids)) for job_id in ids[:MAX_SHOWN]]
            msg = f"{len(ids)} job(s) did not complete: {', '.join(names)}{', …' if len(ids) > MAX_SHOWN else ''}"
            raise JobFailed(msg)

    def _with_error(self, job_id: str, count: int) -> str:
        """Return the id with the error of the job, which is the shorter the more jobs are named."""
        from queuectl_nb.model.failure import MAX_ERROR_CHARS, cut

        try:
            error = self.store.jobs.get(job_id).error
        except NotFound:
            error = None
        return f"{job_id} ({cut(error, MAX_ERROR_CHARS // min(count, MAX_SHOWN))})" if error else job_id

    def _mark_reported(self) -> None:
        if self.ids is None:
            self._unreported.reset()
        else:
            self._unreported.mark_reported(self.ids)
