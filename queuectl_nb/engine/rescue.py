"""Settling in the place of workers that are lost: first prove their processes gone, then requeue.

What a dead worker had finished is in its journal and is recorded as it was; what it had only claimed goes back
without cost; what it had started is ended, all of it, and costs the attempt. Nothing is settled while a process of
the old attempt may live: then the next look tries again.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

from queuectl_nb.engine import doorbell, liveness, processes
from queuectl_nb.engine.journal import read_journal
from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.outcome import Lost
from queuectl_nb.store.claims import Claims, Ended, Held
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from queuectl_nb.engine.journal import Entry
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.store import Store

__all__ = ["Rescued", "Rescuer"]

PATIENCE = 3.0
"""Seconds a look spends on ending leftovers before it leaves the rest to the next look."""

Rescued = tuple[str, str]
"""Job id, and the worker that had held it."""


class Rescuer:
    """Finds and settles what lost workers held."""

    def __init__(self, store: Store, reap: Callable[[], object] = lambda: None) -> None:
        """Work on ``store``; ``reap`` is called between kills, for leftovers that are our own children."""
        self.store = store
        self.reap = reap

    def rescue_dead(self) -> list[Rescued]:
        """Settle for every worker that neither lives nor has a living pool; return what was rescued."""
        rows = self.store.workers.rows()
        names = [row.name for row in rows if liveness.is_dead(self.store.worker_dir, row.name)]
        names += self.store.workers.orphaned()
        found: list[Rescued] = []
        for name in dict.fromkeys(names):
            # the dead one's lock is the mutex between rescuers
            handle = liveness.take_lock(self.store.worker_dir, name)
            if handle is None:
                continue
            try:
                found += self.settle_for(name, "died")
                if not Claims(self.store.db, name, "").held():
                    self.store.workers.remove(name)
            finally:
                os.close(handle)
        return found

    def settle_for(self, name: str, why: str) -> list[Rescued]:
        """Settle everything that the worker ``name`` holds; what cannot be proven ended is left for another look."""
        claims = Claims(self.store.db, name, "")
        held = claims.held()
        if not held:
            return []
        journal = read_journal(self.store.worker_dir, name)
        started = [each for each in held if self.store.spool.path(each.token, "stdout").exists()]
        self._end_leftovers([each.token for each in started])
        settings = self.store.settings.read()
        found = []
        for each in held:
            if self._settle(claims, each, journal.get(each.token), Lost(name, why), settings):
                found.append((each.job_id, name))
        if found:
            doorbell.ring(doorbell.work_bell(self.store.db.spool))
        return found

    def _end_leftovers(self, tokens: Sequence[str]) -> bool:
        """Kill every process that belongs to one of the attempts, until a look finds none."""
        if not tokens:
            return True
        return processes.end_all(
            lambda: processes.holders(tokens, self.store.spool.folder), PATIENCE, self.reap
        )

    def _settle(
        self, claims: Claims, held: Held, noted: Entry | None, lost: Lost, settings: Settings
    ) -> bool:
        seal = self.store.spool.seal(held.token)
        if seal is None:
            return False  # something still holds the attempt's files; the next look tries again
        with seal:
            now = time.time()
            facts = {"settings": settings, "now": now, "rand": random.random()}  # noqa: S311 - jitter
            if not seal.started:
                claims.turn(back=[held], **facts)
                self.store.spool.remove(held.token)
                return True
            kept = {stream: self.store.spool.keep(held.token, stream, settings.output_limit) for stream in STREAMS}
            out, err = kept["stdout"], kept["stderr"]
            outcome, finished_at, started_at, pid, usage = noted or (lost, now, None, None, None)
            ending = Ending(
                finished_at=finished_at,
                started_at=started_at,
                pid=pid,
                usage=usage or Ending(now).usage,
                stdout=out.head,
                stdout_tail=out.tail,
                stdout_size=out.size,
                stderr=err.head,
                stderr_tail=err.tail,
                stderr_size=err.size,
                result=self.store.spool.result(held.token)[0],
            )
            claims.turn(ended=[Ended(held, outcome, ending)], **facts)
            spooled = frozenset(stream for stream in STREAMS if kept[stream].spooled)
            self.store.spool.remove(held.token, keep=spooled)
        return True

    def rescue_frozen(self, names: Iterable[str]) -> list[Rescued]:
        """Settle for workers that live but do not move: their jobs are ended and run elsewhere."""
        return [rescued for name in names for rescued in self.settle_for(name, "froze")]
