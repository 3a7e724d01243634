"""What a worker has of the queue in its hands: jobs claimed ahead, results not recorded yet, claims that go back.

One turn at the database settles all three. What ended is in the journal before it is here, so that a kill -9 loses
none of it; while the file is busy or the disk is full everything stays and the turn is taken again.
"""

from __future__ import annotations

import random
import time
from collections import deque
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import EndedAttempt, StartedAttempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from queuectl_nb.engine.outcome_journal import OutcomeJournal
    from queuectl_nb.engine.report import WorkerEvents
    from queuectl_nb.model.attempt import Ending, Lease
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.claims import Claims
    from queuectl_nb.store.store import Store

__all__ = ["GROUP", "WorkBuffer"]

GROUP = 64
"""Most results recorded, and jobs claimed, in one transaction."""
LOOK = 0.01
"""Seconds between looks, before a start, whether something better came in: each costs 28 µs, with two workers."""
FRESH = 1.0
"""Seconds after a claim in which no rescuer can have taken it: half of the shortest lease."""
BUSY_PAUSE = 0.2
FULL_PAUSE = 1.0
"""Seconds until the next turn after one that met a busy file, a full disk."""
LONG = 3.0
"""Seconds of a busy file that are worth a word: where many wait for a core, each waits for the others now and then."""


