"""A dispatcher: a worker whose jobs run elsewhere, many at a time.

It claims as many as can start now, no more: what waits stays ``pending`` in the queue, in its order. All that ended
since the last turn is recorded in one transaction, and as many are claimed in it as seats have become free.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from queuectl_nb.engine import notifier
from queuectl_nb.engine.collect import capture_ending
from queuectl_nb.engine.duty import POLL_INTERVAL_S, WorkerControl
from queuectl_nb.engine.executor import LeaseLost, NoRoom
from queuectl_nb.engine.outcome_journal import LARGEST_STREAM, OutcomeJournal
from queuectl_nb.engine.report import WorkerEvents
from queuectl_nb.engine.work_buffer import WorkBuffer
from queuectl_nb.model.errors import Busy
from queuectl_nb.model.outcome import Cancelled, Returned
from queuectl_nb.store.claims import Claims, StartedAttempt
from queuectl_nb.store.trim import punch_middle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from queuectl_nb.engine.control import ControlInputs
    from queuectl_nb.engine.dask.remote_run import RemoteRun
    from queuectl_nb.engine.events import Events
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.store import Store

__all__ = ["Dispatcher", "RemoteExecutor"]

COUNT = 0.02
"""Seconds between counts of what waits."""
BRAKE = 0.02
"""Seconds of rest after a job came back unstarted: whoever sent it back may need a moment."""
BATCH = 256
"""Most jobs claimed in one transaction."""


class RemoteExecutor(Protocol):
    """Runs commands elsewhere, many at a time."""

    handle: int
    """Becomes readable when there is news."""
    most: int

    @property
    def in_flight(self) -> int:
        """How many attempts are away."""

    def room(self) -> int:
        """Return how many may be started now."""

    def request_slots(self, jobs: int) -> None:
        """Make room for as many as ``jobs``, those in flight included, as far as there can be."""

    def start(self, lease: Lease, settings: Settings, ours: Callable[[], bool]) -> RemoteRun:
        """Send an attempt away; ``ours`` is asked at the last moment. Raises ``NoRoom`` or ``LeaseLost``."""

    def end(self, errand: RemoteRun, grace: float) -> None:
        """Have an attempt ended, with ``grace`` seconds from TERM to KILL."""

    def poll(self) -> tuple[list[RemoteRun], list[RemoteRun]]:
        """Return the attempts that are over since the last call, and those found to last."""

    def maintain(self, settings: Settings) -> float:
        """Do what is due; return the seconds until it wants to be called again."""

    def acknowledge(self, open_tokens: Collection[str]) -> None:
        """Drop what is remembered of all attempts but these: they are recorded."""

    def close(self) -> None:
        """Let go of everything."""


class Dispatcher:
    """One dispatcher's whole life: :meth:`work` returns when it was stopped or has drained the queue."""

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        store: Store,
        name: str,
        *,
        host: str,
        queues: Sequence[str],
        drain: bool,
        crew: RemoteExecutor,
        orders: ControlInputs,
        events: Events,
    ) -> None:
        self.store = store
        self.name = name
        self.drain = drain
        self.crew = crew
        self.orders = orders
        self.report = WorkerEvents(events, name)
        self.duty = WorkerControl(store, name, orders, self.report)
        self.claims = Claims(store.db, name, host, queues)
        self.ledger = WorkBuffer(store, self.claims, OutcomeJournal(store.worker_dir, name), self.report)
        self.away: dict[str, RemoteRun] = {}
        self.lasting: list[RemoteRun] = []
        self.more = True
        """Whether a claim may find something, as far as known."""
        self.waiting = 0
        """Jobs that could start now, counted once in a while."""
        self.count_at = 0.0
        self.drained = False
        self.stopping: tuple[str, float | None] | None = None

    # ------------------------------------------------------------------ the pipeline

    def work(self) -> None:
        """Work until stopped; no step waits for what runs elsewhere."""
        while True:
            self._heed()
            over, lasting = self.crew.poll()
            for errand in over:
                self._collect(errand)
            self.lasting += lasting
            self._wish()
            if self._turn_is_due():
                self._turn()
            self._start_claimed()
            at_rest = not self.away and not self.ledger.claimed
            if at_rest and (self.orders.stop or self.drained) and self.duty.can_exit(self.ledger):
                break
            self._sleep(self.crew.maintain(self.duty.settings))
        if self.drained:
            notifier.notify(notifier.work_fifo(self.store.db.spool))  # the other workers may go, too
        self.report.flush()

    def _heed(self) -> None:
        """Take in what others want: a stop, a cancel, other settings."""
        orders = self.orders
        if self.duty.refresh_due():
            with contextlib.suppress(Busy):  # the next look asks again
                self._look()
        if orders.stop and self.ledger.claimed:
            self.ledger.give_back()
        if orders.stop == "now" and self.stopping != (orders.stop, orders.grace):
            self.stopping = (orders.stop, orders.grace)
            for errand in self.away.values():
                errand.verdict = errand.verdict or Returned()
                self.crew.end(errand, self.duty.kill_grace_s)

    def _look(self) -> None:
        """Read what the database has for this dispatcher."""
        self.store.db.check_identity()
        self.duty.refresh()
        limit = self.duty.settings.spool_limit
        for errand in self.away.values():
            if sum(errand.have.values()) > limit:
                punch_middle(errand.paths.values(), limit)
        for token in self.claims.cancel_requests():
            wanted = self.away.get(token)
            if wanted is not None and wanted.verdict is None:
                wanted.verdict = Cancelled()
                self.crew.end(wanted, self.duty.kill_grace_s)

    def _wish(self) -> None:
        """Let the crew know for how many jobs there is work."""
        found = None if self.orders.stop else self.ledger.may_find_work()
        if found is not None:
            self.more = found
            if found is False and self.drain and not self.away and self.ledger.settled:
                self.drained = self.ledger.nothing_open()
        waiting = 0
        if self.more and not self.orders.stop:
            now = time.monotonic()
            if now >= self.count_at:
                self.count_at = now + COUNT
                with contextlib.suppress(Busy):  # the next count will do
                    self.waiting = self.claims.count_ready(self.crew.most, time.time())
            waiting = self.waiting
        self.crew.request_slots(len(self.away) + waiting)

    # ------------------------------------------------------------------ start

    def _start_claimed(self) -> None:
        """Send away what was claimed, as far as there is room; the rest goes back."""
        claimed = self.ledger.claimed
        while claimed and self.crew.room():
            self._start(claimed.popleft())
        if claimed:
            self.ledger.give_back()

    def _start(self, lease: Lease) -> None:
        try:
            errand = self.crew.start(lease, self.duty.settings, lambda: self.ledger.is_ours(lease))
        except Busy:  # whether it is still ours could not be seen
            self.ledger.give_back([lease])
        except NoRoom as why:
            self.report.warn(f"job {lease.job_id} given back: {why}")
            self.ledger.give_back([lease])
            self.ledger.rest(POLL_INTERVAL_S)
        except LeaseLost:
            self.report.warn(f"job {lease.job_id} was taken by a rescuer before it had started")
        else:
            self.away[lease.token] = errand
            self.report.started(lease, self.duty.settings)

    # ------------------------------------------------------------------ settle and claim

    def _collect(self, errand: RemoteRun) -> None:
        """Take over what a finished attempt left: outcome, usage, output, result."""
        token = errand.token
        self.away.pop(token, None)
        if errand.unstarted:
            self.ledger.give_back([errand.lease])
            self.ledger.rest(BRAKE)
            self.more = True
            return
        now = time.time()
        started_at = errand.started_at if errand.ran is None else now - errand.ran
        usage = None if errand.exit is None else errand.exit.usage
        ending, spooled = capture_ending(
            self.store.spool,
            token,
            errand.paths,
            limit=self.duty.settings.output_limit,
            finished_at=now,
            started_at=started_at,
            pid=errand.pid,
            usage=usage,
        )
        ending = ending._replace(host=errand.host, note=ending.note or errand.note)
        if spooled or max(ending.stdout_size, ending.stderr_size) > LARGEST_STREAM:
            punch_middle(errand.paths.values(), self.duty.settings.spool_limit)
        has_files = bool(ending.stdout_size or ending.stderr_size or ending.result is not None or ending.note)
        self.ledger.add_result(errand.lease, errand.outcome, ending, spooled if has_files else None)

    def _turn_is_due(self) -> bool:
        """Decide whether it is time for a turn at the database."""
        if not self.ledger.may_turn():
            return False
        if not self.ledger.settled or self.lasting:
            return True
        return self.more and not self.orders.stop and self.crew.room() > 0

    def _turn(self) -> None:
        """Record what ended and what lasts, give back what will not start, claim what can start now."""
        want = 0 if self.orders.stop or not self.more else min(BATCH, self.crew.room())
        lasting = [errand for errand in self.lasting if errand.token in self.away]
        started = [StartedAttempt(each.lease, each.pid, each.started_at or 0.0, each.host) for each in lasting]
        if not self.ledger.flush(self.duty.settings, want, started):
            return
        self.lasting = []
        self.waiting = max(0, self.waiting - len(self.ledger.claimed))
        if want and not self.ledger.claimed:
            self.more, self.count_at = False, 0.0
        self.ledger.look_again()
        self.crew.acknowledge(self.away)

    # ------------------------------------------------------------------ sleep

    def _sleep(self, pause: float) -> None:
        """Wait until something happens or is due."""
        now, ledger = time.monotonic(), self.ledger
        wake = min(self.duty.look_at, now + pause)
        if ledger.again_at > now:
            wake = min(wake, ledger.again_at)
        elif not ledger.settled or self.lasting:
            wake = now
        if ledger.next_due is not None:
            wake = min(wake, now + max(0.0, ledger.next_due - time.time()))
        self.report.flush()
        self.orders.wait(max(0.0, wake - now), idle=self.crew.in_flight < self.crew.most)
