"""Follows the log of the selected job for the pages of a dashboard: its end first, then what is appended."""

from __future__ import annotations

import codecs
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.logs import Logs
from queuectl_nb.client.metrics import JobMetrics, latest_metrics
from queuectl_nb.model.call import Kind
from queuectl_nb.model.displayed_command import listed_command
from queuectl_nb.model.errors import NotFound
from queuectl_nb.model.state import FINISHED_STATES
from queuectl_nb.render.text_table import visible
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.attempt import AttemptRecord

__all__ = ["LogFeed", "LogTail", "NewOutput"]

INITIAL_BYTES = 128 * 1024
"""Maximum bytes of a stream in the first read."""
MAX_BYTES = 32 * 1024
"""Maximum bytes of a stream in each later read; excess output is skipped."""
METRICS_INTERVAL_S = 1.0
NO_JOB_NOTE = "Select a job to see its output."


class LogFeed:
    """Follows the log of the selected job. For one thread."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._tail: LogTail | None = None
        self._restart = True
        self._sent: tuple[Any, ...] = ()
        self._metrics = JobMetrics(None, ())
        self._metrics_key: tuple[Any, ...] = ()
        self._metrics_at = 0.0

    @property
    def job_id(self) -> str | None:
        """The selected job."""
        return None if self._tail is None else self._tail.job_id

    def select(self, job_id: str | None, number: int | None = None) -> None:
        """Follow another job, or another attempt of it."""
        self._tail = None if job_id is None else LogTail(self._queue, job_id, number)
        self._restart = True

    def restart(self) -> None:
        """Send the log from its beginning, for a page that was just loaded."""
        self.select(self.job_id, None if self._tail is None else self._tail.number)

    def message(self) -> dict[str, Any] | None:
        """Return new output and state; None if nothing changed."""
        tail = self._tail
        if tail is None:
            return self._make({"reset": True, "note": NO_JOB_NOTE}) if self._restart else None
        try:
            new = tail.read_new()
            job = self._queue.store.jobs.get(tail.job_id)
        except NotFound:
            self._tail = None
            return self._make({"reset": True, "note": f"Job {tail.job_id} was removed."})
        state = str(job.state)
        note = _note(new, state)
        metrics = self._metrics_of(tail.job_id, (state, new.attempts), running=state == "processing")
        sent = (state, note, new.attempts, job.error, job.result_repr, metrics)
        if not (new.chunks or new.new_attempt or new.skipped or self._restart or sent != self._sent):
            return None
        self._sent = sent
        return self._make(
            {
                "reset": self._restart or new.new_attempt,
                "job": tail.job_id,
                "state": state,
                "call": None if job.kind == Kind.COMMAND else listed_command(job.command),
                "error": job.error,
                "result": job.result_repr,
                "number": new.number,
                "attempts": new.attempts,
                "selected": tail.number,
                "skipped": new.skipped,
                "pieces": new.chunks,
                "note": note,
                "metrics": {"progress": metrics.progress, "series": [each._asdict() for each in metrics.series]},
            }
        )

    def _metrics_of(self, job_id: str, state: tuple[str, int], *, running: bool) -> JobMetrics:
        """Return what the latest attempt has reported; read again when the job has changed, or every second."""
        key, now = (job_id, *state), time.monotonic()
        if key != self._metrics_key or (running and now - self._metrics_at >= METRICS_INTERVAL_S):
            self._metrics = latest_metrics(self._queue.store, job_id)
            self._metrics_key, self._metrics_at = key, now
        return self._metrics

    def _make(self, fields: dict[str, Any]) -> dict[str, Any]:
        self._restart = False
        defaults = {"job": None, "state": None, "number": None, "attempts": 0, "selected": None, "skipped": 0}
        return {"kind": "log", **defaults, "pieces": [], **fields}


def _note(new: NewOutput, state: str) -> str:
    """Return the line above the output."""
    if new.number is None:
        return "The job never started." if state in FINISHED_STATES else "The job has not started yet."
    if new.outcome is None:
        return f"Attempt {new.number} is running." if state == "processing" else f"Attempt {new.number}."
    if new.outcome == "returned":
        return f"Attempt {new.number} was returned to the queue; it does not count."
    return f"Attempt {new.number}: {visible(new.error) if new.error else new.outcome.replace('_', ' ') + '.'}"


@dataclass
class NewOutput:
    """The output since the previous read."""

    number: int | None = None
    """The attempt; None: the job has not started."""
    attempts: int = 0
    """Number of attempts."""
    outcome: str | None = None
    error: str | None = None
    new_attempt: bool = False
    """It is another attempt than at the previous read."""
    chunks: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of stream and text."""
    skipped: int = 0
    """Bytes that are left out before the chunks."""
    end: bool = False
    """Nothing more follows from this attempt."""


class LogTail:
    """Follows the output of one job: of attempt ``number``, or always of the latest."""

    def __init__(self, queue: Queue, job_id: str, number: int | None = None) -> None:
        """Follow the job ``job_id`` of ``queue``."""
        self.job_id = job_id
        self.number = number
        self._logs = Logs(queue.store)
        self._token: str | None = None
        self._offsets: dict[str, int] = {}
        """Offsets of the streams that have not ended; -1 before the first read."""
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def read_new(self) -> NewOutput:
        """Return new output; raise ``NotFound`` if the job or attempt was deleted."""
        newest = self._logs.attempt(self.job_id)
        attempt = newest if self.number is None else self._logs.attempt(self.job_id, self.number)
        if attempt is None or newest is None:
            return NewOutput()
        fresh = NewOutput(attempt.number, newest.number, attempt.outcome, attempt.error)
        if attempt.token != self._token:
            self._start_attempt(attempt)
            fresh.new_attempt = True
        for stream in [*self._offsets]:
            self._read(attempt, stream, fresh)
        fresh.end = not self._offsets
        return fresh

    def _start_attempt(self, attempt: AttemptRecord) -> None:
        self._token = attempt.token
        self._offsets = dict.fromkeys(STREAMS, -1)
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in STREAMS}

    def _read(self, attempt: AttemptRecord, stream: str, fresh: NewOutput) -> None:
        first = self._offsets[stream] < 0
        offset = max(0, self._offsets[stream])
        most = INITIAL_BYTES if first else MAX_BYTES
        size = self._logs.size(attempt, stream)
        if size - offset > most:
            fresh.skipped += size - most - offset
            offset = size - most
        piece = self._logs.read_chunk(attempt, stream, offset, most)
        self._offsets[stream] = piece.next
        over = attempt.outcome is not None and (piece.end or not piece.data)
        text = self._decoders[stream].decode(piece.data, final=over)
        if over:
            del self._offsets[stream]
        if text:
            fresh.chunks.append((stream, text))
