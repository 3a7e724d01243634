"""What the end of one job means for those that wait for it (``--after``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from queuectl_nb.model.state import State
from queuectl_nb.store.queries import Q

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["cancel_waiting", "unmet_dependencies", "update_dependents"]

UNMEETABLE = (State.DEAD, State.CANCELLED)


def unmet_dependencies(connection: sqlite3.Connection, seq: int) -> list[tuple[str, State]]:
    """Return id and state of the jobs that job ``seq`` still waits for."""
    return [(job_id, State(state)) for job_id, state in connection.execute(Q.unmet_of, {"seq": seq})]


def update_dependents(connection: sqlite3.Connection, seq: int, job_id: str, state: State, now: float) -> int:
    """Tell the dependents of a job that came to rest; return how many became ready to run.

    Completed: those that wait for nothing else become pending. Dead or cancelled: all of them are cancelled with
    the reason, and theirs in turn.
    """
    woken = 0
    ended = [(seq, job_id, state)]
    while ended:
        seq, job_id, state = ended.pop()
        if state is State.COMPLETED:
            woken += connection.execute(Q.unblock_dependents, {"seq": seq, "now": now}).rowcount
            continue
        blocked = connection.execute(Q.blocked_dependents, {"seq": seq}).fetchall()
        cancel_waiting(connection, [each for each, _ in blocked], f"job {job_id}, which it waited for, is {state}", now)
        ended += [(each, name, State.CANCELLED) for each, name in blocked]
    return woken


def cancel_waiting(connection: sqlite3.Connection, seqs: Sequence[int], error: str, now: float) -> None:
    """Cancel jobs that no worker holds, with the reason as their error."""
    connection.execute(Q.cancel_waiting, {"places": json.dumps(seqs), "error": error, "now": now})
