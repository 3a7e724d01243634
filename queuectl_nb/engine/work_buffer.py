"""Prefetched leases, unrecorded results and leases to release of one worker.

One transaction settles all three. Results are written to the journal before they are added here, so that a SIGKILL
loses none; while the database is busy or the disk is full, everything is kept and retried.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier
from queuectl_nb.engine.enclosing_job import enclosing_job
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.state import State
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.claims import EndedAttempt, StartedAttempt
from queuectl_nb.store.settle import explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from queuectl_nb.engine.events import WorkerEvents
    from queuectl_nb.engine.outcome_journal import OutcomeJournal
    from queuectl_nb.model.attempt import Ending, Lease
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.boot_time import NextDue
    from queuectl_nb.store.claims import ClaimResult, Claims
    from queuectl_nb.store.store import Store

__all__ = ["LOCK_TIMEOUT_S", "MAX_GROUP", "WorkBuffer"]

LOCK_TIMEOUT_S = 1.0
"""Time that a worker without a running job waits for the write lock before it checks its other inputs."""
MAX_GROUP = 128
"""Maximum number of results recorded, and of jobs claimed, in one transaction."""
MAX_GROUP_S = 0.64
"""Maximum time that jobs claimed together should take; on an overloaded machine short ones take long."""
PREFETCH_GROWTH = 8
"""Factor by which the number of jobs to claim grows with each short job, and shrinks with each long one."""
CONTENDED_S = 0.002
"""Time for which a transaction has waited for others if there are many writers."""
PREEMPTION_CHECK_INTERVAL_S = 0.01
"""Minimum interval between checks for better jobs before a start. A check costs 28 µs with two workers."""
FRESH_CLAIM_S = 1.0
"""Age of a claim below which no rescuer can have taken it: half of the shortest lease."""
BUSY_RETRY_S = 0.2
"""Pause after a transaction met a busy database."""
DISK_FULL_RETRY_S = 1.0
"""Pause after a transaction met a full disk."""
BUSY_WARNING_AFTER_S = 3.0
"""Time after which a busy database is reported. Short waits are normal on a loaded machine."""


class WorkBuffer:
    """Leases and results of one worker between transactions."""

    def __init__(self, store: Store, claims: Claims, journal: OutcomeJournal, events: WorkerEvents) -> None:
        """Claim and settle through ``claims``; ``journal`` keeps results until they are recorded."""
        self.store = store
        self.claims = claims
        self.journal = journal
        self.events = events
        self.claimed: deque[Lease] = deque()
        """Leases that have not started."""
        self.to_release: list[Lease] = []
        """Leases to release unstarted."""
        self.results: list[EndedAttempt] = []
        """Ended attempts that are not recorded yet."""
        self.prefetch = 1
        """Number of jobs to claim in the next transaction; grows while jobs are short."""
        self.contended = False
        """Whether the last transaction had to wait long for others."""
        self.hop = 0
        """Number of the notification that this worker was woken by, 0 if none."""
        self._waiting = 0
        """Number of waiting jobs after the last claim."""
        self.next_due: NextDue | None = None
        """When the next scheduled job is due, if known."""
        self.claimed_at = 0.0
        """Monotonic time of the last claim."""
        self.retry_at = 0.0
        """Monotonic time before which no transaction is started."""
        self.blocked = False
        """Whether the last transaction failed; its results are only in the journal then."""
        self._spooled: dict[str, frozenset[str]] = {}
        """Streams whose files stay, by token; only attempts that have files."""
        self._work_fifo = notifier.work_fifo(store.db.spool)
        self._waiters = notifier.waiter_dir(store.db.spool)
        self._enclosing_job = enclosing_job(store.path)
        self._version = -1
        """Version of the database at the last check for work."""
        self._preemption_check_at = 0.0
        self._busy_since = 0.0
        """Monotonic time since which the database has been busy; 0 if it is not."""

    # ------------------------------------------------------------------ results and leases

    def add_result(self, lease: Lease, outcome: Outcome, ending: Ending, spooled: frozenset[str] | None = None) -> None:
        """Add an ended attempt; ``spooled`` are the streams whose files stay, None if it has no files."""
        self.journal.record(lease.token, outcome, ending)
        self.results.append(EndedAttempt(lease, outcome, ending))
        if spooled is not None:
            self._spooled[lease.token] = spooled

    def explain_newest(self) -> None:
        """Read from its output why the newest attempt failed; :meth:`flush` does so for those that are left."""
        if self.results:
            self.results[-1] = explain(self.results[-1])

    def release_claimed(self, leases: Iterable[Lease] = ()) -> None:
        """Release ``leases`` and all claimed ones unstarted."""
        self.to_release += [*leases, *self.claimed]
        self.claimed.clear()

    def grow_prefetch(self, run_s: float) -> None:
        """Claim more jobs at once, since the last one took only ``run_s`` seconds."""
        if self.prefetch == MAX_GROUP and run_s * MAX_GROUP <= MAX_GROUP_S:
            return
        self.prefetch = max(1, min(MAX_GROUP, self.prefetch * PREFETCH_GROWTH, int(MAX_GROUP_S / max(run_s, 0.001))))

    def shrink_prefetch(self) -> None:
        """Release prefetched jobs and claim fewer at once: the running one is long."""
        self.release_claimed()
        self.prefetch = max(1, self.prefetch // PREFETCH_GROWTH)

    def release_preempted(self) -> None:
        """Release claimed jobs that should not start any more; checks at most every PREEMPTION_CHECK_INTERVAL_S."""
        now = time.monotonic()
        if not self.claimed or now < self._preemption_check_at:
            return
        self._preemption_check_at = now + PREEMPTION_CHECK_INTERVAL_S
        try:
            previous, self._version = self._version, self.store.db.data_version()
            if previous == self._version:
                return
            preempted = self.claims.preempted(self.claimed)
        except Busy:  # unknown, so none of them may start
            self.force_check()
            preempted = list(self.claimed)
        if preempted:
            self.to_release += preempted
            self.claimed = deque(lease for lease in self.claimed if lease not in preempted)

    def owns(self, lease: Lease) -> bool:
        """Return True if no rescuer has settled the attempt; a fresh claim needs no query."""
        return time.monotonic() - self.claimed_at < FRESH_CLAIM_S or self.claims.owns(lease)

    # ------------------------------------------------------------------ checks

    @property
    def flushed(self) -> bool:
        """Whether there is nothing to record or release."""
        return not self.results and not self.to_release

    def can_flush(self) -> bool:
        """Return False during the pause after a failed transaction."""
        return not self.retry_at or time.monotonic() >= self.retry_at

    def check_for_work(self) -> bool | None:
        """Return whether a claim would find a job, by reading only; None if nothing has changed or the file is busy.

        If there is none, ``next_due`` is updated.
        """
        try:
            version = self.store.db.data_version()
            if version == self._version and self.due_in_s() > 0:
                return None
            self._version = version
            found, due = self.claims.find_work(time.time(), read_boot_time())
        except Busy:
            self.force_check()
            return None
        if not found:
            self.next_due = due
        return found

    def due_in_s(self) -> float:
        """Return the seconds until the next scheduled job is due; infinity if none is known."""
        return math.inf if self.next_due is None else self.next_due.remaining_s(time.time(), read_boot_time())

    def all_finished(self) -> bool:
        """Return True if all jobs of this worker's queues, except paused ones, are known to be finished.

        A job that waits for this worker, because it has started it with ``--drain``, is left out.
        """
        try:
            return self.claims.count_unfinished(self._enclosing_job) == 0
        except Busy:
            self.force_check()
            return False

    def force_check(self) -> None:
        """Let the next :meth:`check_for_work` query the database even if nobody has written to it."""
        self._version = -1

    # ------------------------------------------------------------------ transaction

    def flush(
        self,
        settings: Settings,
        want: int,
        started: Sequence[StartedAttempt] = (),
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> bool:
        """Record results and ``started`` attempts, release leases and claim ``want`` jobs; return whether it worked.

        Waits at most ``lock_timeout_s`` seconds for other writers. Raises BadEnvironment if the file was replaced.
        """
        began = time.monotonic()
        self.blocked = True
        self.results = [explain(each) for each in self.results]  # before the write lock is taken
        self.store.db.lock_timeout_s = lock_timeout_s
        try:
            claim = self.claims.settle_and_claim(
                ended=self.results,
                released=self.to_release,
                limit=want,
                started=started,
                settings=settings,
                now=time.time(),
                rand=random.random(),
                boottime=read_boot_time(),
            )
        except Busy:
            self.contended = True
            self.force_check()  # there is still work, though nothing changes
            if lock_timeout_s:
                self._on_busy(began, BUSY_RETRY_S if lock_timeout_s == LOCK_TIMEOUT_S else 0.0)
            return False
        except BadEnvironment as error:
            if self.store.db.is_replaced():
                raise
            self.force_check()
            self._warn_and_pause(str(error), DISK_FULL_RETRY_S)
            return False
        if self.results or self.to_release:  # a release may have cancelled the job
            notifier.notify_finished(self._waiters)
        self.retry_at = self._busy_since = 0.0
        self.blocked = False
        self.contended = self.store.db.lock_waited_s > CONTENDED_S
        if not self.claimed:
            # jobs claimed earlier are still to be checked for preemption by changes until now
            self._version = claim.version
        retries = self._after_flush(claim.settled)
        if claim.leases:
            self.claimed += claim.leases
            self.claimed_at = began
        if want:
            self._waiting = claim.waiting
        self._wake_another(claim, new_work=retries or bool(self.to_release), takes_long=bool(started))
        self.to_release, self.results = [], []
        if want and not claim.leases:
            self.force_check()  # before waiting, also to find out when the next job is due
        return True

    def _wake_another(self, claim: ClaimResult, *, new_work: bool, takes_long: bool) -> None:
        """Wake another worker if there is work for it: new work, or more than this one takes.

        A worker whose jobs are short needs no help: others would only compete with it for the cores.
        """
        if new_work or claim.unblocked:
            notifier.notify(self._work_fifo)
        elif self._waiting > 0 and takes_long:
            notifier.notify(self._work_fifo, hop=notifier.MAX_HOPS - 1)
        elif self._waiting > 0 and claim.leases and not self.results and self.hop < notifier.MAX_HOPS:
            notifier.notify(self._work_fifo, hop=self.hop + 1)

    def pause(self, seconds: float) -> None:
        """Start no transaction for ``seconds``."""
        self.retry_at = time.monotonic() + seconds

    def _on_busy(self, began: float, pause_s: float) -> None:
        """Retry after ``pause_s``; warn if the database has been busy for long."""
        self._busy_since = self._busy_since or began
        if time.monotonic() - self._busy_since < BUSY_WARNING_AFTER_S:
            self.pause(pause_s)
        else:
            self._warn_and_pause(f"the queue has been busy for over {BUSY_WARNING_AFTER_S:g} seconds", BUSY_RETRY_S)

    def _warn_and_pause(self, why: str, pause_s: float) -> None:
        self.events.warn(f"{why}; keeping {len(self.results)} result(s) and retrying")
        self.pause(pause_s)

    def _after_flush(self, settled: Sequence[object]) -> bool:
        """Remove files of recorded attempts and report them; return whether one of their jobs will run again."""
        retries = False
        for attempt, transition in zip(self.results, settled, strict=True):
            if (spooled := self._spooled.pop(attempt.lease.token, None)) is not None:
                self.store.spool.remove(attempt.lease.token, keep=spooled)
            self.events.finished(attempt, transition)
            retries = retries or getattr(transition, "state", None) in (State.FAILED, State.PENDING)
        if self.results:
            self.journal.clear()
        self.events.flush()
        return retries
