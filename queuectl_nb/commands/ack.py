"""The result of a command that did something. Kept small: the only result type that ``enqueue`` loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.client.queue import Queue

__all__ = ["Done", "jobs_done"]


class Done:
    """The result of a command that did something.

    A plain class: creating a dataclass would add a millisecond to every ``enqueue``.

    Attributes
    ----------
    lines
        Text for a person.
    data
        Returns the same as JSON.
    value
        Returns what the magic returns; None where the lines say everything.
    notes
        Returns warnings and hints, for stderr.
    """

    def __init__(
        self,
        lines: Sequence[str],
        data: Callable[[], Any],
        value: Callable[[], Any] = lambda: None,
        *,
        notes: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.lines = lines
        self.data = data
        self.value = value
        self.notes = notes


def jobs_done(queue: Queue, ids: Sequence[str], line: str, empty: str = "") -> Done:
    """Return the result of a change to jobs: ``line`` per job, with ``{id}`` filled in, or ``empty``."""

    def data() -> list[dict[str, Any]]:
        from queuectl_nb.render.json_shapes import job_json

        return [job_json(queue.store.jobs.get(job_id)) for job_id in ids]

    lines = [line.format(id=job_id) for job_id in ids] or [empty]
    return Done(lines, data, lambda: queue.jobs(ids=ids))
