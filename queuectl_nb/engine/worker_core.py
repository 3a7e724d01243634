"""Steps that the worker and the dispatcher share."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from queuectl_nb.engine import heartbeat, notifier
from queuectl_nb.engine.collect import capture_ending
from queuectl_nb.engine.control import POLL_INTERVAL_S
from queuectl_nb.engine.executor import CannotStart, LeaseLost, NoResources
from queuectl_nb.engine.outcome_journal import MAX_STREAM_BYTES, OutcomeJournal
from queuectl_nb.engine.python.request import with_call
from queuectl_nb.engine.work_buffer import WorkBuffer
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.errors import BadEnvironment, Busy
from queuectl_nb.model.outcome import SENDER_ENDED, SUPERVISOR_DIED, Lost, NotStarted, Returned
from queuectl_nb.store.claims import Claims

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from queuectl_nb.engine.control import WorkerControl
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.store.store import Store

__all__ = ["WorkerCore"]

_Run = TypeVar("_Run")


class WorkerCore:
    """Claims, buffer, control inputs and events of one worker name, with the steps between claim and settle."""

    def __init__(
        self,
        store: Store,
        control: WorkerControl,
        *,
        host: str,
        queues: Sequence[str] = (),
        drain: bool = False,
        lock: int | None = None,
        parallel: bool = False,
    ) -> None:
        """Serve ``queues`` (all if empty) under the name of ``control``; ``drain`` ends when all jobs are finished.

        ``lock`` is the descriptor of the worker's lock file. ``parallel``: it runs several jobs at a time.
        """
        self.store = store
        self.control = control
        self.events = control.events
        self.claims = Claims(store.db, control.name, host, queues, parallel=parallel)
        self.buffer = WorkBuffer(store, self.claims, OutcomeJournal(store.worker_dir, control.name), self.events)
        self.drain = drain
        self.drained = False
        self.spool_removed = False
        """Whether the worker stops because its files were removed."""
        self._lock = lock

    def poll_control(self, refresh: Callable[[], None]) -> None:
        """Call ``refresh`` if due; release what is claimed if the worker is to stop."""
        if self.control.refresh_due():
            with contextlib.suppress(Busy):  # retried at the next poll
                refresh()
            self._check_files()
        if self.control.stop:
            self.buffer.release_claimed()

    def _check_files(self) -> None:
        """Make missing directories; stop if the lock file was removed: nobody could tell that the worker is alive."""
        store = self.store
        if not store.spool.folder.is_dir():
            store.db.make_directories()  # without the write lock, jobs could not be returned
        if self._lock is not None and not heartbeat.is_current(self._lock, store.worker_dir, self.control.name):
            self.spool_removed = True
            self.control.request_stop("now")

    def start(
        self, lease: Lease, start: Callable[[Lease, Callable[[], bool]], _Run], *, ship_blobs: bool = False
    ) -> _Run | None:
        """Start ``lease`` by calling ``start(lease, owned)``; on failure record or release it and return None.

        ``owned`` must be called right before the process starts: False means that a rescuer has settled the attempt.
        With ``ship_blobs``, a Python job does not need the files of this host.
        """
        try:
            run = start(with_call(self.store.db, lease, ship_blobs=ship_blobs), lambda: self.buffer.owns(lease))
        except CannotStart as error:
            self.buffer.add_result(lease, NotStarted(str(error), error.final), Ending(time.time()))
        except Busy:  # unknown whether the lease is still ours
            self.buffer.release_claimed([lease])
        except NoResources as error:
            self.events.warn(f"job {lease.job_id} released: {error}")
            self.buffer.release_claimed([lease])
            self.buffer.pause(POLL_INTERVAL_S)
        except LeaseLost:
            self.events.warn(f"job {lease.job_id} was settled by a rescuer before it started")
            self.buffer.release_claimed([lease])  # changes nothing if it was; the token fences it
        else:
            self.events.started(lease, self.control.settings)
            return run
        return None

    def stop_outcome(self, lease: Lease) -> Outcome:
        """Return the outcome of an attempt that is ended because the worker has to stop now.

        The job may have killed the supervisor itself, or have sent the stop signal. If that never counted, it would
        start again with all later workers; so it does not count once.
        """
        if self.control.supervisor_died:
            outcome = SUPERVISOR_DIED
        elif self.control.sender_ended:
            outcome = SENDER_ENDED
        else:
            return Returned()
        with contextlib.suppress(Busy, BadEnvironment):
            if self.claims.has_ended_as(lease, outcome):
                return Lost(self.control.name, f"stopped because {outcome.why}, as in an earlier attempt")
        return outcome

    def capture(self, token: str, paths: Mapping[str, str], ending: Ending) -> tuple[Ending, frozenset[str], bool]:
        """Return ``ending`` with result and output, the streams that stay spooled, and whether files must be kept."""
        ending, spooled = capture_ending(self.store.spool, token, paths, self.control.settings, ending)
        return (
            ending,
            spooled,
            bool(spooled - {"artifacts"}) or max(ending.stdout_size, ending.stderr_size) > MAX_STREAM_BYTES,
        )

    def check_for_work(self, *, idle: bool) -> bool | None:
        """Return whether a claim may find a job, None if nothing has changed; if ``idle``, notice a drained queue."""
        found = self.buffer.check_for_work()
        if found is False and self.drain and idle and self.buffer.flushed:
            self.drained = self.buffer.all_finished()
        return found

    def can_exit(self) -> bool:
        """Return True if the worker is to stop and its results are recorded: in the journal, if it must stop now."""
        if not (self.control.stop or self.drained):
            return False
        return self.buffer.flushed or (self.control.stop == "now" and self.buffer.blocked)

    def wait(self, wake_at: float, now: float, *, idle: bool) -> None:
        """Wait for an input until ``wake_at`` (monotonic), or until the next scheduled job is due."""
        wake_at = min(wake_at, now + max(0.0, self.buffer.due_in_s()))
        self.events.flush()
        self.control.wait(max(0.0, wake_at - now), idle=idle)

    def finish(self) -> None:
        """Wake the other workers if the queue is drained, so that they can exit too; close the journal.

        Raises
        ------
        BadEnvironment
            The worker's files were removed.
        """
        if self.drained:
            notifier.notify(notifier.work_fifo(self.store.db.spool))
        self.events.flush()
        if self.buffer.flushed:
            self.buffer.journal.close()
        if self.spool_removed:
            raise BadEnvironment(f"{self.store.db.spool} or files in it were removed; start the workers again")
