"""The result of a command that did something. Kept small: the only result type that ``enqueue`` loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.client.queue import Queue

__all__ = ["Done", "done", "frame_before_removal", "jobs_done", "no_value"]


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
        Warnings, for stderr.
    """

    def __init__(
        self,
        lines: Sequence[str],
        data: Callable[[], Any],
        value: Callable[[], Any],
        *,
        notes: Sequence[str] = (),
    ) -> None:
        self.lines = lines
        self.data = data
        self.value = value
        self.notes = notes


def no_value() -> None:
    """Return None, the value of a result without one."""


def done(text: str, data: Any = None) -> Done:
    """Return a result from text; its JSON is ``data``, or the text if that is None."""
    return Done(text.splitlines(), lambda: text if data is None else data, no_value)


def jobs_done(queue: Queue, ids: Sequence[str], line: str, empty: str = "") -> Done:
    """Return the result of a change to jobs: ``line`` per job, with ``{id}`` filled in, or ``empty``."""

    def data() -> list[dict[str, Any]]:
        from queuectl_nb.render.json_shapes import job_json

        return [job_json(queue.store.jobs.get(job_id)) for job_id in ids]

    lines = [line.format(id=job_id) for job_id in ids] or [empty]
    return Done(lines, data, lambda: queue.jobs(ids=ids))


def frame_before_removal(queue: Queue, ids: Sequence[str], *, wanted: bool) -> Callable[[], Any]:
    """Return a function that returns the frame of jobs as they are now, before they are deleted."""
    if not wanted:
        return no_value
    known = queue.store.reader.states_of(ids)  # the command itself reports unknown ids
    frame = queue.jobs(ids=[job_id for job_id in ids if job_id in known])
    return lambda: frame
