"""Reads the output of attempts, from the spool while it is written or too large, else from the database."""

from __future__ import annotations

import codecs
import math
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.state import FINISHED_STATES
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.store.store import Store

__all__ = ["Chunk", "Logs"]

CHUNK_BYTES = 256 * 1024
"""Size of a chunk."""
MAX_TEXT_BYTES = 256 * 1024 * 1024
"""Memory that output may take as one text; more could fill the memory of a notebook."""
FOLLOW_POLL_S = 0.1
"""Interval at which a followed file is checked."""


class Chunk(NamedTuple):
    """A part of a stream: its bytes, the offset after them, and whether the stream ends there."""

    data: bytes
    next: int
    end: bool


class Logs:
    """Reads the output of jobs."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``."""
        self.store = store

    def attempt(self, job_id: str, number: int | None = None) -> AttemptRecord | None:
        """Return an attempt (default: the latest) for the other methods, or None if the job has none.

        Raises :class:`NotFound` for an unknown job or attempt.
        """
        self.store.jobs.get(job_id)
        known_facts = self.store.reader.attempts_without_output(job_id)
        if number is None and not known_facts:
            return None
        found = self.with_output(job_id, known_facts[-1].number if number is None else number)
        if found is not None or number is None:
            return found
        known = ", ".join(str(attempt.number) for attempt in known_facts) or "none yet"
        raise NotFound(f"job {job_id} has no attempt {number}; attempts: {known}")

    def with_output(self, job_id: str, number: int) -> AttemptRecord | None:
        """Return an attempt with its streams as bytes: encoding text for each chunk would take quadratic time."""
        found = self.store.reader.attempt(job_id, number)
        if found is None:
            return None
        stdout, stderr = (text.encode() if isinstance(text, str) else text for text in (found.stdout, found.stderr))
        return found._replace(stdout=stdout, stderr=stderr)

    def read_text(self, attempt: AttemptRecord, streams: Iterable[str], tail: int | None = None) -> str:
        """Return streams of an attempt one after the other as text, or the last ``tail`` lines of each.

        Raises :class:`BadInput` if that takes more memory than :data:`MAX_TEXT_BYTES`.
        """
        text, width, job_id = "", 1, attempt.job_id
        for stream in streams:
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            for data in self.iter_chunks(attempt, stream, self.start_offset(attempt, stream, tail)):
                piece = decoder.decode(data)
                width = max(width, _bytes_per_char(piece))
                if (len(text) + len(piece)) * width > MAX_TEXT_BYTES:
                    raise BadInput(
                        f"the output of job {job_id} takes more than {MAX_TEXT_BYTES >> 20} MiB as text; write it to a"
                        f" file with 'queuectl log {job_id} > FILE', or read its end with tail=N"
                    ).with_option("tail=N", "--tail N")
                text += piece  # grows in place: to join pieces takes twice the memory
            text += decoder.decode(b"", final=True)
        return text

    def start_offset(self, attempt: AttemptRecord, stream: str, tail: int | None) -> int:
        """Return the offset of the last ``tail`` lines of a stream, however long they are; None: 0.

        Text overwritten with CR (a progress bar) counts as one line.
        """
        if tail is None:
            return 0
        end, count = self.size(attempt, stream), tail
        if not count:
            return end
        last = end - 1  # a newline there ends the last line
        while end > 0:
            begin = max(0, end - CHUNK_BYTES)
            for start, data in reversed(list(self._pieces(attempt, stream, begin, end))):
                at = min(len(data), last - start)
                lines = data.count(b"\n", 0, max(0, at))
                if lines < count:
                    count -= lines
                    continue
                for _ in range(count):
                    at = data.rfind(b"\n", 0, at)
                return start + at + 1
            end = begin
        return 0

    def _pieces(self, attempt: AttemptRecord, stream: str, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield the offset and bytes of each piece of a stream between two offsets, without holes."""
        while begin < end:
            start, data, _ = self._read(attempt, stream, begin, end - begin)
            data = data[: max(0, end - start)]
            if not data:
                return
            yield start, data
            begin = start + len(data)

    def iter_chunks(self, attempt: AttemptRecord, stream: str, offset: int = 0) -> Iterator[bytes]:
        """Yield a stream from ``offset`` in chunks, from the database if the attempt ends meanwhile."""
        while True:
            piece = self.read_chunk(attempt, stream, offset)
            if not piece.data and attempt.outcome is None:
                attempt = self.with_output(attempt.job_id, attempt.number) or attempt
                piece = self.read_chunk(attempt, stream, offset)
            if piece.data:
                yield piece.data
            if piece.end or not piece.data:
                return
            offset = piece.next

    def read_chunk(self, attempt: AttemptRecord, stream: str, offset: int, count: int = CHUNK_BYTES) -> Chunk:
        """Return up to ``count`` bytes of a stream from byte ``offset``.

        Offsets refer to the stored output: the whole stream in the spool, or the head and tail in the database.
        """
        start, data, size = self._read(attempt, stream, offset, count)
        gap = f"\n... {start - offset} bytes not kept ...\n".encode() if start > offset else b""
        end = start + len(data)
        return Chunk(gap + data, end, end=attempt.outcome is not None and end >= size)

    def _read(self, attempt: AttemptRecord, stream: str, offset: int, count: int) -> tuple[int, bytes, int]:
        """Return where the next data of a stream starts, up to ``count`` bytes of it, and the size of the stream."""
        found = self.store.spool.read(attempt.token, stream, offset, count)
        if found is not None:
            return *found, self.store.spool.size(attempt.token, stream)
        if attempt.outcome is None:
            return offset, b"", 0
        raw = getattr(attempt, stream) or b""
        return offset, raw[offset : offset + count], len(raw)

    def size(self, attempt: AttemptRecord, stream: str) -> int:
        """Return the number of bytes of a stream that can be read now."""
        return self.store.spool.size(attempt.token, stream) or len(getattr(attempt, stream) or b"")

    def read_last_bytes(self, attempt: AttemptRecord, count: int) -> bytes:
        """Return up to ``count`` last bytes of the stream that was written most recently."""
        _, size, stream = max((*self.store.spool.last_write(attempt.token, stream), stream) for stream in STREAMS)
        offset, last = max(0, size - count), b""
        while offset < size and (found := self.store.spool.read(attempt.token, stream, offset, count)):
            start, last = found  # a read ends before a hole
            offset = start + len(last)
            if not last:
                break
        return last

    def read_ending(self, attempt: AttemptRecord, count: int) -> bytes:
        """Return up to ``count`` last bytes of a finished attempt: of stderr, if it failed, else of stdout.

        If nothing was written there, of the other stream.
        """
        return next(iter(self.read_endings(attempt, count).values()), b"")

    def read_endings(self, attempt: AttemptRecord, count: int) -> dict[str, bytes]:
        """Return up to ``count`` last bytes of each stream of a finished attempt, the one that tells more first."""
        found = self.with_output(attempt.job_id, attempt.number) or attempt
        order = STREAMS if attempt.outcome == "succeeded" else reversed(STREAMS)
        endings = {each: self.read_chunk(found, each, max(0, self.size(found, each) - count)).data for each in order}
        return {stream: data for stream, data in endings.items() if data.strip()}

    def follow(
        self,
        job_id: str,
        number: int | None = None,
        tail: int | None = None,
        *,
        since: float | None = None,
        on_attempt: Callable[[int], None] | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (stream, bytes) as they are written, until the job (or the given attempt) has finished.

        Without ``number``, follow the attempts one after the other until the job finishes; wait for a job that has
        not started. They begin with the newest one, or with the first that has not finished before the time ``since``,
        unless the job has finished before. ``tail`` starts with that many last lines of the existing output.
        ``on_attempt`` is called with the number of each attempt before its first chunk, ``on_wait`` several times a
        second while there is no output.
        """
        self.attempt(job_id, number)
        seen = set() if number else self._earlier_attempts(job_id, since)
        while True:
            # read the state before the history, so that no attempt of a finished job is missed
            over = self.store.jobs.get(job_id).state in FINISHED_STATES or number is not None
            history = self.store.reader.attempts_without_output(job_id)
            fresh = [each for each in history if each.token not in seen and number in (None, each.number)]
            for facts in fresh:
                seen.add(facts.token)
                attempt = self.with_output(job_id, facts.number)
                if attempt is not None:  # else it was returned to the queue meanwhile
                    if on_attempt is not None:
                        on_attempt(attempt.number)
                    yield from self._follow_attempt(attempt, tail, on_wait)
                    tail = None
            if not fresh:
                if over:
                    return
                on_wait()
                time.sleep(FOLLOW_POLL_S)

    def _earlier_attempts(self, job_id: str, since: float | None) -> set[str]:
        """Return the tokens of the attempts that are not followed."""
        is_over = self.store.jobs.get(job_id).is_finished
        history = self.store.reader.attempts_without_output(job_id)
        before = [each for each in history if since is None or (each.finished_at or math.inf) < since]
        if since is None or is_over:  # the newest one is all there is to show
            before = [each for each in before if each is not history[-1]]
        return {each.token for each in before}

    def _follow_attempt(
        self, attempt: AttemptRecord, tail: int | None, on_wait: Callable[[], None]
    ) -> Iterator[tuple[str, bytes]]:
        offsets = {stream: self.start_offset(attempt, stream, tail) for stream in STREAMS}
        while offsets:
            over, quiet = attempt.outcome is not None, True
            for stream, offset in [*offsets.items()]:
                piece = self.read_chunk(attempt, stream, offset)
                offsets[stream] = piece.next
                if piece.data:
                    quiet = False
                    yield stream, piece.data
                if over and (piece.end or not piece.data):
                    del offsets[stream]
            if over:
                continue
            if quiet:
                on_wait()
                time.sleep(FOLLOW_POLL_S)
            try:
                attempt = self.attempt(attempt.job_id, attempt.number) or attempt
            except NotFound:
                return  # returned to the queue before it started, or deleted


def _bytes_per_char(text: str) -> int:
    """Return how many bytes each character takes: a single one above U+FFFF makes it four for all (PEP 393)."""
    # the size of the text itself may include its UTF-8 form
    return 1 if text.isascii() else (sys.getsizeof(text * 3) - sys.getsizeof(text * 2)) // len(text)
