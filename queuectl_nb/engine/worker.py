"""A worker: claim, start, wait, settle, as one pipeline. Runs one command at a time.

Short jobs are claimed a few ahead and settled in groups, and the next one starts before the last is recorded, since
a commit costs as much as a start. None of that may make anybody wait: as soon as the running job outlasts PATIENCE,
what ended is recorded and what was not started goes back; and before a start, once in LOOK, the worker looks whether
something better came in.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import deque
from typing import TYPE_CHECKING

from queuectl_nb.engine import doorbell
from queuectl_nb.engine.collect import collect
from queuectl_nb.engine.executor import CannotStart, LeaseLost, NoRoom
from queuectl_nb.engine.journal import LARGEST_STREAM, Journal
from queuectl_nb.engine.report import Reporter
from queuectl_nb.model.attempt import Ending, Lease
from queuectl_nb.model.errors import BadEnvironment, Busy, SpoiltSetting
from queuectl_nb.model.outcome import Cancelled, NotStarted, Outcome, Returned, TimedOut
from queuectl_nb.model.state import State
from queuectl_nb.store.claims import Claims, Ended
from queuectl_nb.store.trim import trim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queuectl_nb.engine.events import Events
    from queuectl_nb.engine.executor import Executor, Exit, Run
    from queuectl_nb.engine.orders import Orders
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.store import Store

__all__ = ["Worker"]

PATIENCE = 0.01
"""Seconds that a running job may keep others' results and claims waiting. On a busy machine a command of a millisecond
takes several, since it waits for a core until the next tick of the scheduler (4 ms at 250 Hz), once or twice: with 5 ms
such a command counted as a long one, and what was claimed ahead went back and forth."""
DEAF = 0.005
"""Seconds from its start in which a job's end is waited for in the cheapest way, which hears nothing else."""
LOOK = 0.005
"""Seconds between looks, before a start, whether something better came in: each costs 28 µs, with two workers."""
GROUP = 32
"""Most results recorded, and jobs claimed, in one transaction."""
PACE = 1.0
"""Seconds between looks that no bell asked for: the safety net."""
FRESH = 1.0
"""Seconds after a claim in which no rescuer can have taken it: half of the shortest lease."""
SWEEP_PACE = 0.02
"""Seconds between looks at processes that are being killed."""


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
        orders: Orders,
        events: Events,
    ) -> None:
        self.store = store
        self.name = name
        self.drain = drain
        self.executor = executor
        self.orders = orders
        self.report = Reporter(events, name)
        self.settings: Settings = store.settings.read()
        self.claims = Claims(store.db, name, host, queues)
        self.journal = Journal(store.worker_dir, name)
        self.claimed: deque[Lease] = deque()
        self.back: list[Lease] = []
        self.ended: list[Ended] = []
        self.files: dict[str, frozenset[str]] = {}  # attempts with files to remove once recorded, and what stays
        self.run: Run | None = None
        self.recorded = False  # whether the running attempt's pid is in the database
        self.verdict: Outcome | None = None  # why we are ending the running attempt
        self.exit: Exit | None = None  # how its shell ended, while leftovers are still there
        self.kill_at = 0.0
        self.ahead = 1
        self.version = -1
        self.claimed_at = 0.0
        self.look_at = 0.0
        self.retry_at = 0.0
        self.next_due: float | None = None
        self.ask_at = 0.0
        self.drained = False

    # ------------------------------------------------------------------ the pipeline

    def work(self) -> None:
        """Work until stopped; every step is short, and every wait can be interrupted."""
        while True:
            self._heed()
            if self.run is not None:
                self._attend(self.run)
            if self.run is None and not self.orders.stop:
                self._start_next()
            if self._flush_is_due():
                self._flush()
                if self.run is None and self.claimed:
                    continue
            if self.run is None and not self.ended and not self.back and (self.orders.stop or self.drained):
                break
            self._sleep()
        if self.drained:
            doorbell.ring(doorbell.work_bell(self.store.db.spool))  # the other workers may go, too
        self.report.flush()

    def _heed(self) -> None:
        """Take in what others want: a stop, a cancel, other settings."""
        orders = self.orders
        if orders.rang or time.monotonic() >= self.look_at:
            orders.rang = False
            self.look_at = time.monotonic() + PACE
            with contextlib.suppress(Busy):  # the next look asks again
                self._look()
        if orders.stop:
            self.back += self.claimed
            self.claimed.clear()
            if orders.stop == "now" and self.run is not None and self.verdict is None:
                self._end_run(self.run, Returned())

    def _look(self) -> None:
        """Read what the database has for this worker."""
        if self.store.db.replaced():
            self._give_up()
        if self.run is not None:
            trim(self.run.paths.values(), self.settings.spool_limit)
        try:
            self.settings = self.store.settings.read()
        except SpoiltSetting as spoilt:
            self.report.warn(f"{spoilt}; working on with the last good value")
        if (how := self.store.workers.stop_of(self.name)) is not None:
            self.orders.ask(how)
        if self.run is not None and self.verdict is None and self.run.lease.token in self.claims.cancels():
            self._end_run(self.run, Cancelled())

    # ------------------------------------------------------------------ start

    def _start_next(self) -> None:
        """Start the next claimed job, unless it is not welcome any more."""
        if self.claimed and self._changed():
            unwelcome = self.claims.unwelcome(self.claimed)
            if unwelcome:
                self.back += unwelcome
                self.claimed = deque(lease for lease in self.claimed if lease not in unwelcome)
        while self.claimed and self.run is None:
            self._start(self.claimed.popleft())

    def _changed(self) -> bool:
        """Tell, looking once in LOOK at most, whether others have committed anything."""
        now = time.monotonic()
        if now < self.ask_at:
            return False
        self.ask_at = now + LOOK
        before, self.version = self.version, self.store.db.version()
        return before != self.version

    def _start(self, lease: Lease) -> None:
        try:
            self.run = self.executor.start(lease, self.settings.max_retries, lambda: self._is_ours(lease))
        except CannotStart as why:
            self._ended(lease, NotStarted(str(why)), Ending(time.time()))
        except NoRoom as why:
            self.report.warn(f"job {lease.job_id} given back: {why}")
            self.back += [lease, *self.claimed]
            self.claimed.clear()
            self.retry_at = time.monotonic() + PACE
        except LeaseLost:
            self.report.warn(f"job {lease.job_id} was taken by a rescuer before it had started")
        else:
            self.recorded = False
            self.verdict = self.exit = None
            self.report.started(lease, self.settings)

    def _is_ours(self, lease: Lease) -> bool:
        """Tell whether nobody has settled the attempt in our place.

        That takes two seconds of silence at the least; so right after the claim there is no need to ask.
        """
        return time.monotonic() - self.claimed_at < FRESH or self.claims.holds(lease)

    # ------------------------------------------------------------------ wait

    def _attend(self, run: Run) -> None:
        """See whether the running job ended, ran out of time, or must be swept away."""
        if self.exit is None:
            self.exit = run.poll()
            if self.exit is not None and time.monotonic() - run.started < PATIENCE:
                self.ahead = min(GROUP, self.ahead * 2)
        if self.exit is not None:
            if not run.leftovers():
                self._collect(run, self.exit)
                return
            if not self.kill_at:
                self._begin_to_end(run)
            self._sweep(run)
            return
        if not run.named and time.monotonic() - run.started >= PATIENCE:
            run.settle_in()
        if self.verdict is None:
            limit = self.settings.timeout_for(run.lease.timeout)
            if limit is not None and time.monotonic() - run.started >= limit:
                self._end_run(run, TimedOut(limit))
        self._sweep(run)

    def _sweep(self, run: Run) -> None:
        """Kill what did not end within its grace, again and again until it is gone."""
        if self.kill_at and time.monotonic() >= self.kill_at:
            run.kill()
            self.kill_at = time.monotonic() + SWEEP_PACE

    def _end_run(self, run: Run, verdict: Outcome) -> None:
        """Begin to end the running attempt: TERM to the whole tree now, KILL after the grace."""
        self.verdict = verdict
        self._begin_to_end(run)

    def _begin_to_end(self, run: Run) -> None:
        grace = self.settings.kill_grace
        if self.orders.grace is not None:
            grace = min(grace, self.orders.grace)
        self.kill_at = time.monotonic() + grace
        run.terminate()

    def _collect(self, run: Run, ended: Exit) -> None:
        """Take over what a finished run left: outcome, usage, output, result."""
        token = run.lease.token
        ending, spooled = collect(
            self.store.spool,
            token,
            run.paths,
            limit=self.settings.output_limit,
            finished_at=time.time(),
            started_at=run.started_at,
            pid=run.pid,
            usage=ended.usage,
        )
        if max(ending.stdout_size, ending.stderr_size) > LARGEST_STREAM:
            run.settle_in()
            trim(run.paths.values(), self.settings.spool_limit)
        self._ended(run.lease, self.verdict or ended.outcome, ending)
        if run.named or ending.result is not None or ending.note is not None:
            self.files[token] = spooled
        if not run.named and (ending.stdout_size or ending.stderr_size):
            run.clear()
        self.run = self.exit = self.verdict = None
        self.kill_at = 0.0

    def _ended(self, lease: Lease, outcome: Outcome, ending: Ending) -> None:
        self.journal.note(lease.token, outcome, ending)
        self.ended.append(Ended(lease, outcome, ending))

    # ------------------------------------------------------------------ settle and claim

    def _flush_is_due(self) -> bool:
        """Decide whether it is time for a turn at the database."""
        if time.monotonic() < self.retry_at:
            return False
        if self.run is None:
            if self.ended or self.back:
                return not self.claimed or len(self.ended) >= GROUP
            return not self.claimed and not self.orders.stop and self._may_find_work()
        if len(self.ended) >= GROUP:
            return True
        if time.monotonic() - self.run.started >= PATIENCE:
            return bool(self.ended or self.claimed or self.back or not self.recorded)
        # the last of the claimed ones runs: record and claim while it does
        return bool(self.ended) and not self.claimed and self.ahead > 1

    def _may_find_work(self) -> bool:
        """Look, without writing, whether a claim would find anything."""
        version = self.store.db.version()
        due = self.next_due is not None and time.time() >= self.next_due
        if version == self.version and not due:
            return False
        self.version = version
        if self.claims.anything_ready(time.time()):
            return True
        self.next_due = self.claims.next_due()
        self.drained = self.drain and self.claims.open_jobs() == 0
        return False

    def _flush(self) -> None:
        """Record what ended, give back what will not start, claim what comes next: one transaction."""
        run = self.run
        long_run = run is not None and time.monotonic() - run.started >= PATIENCE
        if long_run:
            self.back += self.claimed
            self.claimed.clear()
            self.ahead = max(1, self.ahead // 2)
        want = 0 if long_run or self.claimed or self.orders.stop else self.ahead
        began = time.monotonic()
        version = self.store.db.version()  # before the turn: whatever is committed after this shows as a change
        try:
            turn = self.claims.turn(
                ended=self.ended,
                back=self.back,
                want=want,
                running=None if run is None or not long_run else (run.lease, run.pid, run.started_at),
                settings=self.settings,
                now=time.time(),
                rand=random.random(),  # noqa: S311 - jitter
            )
        except Busy as busy:
            self.report.warn(f"{busy}; keeping {len(self.ended)} result(s) and trying on")
            self.retry_at = time.monotonic() + 0.2
            return
        except BadEnvironment as broken:
            self._survive(broken)
            return
        self.recorded = self.recorded or long_run
        if not self.claimed:
            # what was claimed before this turn is still to be looked at for what changed until now
            self.version = version
        self._after_turn(turn.settled)
        if turn.leases:
            self.claimed += turn.leases
            self.claimed_at = began
        if self.back or turn.woken or (turn.leases and turn.waiting > 0 and not self.ended):
            doorbell.ring(doorbell.work_bell(self.store.db.spool))
        self.back = []
        self.ended = []
        if want and not turn.leases:
            self.version = -1  # look once more before sleeping, which also finds out when the next one is due

    def _survive(self, broken: BadEnvironment) -> None:
        """Keep the results and try on while the disk is full; give up where the file is not ours any more."""
        if self.store.db.replaced():
            self._give_up()
        self.report.warn(f"{broken}; keeping {len(self.ended)} result(s) and trying on")
        self.retry_at = time.monotonic() + PACE

    def _give_up(self) -> None:
        """End the running job and leave: nobody would ever read what is written to a file that was replaced."""
        if self.run is not None:
            self.run.kill()
        self.store.db.check_identity()

    def _after_turn(self, settled: Sequence[object]) -> None:
        """Clean up behind the attempts that are recorded now, and tell of them."""
        rings = False
        for each, transition in zip(self.ended, settled, strict=True):
            if (spared := self.files.pop(each.lease.token, None)) is not None:
                self.store.spool.remove(each.lease.token, spare=spared)
            self.report.finished(each, transition)
            rings = rings or getattr(transition, "state", None) in (State.FAILED, State.PENDING)
        if self.ended:
            self.journal.clear()
        self.report.flush()
        if rings:
            doorbell.ring(doorbell.work_bell(self.store.db.spool))

    # ------------------------------------------------------------------ sleep

    def _sleep(self) -> None:
        """Wait until something happens or is due."""
        now = time.monotonic()
        if self.run is not None and self.exit is None and now < self.run.started + DEAF:
            self.orders.wait_for_child(self.run.started + DEAF - now)
            return
        wake = self.look_at
        if self.retry_at > now:
            wake = min(wake, self.retry_at)
        if self.run is not None:
            if self.ended or self.claimed or self.back or not self.recorded:
                wake = min(wake, max(self.run.started + PATIENCE, self.retry_at))
            if self.kill_at:
                wake = min(wake, self.kill_at)
            elif (limit := self.settings.timeout_for(self.run.lease.timeout)) is not None:
                wake = min(wake, self.run.started + limit)
            self.orders.wait(max(0.0, wake - now), idle=False)
            return
        if self.next_due is not None:
            wake = min(wake, now + max(0.0, self.next_due - time.time()))
        self.report.flush()
        self.orders.wait(max(0.0, wake - now), idle=True)