class WorkBuffer:
    """Claims, results and returns of one worker, and its turns at the database."""

    def __init__(self, store: Store, claims: Claims, journal: OutcomeJournal, report: WorkerEvents) -> None:
        """Work through ``claims``; ``journal`` keeps results until they are recorded."""
        self.store = store
        self.claims = claims
        self.journal = journal
        self.report = report
        self.claimed: deque[Lease] = deque()
        self.to_release: list[Lease] = []
        self.ended: list[EndedAttempt] = []
        self.prefetch = 1
        """Jobs to claim in a turn: grows while they are short."""
        self.next_due: float | None = None
        """Epoch seconds at which the next scheduled job is due, as far as known."""
        self.claimed_at = 0.0
        self._files: dict[str, frozenset[str]] = {}
        self._bell = notifier.work_fifo(store.db.spool)
        self._version = -1
        self._ask_at = 0.0
        self._again_at = 0.0
        self._busy_since = 0.0
        """The monotonic second in which a turn first met a file that is busy still; 0 where the last did not."""
        self.blocked = False
        """Whether the last turn met a busy file or a full disk, and what it was to record is in the journal only."""

    # ------------------------------------------------------------------ what comes in

    def add_result(self, lease: Lease, outcome: Outcome, ending: Ending, spooled: frozenset[str] | None = None) -> None:
        """Take an attempt's end; ``spooled`` are the streams whose files stay, None where it has no files."""
        self.journal.record(lease.token, outcome, ending)
        self.ended.append(EndedAttempt(lease, outcome, ending))
        if spooled is not None:
            self._files[lease.token] = spooled

    def give_back(self, leases: Iterable[Lease] = ()) -> None:
        """Let these, and all that is claimed, go back unstarted."""
        self.to_release += leases
        self.to_release += self.claimed
        self.claimed.clear()

    def grow_prefetch(self) -> None:
        """Take it that jobs are short: claim more at once from now on."""
        self.prefetch = min(GROUP, self.prefetch * 2)

    def shrink_prefetch(self) -> None:
        """Take it that jobs last: give back what was claimed ahead, and claim less at once from now on."""
        self.give_back()
        self.prefetch = max(1, self.prefetch // 2)

    # ------------------------------------------------------------------ before a start

    def release_preempted(self) -> None:
        """Give back those of the claimed that must not start any more, looking once in LOOK at most."""
        now = time.monotonic()
        if not self.claimed or now < self._ask_at:
            return
        self._ask_at = now + LOOK
        try:
            before, self._version = self._version, self.store.db.data_version()
            if before == self._version:
                return
            unwelcome = self.claims.preempted(self.claimed)
        except Busy:  # who comes now waits until they can be looked at
            self.look_again()
            unwelcome = list(self.claimed)
        if unwelcome:
            self.to_release += unwelcome
            self.claimed = deque(lease for lease in self.claimed if lease not in unwelcome)

    def is_ours(self, lease: Lease) -> bool:
        """Tell whether nobody has settled the attempt in our place.

        That takes two seconds of silence at the least; so right after the claim there is no need to ask.
        """
        return time.monotonic() - self.claimed_at < FRESH or self.claims.owns(lease)

    # ------------------------------------------------------------------ a turn

    @property
    def settled(self) -> bool:
        """Whether nothing waits to be recorded or given back."""
        return not self.ended and not self.to_release

    def may_turn(self) -> bool:
        """Tell whether a turn is allowed: not right after one that met a busy file or a full disk."""
        return not self._again_at or time.monotonic() >= self._again_at

    @property
    def again_at(self) -> float:
        """The monotonic second before which no turn is taken."""
        return self._again_at

    def may_find_work(self) -> bool | None:
        """Look, without writing, whether a claim would find anything; None where nothing changed since the last look.

        Where there is nothing, ``next_due`` tells when there will be. None, too, while others keep readers out.
        """
        try:
            version = self.store.db.data_version()
            due = self.next_due is not None and time.time() >= self.next_due
            if version == self._version and not due:
                return None
            self._version = version
            if self.claims.has_ready_jobs(time.time()):
                return True
            self.next_due = self.claims.next_due()
        except Busy:
            self.look_again()
            return None
        return False

    def nothing_open(self) -> bool:
        """Tell whether all jobs of this worker's queues are known to be at rest, paused queues aside."""
        try:
            return self.claims.count_unfinished() == 0
        except Busy:
            self.look_again()
            return False

    def look_again(self) -> None:
        """Let the next look for work be one, although nobody else has written anything."""
        self._version = -1

    def flush(self, settings: Settings, want: int, started: Sequence[StartedAttempt] = ()) -> bool:
        """Record what ended, give back what will not start, claim ``want`` jobs; tell whether that was done.

        ``started`` are attempts that run on. A busy file or a full disk keeps everything
        for the next turn.

        Raises
        ------
        BadEnvironment
            The file is not there any more, or another one in its place.
        """
        began = time.monotonic()
        self.blocked = True
        try:
            version = (
                self.store.db.data_version()
            )  # before the turn: whatever is committed after this shows as a change
            turn = self.claims.settle_and_claim(
                ended=self.ended,
                released=self.to_release,
                limit=want,
                started=started,
                settings=settings,
                now=time.time(),
                rand=random.random(),  # noqa: S311 - jitter
            )
        except Busy:
            self._wait_on(began)
            return False
        except BadEnvironment as broken:
            if self.store.db.is_replaced():
                raise
            self._keep(str(broken), FULL_PAUSE)
            return False
        self._again_at = self._busy_since = 0.0
        self.blocked = False
        if not self.claimed:
            # what was claimed before this turn is still to be looked at for what changed until now
            self._version = version
        retries = self._after_turn(turn.settled)
        if turn.leases:
            self.claimed += turn.leases
            self.claimed_at = began
        if retries or self.to_release or turn.unblocked or (turn.leases and turn.waiting > 0 and not self.ended):
            notifier.notify(self._bell)
        self.to_release = []
        self.ended = []
        if want and not turn.leases:
            self._version = -1  # look once more before sleeping, which also finds out when the next one is due
        return True

    def _wait_on(self, began: float) -> None:
        """Put off a turn, begun then, that met a busy file; that is told once it lasts."""
        self._busy_since = self._busy_since or began
        if time.monotonic() - self._busy_since < LONG:
            self.rest(BUSY_PAUSE)
        else:
            self._keep(f"the queue is busy: others have held its write lock for over {LONG:g} seconds", BUSY_PAUSE)

    def _keep(self, why: str, pause: float) -> None:
        self.report.warn(f"{why}; keeping {len(self.ended)} result(s) and trying on")
        self.rest(pause)

    def rest(self, pause: float) -> None:
        """Take no turn for ``pause`` seconds."""
        self._again_at = time.monotonic() + pause

    def _after_turn(self, settled: Sequence[object]) -> bool:
        """Clean up behind the attempts that are recorded now, and tell of them; tell whether one will run again."""
        retries = False
        for each, transition in zip(self.ended, settled, strict=True):
            if (spared := self._files.pop(each.lease.token, None)) is not None:
                self.store.spool.remove(each.lease.token, keep=spared)
            self.report.finished(each, transition)
            retries = retries or getattr(transition, "state", None) in (State.FAILED, State.PENDING)
        if self.ended:
            self.journal.clear()
        self.report.flush()
        return retries
