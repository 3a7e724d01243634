"""Read the end of a job's output, then what is appended, attempt after attempt."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from queuectl_nb.client.logs import Logs
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.attempt import AttemptRecord

__all__ = ["LogTail", "NewOutput"]

INITIAL_BYTES = 128 * 1024
"""Maximum bytes of a stream in the first read."""
MAX_BYTES = 32 * 1024
"""Maximum bytes of a stream in each later read; excess output is skipped."""


@dataclass
class NewOutput:
    """The output since the previous read.

    ``number`` is the attempt (None: the job has not started), ``attempts`` the number of attempts,
    ``began`` that it is another one than before, ``pieces`` are (stream, text), ``skipped`` counts bytes that are
    left out before them, and ``end`` means that nothing more follows from this attempt.
    """

    number: int | None = None
    attempts: int = 0
    outcome: str | None = None
    new_attempt: bool = False
    chunks: list[tuple[str, str]] = field(default_factory=list)
    skipped: int = 0
    end: bool = False


class LogTail:
    """Follows the output of one job: of attempt ``number``, or always of the latest."""

    def __init__(self, queue: Queue, job_id: str, number: int | None = None) -> None:
        """Follow the job ``job_id`` of ``queue``."""
        self.job_id = job_id
        self.number = number
        self._logs = Logs(queue.store)
        self._token: str | None = None
        self._offsets: dict[str, int] = {}
        """Of the streams that have not ended; -1 before the first read."""
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def read_new(self) -> NewOutput:
        """Return new output; raise ``NotFound`` if the job or attempt was deleted."""
        newest = self._logs.attempt(self.job_id)
        attempt = newest if self.number is None else self._logs.attempt(self.job_id, self.number)
        if attempt is None or newest is None:
            return NewOutput()
        fresh = NewOutput(attempt.number, newest.number, attempt.outcome)
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
