"""A past for a queue, written straight into its tables: what no worker needs to live through for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queuectl_nb.client import Queue

__all__ = ["Was", "live_through"]


class Was(NamedTuple):
    """An attempt that was: seconds since the epoch; one without an end runs."""

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


def live_through(queue: Queue, past: Iterable[Was]) -> None:
    """Give the queue's history these attempts, each of a job of its own."""
    with queue.store.db.write() as connection:
        for place, was in enumerate(past):
            name, begun, ended = f"past-{place}", was.started, was.finished
            state, token = ("processing", name) if ended is None else ("completed", None)
            moments = (begun, begun, ended or begun, begun, ended)
            connection.execute(_JOB, (name, was.command, state, was.queue, was.tags, *moments, was.worker, token))
            connection.execute(_ATTEMPT, (name, name, was.worker, begun, begun, ended, was.outcome))
