"""Writes a history into a queue's tables, for plots of attempts that no worker ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.client import Queue

__all__ = ["Attempt", "insert_history"]


class Attempt(NamedTuple):
    """An attempt in epoch seconds; without an end it is running."""

    worker: str
    started: float
    finished: float | None
    outcome: str | None = "succeeded"
    command: str = "true"
    queue: str = "default"
    tags: str = "[]"


_JOB = """
    INSERT INTO jobs (id, command, state, queue, tags, attempts, starts, cwd, run_at, created_at, updated_at,
        started_at, finished_at, worker, token, rev)
    VALUES (?, ?, ?, ?, ?, 1, 1, '/', ?, ?, ?, ?, ?, ?, ?, 1)
"""
_ATTEMPT = """
    INSERT INTO attempts (job, number, token, worker, host, pid, due_at, undo, started_at, finished_at, outcome)
    VALUES ((SELECT seq FROM jobs WHERE id = ?), 1, ?, ?, 'here', 42, ?, 0, ?, ?, ?)
"""


def insert_history(queue: Queue, past: Iterable[Attempt]) -> None:
    """Insert these attempts, each of its own job."""
    with queue.store.db.write() as connection:
        for index, attempt in enumerate(past):
            name, begun, ended = f"past-{index}", attempt.started, attempt.finished
            state, token = ("processing", name) if ended is None else ("completed", None)
            moments = (begun, begun, ended or begun, begun, ended)
            connection.execute(
                _JOB, (name, attempt.command, state, attempt.queue, attempt.tags, *moments, attempt.worker, token)
            )
            connection.execute(_ATTEMPT, (name, name, attempt.worker, begun, begun, ended, attempt.outcome))
