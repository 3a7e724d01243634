"""The result of a command that changed something. Kept small: the only result type that ``enqueue`` loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.client.queue import Queue

__all__ = ["Done", "jobs_data"]


class Done:
    """The result of a command that changed something.

    A plain class: creating a dataclass would add a millisecond to every ``enqueue``.

    Attributes
    ----------
    lines
        Lines to print.
    data
        Returns the result as JSON data.
    value
        Returns what the magic returns; None where the lines say everything.
    notes
        Returns warnings and hints, for stderr.
    announce
        Whether a notebook shows the lines although there is a value, since they say more.
    """

    def __init__(
        self,
        lines: Sequence[str],
        data: Callable[[], Any],
        value: Callable[[], Any] = lambda: None,
        *,
        notes: Callable[[], Sequence[str]] = tuple,
        announce: bool = False,
    ) -> None:
        self.lines = lines
        self.data = data
        self.value = value
        self.notes = notes
        self.announce = announce


def jobs_data(queue: Queue, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the JSON of these jobs, in their order; deleted ones are left out."""
    from queuectl_nb.render.json_shapes import job_json
    from queuectl_nb.store.job_filter import Filter

    found = {job.id: job for job in queue.store.reader.jobs(Filter(ids=tuple(ids)))}
    return [job_json(found[job_id]) for job_id in ids if job_id in found]
