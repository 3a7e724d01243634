"""What pages are sent of the chosen job's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuectl_nb.client.log_tail import LogTail
from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.state import FINISHED_STATES

if TYPE_CHECKING:
    from queuectl_nb.client.log_tail import NewOutput
    from queuectl_nb.client.queue import Queue

__all__ = ["LogFeed"]

NOTHING_CHOSEN = "Choose a job to see what it writes."


class LogFeed:
    """Follows one job at a time. For one thread."""

    def __init__(self, queue: Queue) -> None:
        """Follow jobs of ``queue``."""
        self._queue = queue
        self._tail: LogTail | None = None
        self._anew = True
        self._said: tuple[Any, ...] = ()

    @property
    def job_id(self) -> str | None:
        """The job that is followed."""
        return None if self._tail is None else self._tail.job_id

    def choose(self, job_id: str | None, number: int | None = None) -> None:
        """Follow another job, or another attempt of it."""
        self._tail = None if job_id is None else LogTail(self._queue, job_id, number)
        self._anew = True

    def anew(self) -> None:
        """Begin again: a page was loaded that has nothing yet."""
        self.choose(self.job_id, None if self._tail is None else self._tail.number)

    def message(self) -> dict[str, Any] | None:
        """Return what is new, None where nothing is."""
        tail = self._tail
        if tail is None:
            return self._make({"reset": True, "note": NOTHING_CHOSEN}) if self._anew else None
        try:
            fresh = tail.read_new()
            state = str(self._queue.store.jobs.get(tail.job_id).state)
        except NotFound:
            self._tail = None
            return self._make({"reset": True, "note": f"Job {tail.job_id} was removed."})
        note = _note(fresh, state)
        said = (state, note, fresh.attempts)
        if not (fresh.chunks or fresh.new_attempt or fresh.skipped or self._anew or said != self._said):
            return None
        self._said = said
        return self._make(
            {
                "reset": self._anew or fresh.new_attempt,
                "job": tail.job_id,
                "state": state,
                "number": fresh.number,
                "attempts": fresh.attempts,
                "chosen": tail.number,
                "skipped": fresh.skipped,
                "pieces": fresh.chunks,
                "note": note,
            }
        )

    def _make(self, facts: dict[str, Any]) -> dict[str, Any]:
        self._anew = False
        nothing = {"job": None, "state": None, "number": None, "attempts": 0, "chosen": None, "skipped": 0}
        return {"kind": "log", **nothing, "pieces": [], **facts}


def _note(fresh: NewOutput, state: str) -> str:
    """Return what is said above the lines."""
    if fresh.number is None:
        return "It never started." if state in FINISHED_STATES else "It has not started yet."
    if fresh.outcome is None:
        return f"Attempt {fresh.number} runs." if state == "processing" else f"Attempt {fresh.number}."
    return f"Attempt {fresh.number}: {fresh.outcome.replace('_', ' ')}."
