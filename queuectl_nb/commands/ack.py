"""The answer of a verb: that it was done. All that an enqueue needs, and loads, of the kinds of answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queuectl_nb.client.queue import Queue

__all__ = ["Done", "done", "done_for_jobs", "frame_before_removal", "no_value"]


class Done:
    """A verb was carried out.

    ``lines`` say so, ``data()`` says the same as JSON, ``value()`` is what a notebook's user gets (None where the
    lines say it all), and ``notes`` are warnings, for stderr. A plain class: a dataclass would cost every enqueue a
    millisecond to make.
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
    """Return nothing to hold: the value of what lines say."""


def done(text: str, data: Any = None) -> Done:
    """Return what was done as one text; as data it is ``data``, or the text where that says it all."""
    return Done(text.splitlines(), lambda: text if data is None else data, no_value)


def done_for_jobs(queue: Queue, ids: Sequence[str], line: str, empty: str = "") -> Done:
    """Return that something was done to jobs that are still there; ``line`` has ``{id}`` where the id goes."""

    def data() -> list[dict[str, Any]]:
        from queuectl_nb.render.json_shapes import job_json

        return [job_json(queue.store.jobs.get(job_id)) for job_id in ids]

    lines = [line.format(id=job_id) for job_id in ids] or [empty]
    return Done(lines, data, lambda: queue.jobs_of(ids))


def frame_before_removal(queue: Queue, ids: Sequence[str], *, wanted: bool) -> Callable[[], Any]:
    """Return what gives jobs that are about to be removed as they are now; nothing, where nobody ``holds`` it."""
    if not wanted:
        return no_value
    known = queue.store.reader.states_of(ids)  # an unknown one is told by the verb itself
    frame = queue.jobs_of([job_id for job_id in ids if job_id in known])
    return lambda: frame
