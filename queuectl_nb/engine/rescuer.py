"""Settling in the place of workers that are lost: first prove their processes gone, then requeue.

What a dead worker had finished is in its journal and is recorded as it was; what it had only claimed goes back
without cost; what it had started is ended, all of it, and costs the attempt. Nothing is settled while a process of
the old attempt may live: then the next look tries again.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.engine import heartbeat, notifier, process_tree
from queuectl_nb.engine.collect import capture_ending
from queuectl_nb.engine.dask.dispatch_journal import read_dispatched
from queuectl_nb.engine.outcome_journal import LARGEST_STREAM, lock_journal, read_journal
from queuectl_nb.engine.remote_lease import boot_clock, remote_lease_s
from queuectl_nb.model.errors import BadEnvironment, InvalidSetting, QueuectlError
from queuectl_nb.model.outcome import Lost
from queuectl_nb.model.settings import Settings
from queuectl_nb.store.claims import Claims, EndedAttempt, HeldLease
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from queuectl_nb.model.attempt import Ending
    from queuectl_nb.model.outcome import Outcome
    from queuectl_nb.store.spool import AttemptLock
    from queuectl_nb.store.store import Store

__all__ = ["Rescued", "Rescuer"]

PATIENCE = 3.0
"""Seconds a look spends on ending leftovers before it leaves the rest to the next look."""

Rescued = tuple[str, str]
"""Job id, and the worker that had held it."""


class _Case(NamedTuple):
    """What is known of a lost worker."""

    claims: Claims
    journal: Mapping[str, tuple[Outcome, Ending]]
    lost: Lost
    settings: Settings
    sent: frozenset[str]
    """Attempts that left for another host, where nothing can be proven."""


class Rescuer:
    """Finds and settles what lost workers held."""

    def __init__(self, store: Store, reap: Callable[[], object] = lambda: None) -> None:
        """Work on ``store``; ``reap`` is called between kills, for leftovers that are our own children."""
        self.store = store
        self.reap = reap
        self._lost_at: dict[str, float] = {}

    def rescue_dead(self) -> list[Rescued]:
        """Settle for every worker that neither lives nor has a living pool; return what was rescued."""
        rows = self.store.workers.list_all()
        names = [row.name for row in rows if heartbeat.is_dead(self.store.worker_dir, row.name)]
        names += self.store.workers.orphaned_workers()
        found: list[Rescued] = []
        for name in dict.fromkeys(names):
            # nobody can take the name while it is settled for
            handle = heartbeat.take_lock(self.store.worker_dir, name)
            if handle is None:
                continue
            try:
                found += self.settle_for(name, "died")
                if not self.held_by(name):
                    self.store.workers.remove(name)
            finally:
                os.close(handle)
        return found

    def held_by(self, name: str) -> list[HeldLease]:
        """Return what the worker ``name`` holds."""
        return Claims(self.store.db, name, "").held_leases()

    def settle_for(self, name: str, why: str) -> list[Rescued]:
        """Settle everything that the worker ``name`` holds; what cannot be proven ended is left for another look.

        Raises
        ------
        BadEnvironment, Busy
            The file or the spool does not let it: another look may have more luck.
        """
        if not self.held_by(name):
            self._lost_at.pop(name, None)
            return []
        with _plain(name):
            # one at a time: to another's search who settles would look like a process that holds the attempt's files
            handle = lock_journal(self.store.worker_dir, name)
            if handle is None:
                return []
            try:
                return self._settle_all(name, why)
            finally:
                os.close(handle)

    def _settle_all(self, name: str, why: str) -> list[Rescued]:
        claims = Claims(self.store.db, name, "")
        held = claims.held_leases()
        current = heartbeat.current_token(self.store.worker_dir, name)
        if not self._end_leftovers(name, [each.token for each in held]):
            return []
        sent = read_dispatched(self.store.worker_dir, name)
        lost = Lost(name, why)
        case = _Case(claims, read_journal(self.store.worker_dir, name), lost, self._settings(), sent)
        lapsed = self._lapsed(name, case.settings)
        found = []
        for each in held:
            if each.token in sent and each.token not in case.journal and not lapsed:
                continue  # elsewhere it may still run: its host ends it when the lease has run out
            seal = self.store.spool.lock_attempt(each.token, name, current=each.token == current)
            if seal is None:
                continue  # a process still holds the attempt's files: the next look tries again
            with seal:
                self._settle(case, each, seal)
            found.append((each.job_id, name))
        if found:
            notifier.notify(notifier.work_fifo(self.store.db.spool))
        return found

    def _lapsed(self, name: str, settings: Settings) -> bool:
        """Tell whether the lease of what the worker sent away has run out everywhere, as seen since we know it lost."""
        since = self._lost_at.setdefault(name, boot_clock())
        return boot_clock() - since >= remote_lease_s(settings)

    def _settings(self) -> Settings:
        """Return the settings; a spoilt one must not keep a lost job from being rescued."""
        try:
            return self.store.settings.read()
        except InvalidSetting:
            return Settings.from_stored({})

    def _end_leftovers(self, name: str, tokens: Sequence[str]) -> bool:
        """Kill every process that belongs to one of the attempts; tell whether a look found none any more."""
        spool = self.store.spool
        paths: list[str | Path] = [
            *spool.slot(name).paths.values(),
            *(spool.path(token, stream) for token in tokens for stream in STREAMS),
        ]
        return process_tree.end_all(lambda: process_tree.holders(tokens, paths), PATIENCE, self.reap)

    def _settle(self, case: _Case, held: HeldLease, seal: AttemptLock) -> None:
        """Record the attempt as what it was: finished, never started, or lost."""
        claims, settings, now = case.claims, case.settings, time.time()
        rand = random.random()  # noqa: S311 - jitter
        noted = case.journal.get(held.token)
        away = held.token in case.sent
        if noted is None and not seal.started and not away:
            claims.settle_and_claim(released=[held], settings=settings, now=now, rand=rand)
            return
        ending, spooled = capture_ending(
            self.store.spool, held.token, seal.paths, limit=settings.output_limit, finished_at=now
        )
        outcome: Outcome = replace(case.lost, may_overlap=away)
        if noted is not None:
            outcome, known = noted
            ending = ending if max(known.stdout_size, known.stderr_size) > LARGEST_STREAM else known
            ending = ending._replace(
                finished_at=known.finished_at,
                started_at=known.started_at,
                pid=known.pid,
                host=known.host,
                note=known.note or ending.note,
                usage=known.usage,
            )
        claims.settle_and_claim(ended=[EndedAttempt(held, outcome, ending)], settings=settings, now=now, rand=rand)
        self.store.spool.remove(held.token, keep=spooled)
        if seal.started:
            seal.clear()

    def rescue_frozen(self, names: Iterable[str]) -> list[Rescued]:
        """Settle for workers that live but do not move: their jobs are ended and run elsewhere."""
        frozen = list(names)
        if frozen:
            self._free_gate(frozen)
        return [rescued for name in frozen for rescued in self.settle_for(name, "froze")]

    def _free_gate(self, frozen: Collection[str]) -> None:
        """End who stands still within a write, or before one: while it lives nobody else may ever get in."""
        here = heartbeat.host()
        for row in self.store.workers.list_all():
            if row.name in frozen and row.pid and row.host == here:
                lock = heartbeat.lock_path(self.store.worker_dir, row.name)  # who holds it is the worker itself
                if process_tree.holds_all(row.pid, [lock, self.store.db.write_lock.path]):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(row.pid, signal.SIGKILL)


@contextlib.contextmanager
def _plain(name: str) -> Iterator[None]:
    """Turn what the system says about a lost worker's files into an error of ours."""
    try:
        yield
    except QueuectlError:
        raise
    except OSError as error:
        msg = f"what {name} left cannot be settled yet: {error}"
        raise BadEnvironment(msg) from error
