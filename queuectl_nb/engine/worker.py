"""A worker: claim, start, wait, settle, as one pipeline. Runs one command at a time.

Short jobs are claimed a few ahead and settled in groups, and the next one starts before the last is recorded, since
a commit costs as much as a start. None of that may make anybody wait: as soon as the running job outlasts PATIENCE,
what ended is recorded and what was not started goes back; and before a start, once in a while, the worker looks
whether something better came in.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import notifier
from queuectl_nb.engine.collect import capture_ending
from queuectl_nb.engine.duty import POLL_INTERVAL_S, WorkerControl
from queuectl_nb.engine.executor import CannotStart, LeaseLost, NoRoom
from queuectl_nb.engine.outcome_journal import LARGEST_STREAM, OutcomeJournal
from queuectl_nb.engine.report import WorkerEvents
from queuectl_nb.engine.run_monitor import PATIENCE, RunMonitor
from queuectl_nb.engine.work_buffer import GROUP, WorkBuffer
from queuectl_nb.model.attempt import Ending, Lease
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.outcome import Cancelled, NotStarted, Returned
from queuectl_nb.store.claims import Claims, StartedAttempt
from queuectl_nb.store.trim import punch_middle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.engine.control import ControlInputs
    from queuectl_nb.engine.events import Events
    from queuectl_nb.engine.executor import Executor
    from queuectl_nb.store.store import Store

__all__ = ["Worker"]


class Worker:
    """One worker process's whole life: :meth:`work` returns when it was stopped or has drained the queue."""

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        store: Store,
        name: str,
        *,
        host: str,
        queues: Sequence[str],
        drain: bool,
        executor: Executor,
        orders: ControlInputs,
        events: Events,
    ) -> None:
        self.store = store
        self.name = name
        self.drain = drain
        self.executor = executor
        self.orders = orders
        self.report = WorkerEvents(events, name)
        self.duty = WorkerControl(store, name, orders, self.report)
        self.claims = Claims(store.db, name, host, queues)
        self.ledger = WorkBuffer(store, self.claims, OutcomeJournal(store.worker_dir, name), self.report)
        self.attended: RunMonitor | None = None
        self.drained = False

    # ------------------------------------------------------------------ the pipeline

    def work(self) -> None:
        """Work until stopped; every step is short, and every wait can be interrupted."""
        while True:
            self._heed()
            if self.attended is not None and self.attended.step(self.duty.settings, self.duty.kill_grace_s):
                self._collect(self.attended)
            if self.attended is None and not self.orders.stop:
                self._start_next()
            if self._turn_is_due():
                self._turn()
                if self.attended is None and self.ledger.claimed:
                    continue
            if self.attended is None and (self.orders.stop or self.drained) and self.duty.can_exit(self.ledger):
                break
            self._sleep()
        if self.drained:
            notifier.notify(notifier.work_fifo(self.store.db.spool))  # the other workers may go, too
        self.report.flush()

    def _heed(self) -> None:
        """Take in what others want: a stop, a cancel, other settings."""
        if self.duty.refresh_due():
            with contextlib.suppress(Busy):  # the next look asks again
                self._look()
        if self.orders.stop:
            self.ledger.give_back()
            if self.orders.stop == "now" and self.attended is not None:
                self.attended.end(Returned(), self.duty.kill_grace_s)

    def _look(self) -> None:
        """Read what the database has for this worker."""
        if self.store.db.is_replaced():
            self._give_up()
        self.duty.refresh()
        if self.attended is not None:
            punch_middle(self.attended.run.paths.values(), self.duty.settings.spool_limit)
            if self.attended.run.lease.token in self.claims.cancel_requests():
                self.attended.end(Cancelled(), self.duty.kill_grace_s)

    # ------------------------------------------------------------------ start

    def _start_next(self) -> None:
        """Start the next claimed job, unless it is not welcome any more."""
        self.ledger.release_preempted()
        while self.ledger.claimed and self.attended is None:
            self._start(self.ledger.claimed.popleft())

    def _start(self, lease: Lease) -> None:
        try:
            run = self.executor.start(lease, self.duty.settings.max_retries, lambda: self.ledger.is_ours(lease))
        except CannotStart as why:
            self.ledger.add_result(lease, NotStarted(str(why)), Ending(time.time()))
        except Busy:  # whether it is still ours could not be seen
            self.ledger.give_back([lease])
        except NoRoom as why:
            self.report.warn(f"job {lease.job_id} given back: {why}")
            self.ledger.give_back([lease])
            self.ledger.rest(POLL_INTERVAL_S)
        except LeaseLost:
            self.report.warn(f"job {lease.job_id} was taken by a rescuer before it had started")
        else:
            self.attended = RunMonitor(run)
            self.report.started(lease, self.duty.settings)

    # ------------------------------------------------------------------ settle and claim

    def _collect(self, over: RunMonitor) -> None:
        """Take over what a finished run left: outcome, usage, output, result."""
        run, token = over.run, over.run.lease.token
        ending, spooled = capture_ending(
            self.store.spool,
            token,
            run.paths,
            limit=self.duty.settings.output_limit,
            finished_at=time.time(),
            started_at=run.started_at,
            pid=run.pid,
            usage=None if over.exit is None else over.exit.usage,
        )
        odd = ending.note is not None  # perhaps a job has put something in the place of its output
        if spooled or odd or max(ending.stdout_size, ending.stderr_size) > LARGEST_STREAM:
            run.move_to_own_files()  # what neither the database nor the journal holds stays in a file of its own
            punch_middle(run.paths.values(), self.duty.settings.spool_limit)
        has_files = run.has_own_files or ending.result is not None or ending.note is not None
        self.ledger.add_result(run.lease, over.outcome, ending, spooled if has_files else None)
        if not run.has_own_files and (ending.stdout_size or ending.stderr_size):
            run.clear()
        if over.was_short:
            self.ledger.grow_prefetch()
        self.attended = None

    def _turn_is_due(self) -> bool:
        """Decide whether it is time for a turn at the database."""
        ledger, attended = self.ledger, self.attended
        if not ledger.may_turn():
            return False
        if attended is None:
            if not ledger.settled:
                return not ledger.claimed or len(ledger.ended) >= GROUP
            return not ledger.claimed and not self.orders.stop and self._may_find_work()
        if len(ledger.ended) >= GROUP:
            return True
        if attended.is_long(time.monotonic()):
            return bool(not ledger.settled or ledger.claimed or not attended.recorded)
        # the last of the claimed ones runs: record and claim while it does
        return bool(ledger.ended) and not ledger.claimed and ledger.prefetch > 1

    def _may_find_work(self) -> bool:
        """Tell whether there may be a job to claim; where there is none, whether the queue is drained."""
        found = self.ledger.may_find_work()
        if found is False and self.drain:
            self.drained = self.ledger.nothing_open()
        return bool(found)

    def _turn(self) -> None:
        """Take a turn at the database: record what ended, give back what will not start, claim what comes next."""
        attended = self.attended
        lasts = attended is not None and attended.is_long(time.monotonic())
        if lasts:
            self.ledger.shrink_prefetch()
        want = 0 if lasts or self.ledger.claimed or self.orders.stop else self.ledger.prefetch
        started = (
            [StartedAttempt(attended.run.lease, attended.run.pid, attended.run.started_at)]
            if attended and lasts
            else []
        )
        try:
            done = self.ledger.flush(self.duty.settings, want, started)
        except BadEnvironment:
            self._give_up()
            return
        if attended is not None and lasts and done:
            attended.recorded = True

    def _give_up(self) -> None:
        """End the running job and leave: nobody would ever read what is written to a file that was replaced."""
        if self.attended is not None:
            self.attended.run.kill()
        self.store.db.check_identity()

    # ------------------------------------------------------------------ sleep

    def _sleep(self) -> None:
        """Wait until something happens or is due."""
        now, ledger, attended = time.monotonic(), self.ledger, self.attended
        if attended is not None and (brief := attended.fast_wait_s(now)):
            self.orders.wait_for_child(brief)
            return
        wake = self.duty.look_at
        if ledger.again_at > now:
            wake = min(wake, ledger.again_at)
        if attended is not None:
            if not ledger.settled or ledger.claimed or not attended.recorded:
                wake = min(wake, max(attended.run.started + PATIENCE, ledger.again_at))
            at = attended.wake_at(self.duty.settings)
            if at is not None:
                wake = min(wake, at)
            self.orders.wait(max(0.0, wake - now), idle=False)
            return
        if ledger.next_due is not None:
            wake = min(wake, now + max(0.0, ledger.next_due - time.time()))
        self.report.flush()
        self.orders.wait(max(0.0, wake - now), idle=True)
