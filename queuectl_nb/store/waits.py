"""What new jobs wait for: ``after`` resolved to places, and to the state in which such a job begins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.state import State
from queuectl_nb.store.dependencies import UNMEETABLE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from queuectl_nb.model.job import JobSpec

__all__ = ["DependencyResolver"]


class DependencyResolver:
    """The waits of a list of new jobs; :meth:`of` is asked for one after the other, in their order.

    ``others`` and ``jobs`` are the two columns of ``dependents`` for what was asked so far.
    """

    def __init__(self, connection: sqlite3.Connection, new_jobs: Mapping[str, int], specs: Sequence[JobSpec]) -> None:
        """Look up all that the ``specs`` wait for at once; ``places`` are those of the new jobs by id."""
        self.new_jobs = new_jobs
        self.others: list[int] = []
        self.jobs: list[int] = []
        self._cancelled: set[int] = set()
        names = sorted({name for spec in specs for name in spec.after})
        sql = "SELECT id, seq, state FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
        found = connection.execute(sql, (json.dumps(names),)).fetchall()
        self._existing = {name: (place, State(state)) for name, place, state in found}

    def resolve(self, spec: JobSpec, seq: int) -> tuple[State, str | None]:
        """Return the state that the job of ``spec`` begins in, and why where it is cancelled."""
        state, why = State.PENDING, None
        for other in spec.after:
            at, found = self._find(other, seq)
            self.others.append(at)
            self.jobs.append(seq)
            if found in UNMEETABLE and why is None:
                self._cancelled.add(seq)
                state, why = State.CANCELLED, f"job {other}, which it waited for, is {found}"
            elif found is not State.COMPLETED and why is None:
                state = State.BLOCKED
        return state, why

    def _find(self, other: str, seq: int) -> tuple[int, State]:
        ours = self.new_jobs.get(other)
        if ours is not None and ours < seq:
            return ours, State.CANCELLED if ours in self._cancelled else State.BLOCKED
        if other not in self._existing:
            msg = f"no job {other} to wait for (after); it must be in the queue, or stand earlier in the same list"
            raise NotFound(msg).with_index(seq - min(self.new_jobs.values()))
        return self._existing[other]
