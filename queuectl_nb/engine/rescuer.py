"""Settles the attempts of lost workers: prove that their processes are gone, then requeue.

Finished attempts are recorded from the worker's journal. Attempts that were only claimed are released at no cost.
Started attempts are killed and count as lost. Nothing is settled while a process of the attempt may be running; the
next run retries.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from queuectl_nb.engine import heartbeat, notifier, proc_files, process_tree
from queuectl_nb.engine.collect import capture_ending
from queuectl_nb.engine.control import remote_lease_s
from queuectl_nb.engine.dask.dispatch_table import read_dispatched
from queuectl_nb.engine.outcome_journal import MAX_STREAM_BYTES, lock_journal, read_journal
from queuectl_nb.engine.proc_files import holds_all
from queuectl_nb.engine.worker_record import FROZE, note_kill, read_record
from queuectl_nb.model.attempt import STREAM_FIELDS, Ending
from queuectl_nb.model.errors import BadEnvironment
from queuectl_nb.model.outcome import Lost
from queuectl_nb.store.artifact_folder import keep_artifacts, take_left
from queuectl_nb.store.artifacts import artifact_dir
from queuectl_nb.store.boot_time import read_boot_time
from queuectl_nb.store.claims import Claims, EndedAttempt, HeldLease
from queuectl_nb.store.identity import detect_copy
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import psutil

    from queuectl_nb.engine.worker_record import WorkerRecord
    from queuectl_nb.model.attempt import KeptArtifacts
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.spool import AttemptLock
    from queuectl_nb.store.store import Store

__all__ = ["Rescued", "Rescuer"]

KILL_TIMEOUT_S = 3.0
"""Time spent on killing leftover processes before the next run continues."""

Rescued = tuple[str, str]
"""Job id, and the worker that held it."""


class _LostWorker(NamedTuple):
    """What is needed to settle the attempts of one lost worker."""

    claims: Claims
    journal: Mapping[str, tuple[Outcome, Ending]]
    lost: Lost
    settings: Settings
    dispatched: frozenset[str]
    """Tokens of attempts sent to other hosts."""
    elsewhere: frozenset[str]
    """Tokens of attempts on other hosts or in other pid namespaces, where processes cannot be checked."""


class Rescuer:
    """Finds lost workers and settles their attempts."""

    def __init__(self, store: Store, reap: Callable[[], object] = lambda: None) -> None:
        """Work on ``store``; ``reap`` is called between kills, in case killed processes are children of this one."""
        detect_copy(store.db, compare_birth_time=True)
        self.store = store
        self.reap = reap
        self._lost_at: dict[str, float] = {}

    def rescue_dead(self) -> list[Rescued]:
        """Settle for all workers that are dead and have no live supervisor; return the rescued jobs."""
        rows = self.store.workers.list_all()
        names = [row.name for row in rows if heartbeat.is_dead(self.store.worker_dir, row)]
        names += self.store.workers.orphaned_workers()
        rescued: list[Rescued] = []
        for name in dict.fromkeys(names):
            # the name cannot be reused meanwhile
            handle = heartbeat.take_lock(self.store.worker_dir, name)
            if handle is None:
                continue
            with handle:
                rescued += self.settle_for(name, "died")
                if not self.held_leases(name):
                    notifier.unregister_worker(self.store, name)
        return rescued

    def held_leases(self, name: str) -> list[HeldLease]:
        """Return the unsettled attempts of the worker ``name``."""
        return Claims(self.store.db, name, "").held_leases()

    def settle_for(self, name: str, why: str) -> list[Rescued]:
        """Settle the attempts of the worker ``name`` whose processes are proven gone; the others wait for the next run.

        Raises
        ------
        BadEnvironment, Busy
            The database or the spool cannot be used at the moment.
        """
        if not self.held_leases(name):
            self._lost_at.pop(name, None)
            return []
        try:
            # one rescuer at a time: another would take this one, which opens the output files, for a process of the job
            handle = lock_journal(self.store.worker_dir, name)
            if handle is None:
                return []
            with handle:
                return self._settle_all(name, why)
        except OSError as error:
            raise BadEnvironment(f"cannot settle the attempts of {name} yet: {error}") from error

    def _settle_all(self, name: str, why: str) -> list[Rescued]:
        claims = Claims(self.store.db, name, "")
        held = claims.held_leases()
        settings = self.store.settings.read_valid()
        dispatched = read_dispatched(self.store.worker_dir, name)
        expired = self._remote_lease_expired(name, settings)
        # what was sent to dask workers is ended by them, and another dispatcher may take it over
        tokens = [lease.token for lease in held if expired or lease.token not in dispatched]
        if os.environ.get(proc_files.TOKEN_VARIABLE) in tokens:
            return []  # this process belongs to the attempt: another rescuer has to kill it
        record = read_record(heartbeat.lock_path(self.store.worker_dir, name))
        if not self._kill_leftovers(name, tokens, record, frozen=why == FROZE):
            return []
        unseen = record.origin is not None and record.origin.may_run_unseen
        lost = Lost(name, why)
        elsewhere = dispatched | {record.token} if unseen else dispatched
        worker = _LostWorker(claims, read_journal(self.store.worker_dir, name), lost, settings, dispatched, elsewhere)
        rescued = []
        for lease in held:
            if lease.token in elsewhere and lease.token not in worker.journal and not expired:
                continue  # may be running where only the end of the lease ends it
            current = lease.token == record.token or lease.pid is not None
            attempt_lock = self.store.spool.lock_attempt(lease.token, name, current=current)
            if attempt_lock is None:
                continue  # a process still holds the files: retried by the next run
            with attempt_lock.locks:
                self._settle(worker, lease, attempt_lock)
            rescued.append((lease.job_id, name))
        if rescued:
            notifier.notify(notifier.work_fifo(self.store.db.spool))
            notifier.notify_finished(notifier.waiter_dir(self.store.db.spool))
        return rescued

    def _remote_lease_expired(self, name: str, settings: Settings) -> bool:
        """Return True if leases of remote attempts have expired, counted from when the worker was found lost."""
        since = self._lost_at.setdefault(name, heartbeat.boot_clock())
        return heartbeat.boot_clock() - since >= remote_lease_s(settings)

    def _kill_leftovers(self, name: str, tokens: Sequence[str], record: WorkerRecord, *, frozen: bool) -> bool:
        """Kill all processes of the attempts; return True once none is left.

        False, too, if the worker has resumed and runs a later attempt, which must go on.
        """
        spool = self.store.spool
        paths: list[str | Path] = [
            *spool.worker_files(name).paths.values(),
            *(spool.path(token, stream) for token in tokens for stream in STREAMS),
        ]
        lock = heartbeat.lock_path(self.store.worker_dir, name)
        session = worker = None
        if record.origin is not None and record.origin.shares_pids:
            if record.pid and record.token in tokens:
                last = max(record.spawn_ended_ns, record.heartbeat_ns)
                session = process_tree.Session(record.pid, record.spawn_began_ns, last)
            if frozen and holds_all(record.origin.pid, [lock]):
                worker = record.origin.pid

        resumed = False

        def find() -> list[psutil.Process]:
            nonlocal resumed
            found = process_tree.holders(tokens, paths, session, worker)
            token = read_record(lock).token  # read again: a worker that resumes may have started another attempt
            if token in tokens:
                if found:
                    note_kill(lock, token)
            elif token != record.token:
                resumed = True
                return []
            return found

        return process_tree.kill_until_gone(find, KILL_TIMEOUT_S, self.reap) and not resumed

    def _settle(self, worker: _LostWorker, lease: HeldLease, attempt_lock: AttemptLock) -> None:
        """Record the attempt as finished, unstarted or lost."""
        claims, settings, now = worker.claims, worker.settings, time.time()
        rand = random.random()
        facts: dict[str, Any] = {"settings": settings, "now": now, "rand": rand, "boottime": read_boot_time()}
        journaled = worker.journal.get(lease.token)
        dispatched = lease.token in worker.dispatched
        if journaled is None and not attempt_lock.started and not dispatched:
            claims.settle_and_claim(released=[lease], **facts)
            return
        lost = replace(worker.lost, may_overlap=lease.token in worker.elsewhere)
        outcome, known = journaled or (lost, Ending(now))
        known = known._replace(artifacts=self._artifacts(lease.token, attempt_lock, settings.artifact_limit))
        ending, spooled = capture_ending(self.store.spool, lease.token, attempt_lock.paths, settings, known)
        if journaled:
            large = max(known.stdout_size, known.stderr_size) > MAX_STREAM_BYTES  # then they are only in the files
            streams = {name: getattr(ending, name) for name in ("note", *STREAM_FIELDS)} if large else {}
            ending = known._replace(artifacts=ending.artifacts, metrics=ending.metrics, **streams)
        try:
            claims.settle_and_claim(ended=[EndedAttempt(lease, outcome, ending)], **facts)
        except (ValueError, OverflowError):
            # nothing that an attempt has left may keep all others from being rescued
            claims.settle_and_claim(ended=[EndedAttempt(lease, lost, Ending(now))], **facts)
        self.store.spool.remove(lease.token, keep=spooled)
        if attempt_lock.started:
            attempt_lock.files.clear()

    def _artifacts(self, token: str, attempt_lock: AttemptLock, limit: int) -> KeptArtifacts | None:
        """Return what is kept of the artifacts of an attempt: the worker may have moved them or not."""
        spool = f"{self.store.spool.folder}"
        kept = keep_artifacts(artifact_dir(spool, token), limit)
        if kept is None and attempt_lock.current:
            return take_left(spool, artifact_dir(spool, attempt_lock.files.name), token, limit)
        return kept

    def rescue_frozen(self, names: Iterable[str]) -> list[Rescued]:
        """Settle for frozen workers: their jobs are killed and requeued."""
        frozen = list(names)
        if frozen:
            self._kill_lock_holders(frozen)
        return [rescued for name in frozen for rescued in self.settle_for(name, FROZE)]

    def _kill_lock_holders(self, frozen: Collection[str]) -> None:
        """Kill frozen workers that hold or wait for the write lock, since they would block all other writers."""
        here = heartbeat.host_name()
        for row in self.store.workers.list_all():
            if row.name in frozen and row.pid and row.host == here:
                # the pid may have been reused: only the worker itself has its lock file open for writing
                lock = heartbeat.lock_path(self.store.worker_dir, row.name)
                if holds_all(row.pid, [lock, self.store.db.write_lock.path]):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(row.pid, signal.SIGKILL)
