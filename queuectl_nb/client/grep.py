"""Search the output of jobs, live and stored, line by line."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from queuectl_nb.client.logs import Logs
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.validation import parse_int, quoted
from queuectl_nb.render.ansi import AnsiFilter, strip_colours
from queuectl_nb.store.job_lists import iter_outputs
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from queuectl_nb.model.attempt import AttemptRecord
    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.store import Store

__all__ = ["FoundLine", "Search"]

MAX_LINE_CHARS = 1024 * 1024
"""A longer line is searched in parts, and the one that matches is shown."""
OVERLAP_CHARS = 64 * 1024
"""What a part repeats of the one before it, so that a match is not cut."""
_ALONE = re.compile(r"\\[AZz]|\(\?<?!")
"""Anchors and negative assertions, which can match at the end of a line only if it is searched alone."""


class FoundLine(NamedTuple):
    """A line of output that matches, or that is shown because it is near one."""

    job_id: str
    attempt: int
    stream: str
    line: int
    """Number of the line, from 1."""
    text: str
    """Without escape sequences."""
    matches: bool


class Search:
    """A search for a regular expression in the lines of outputs.

    Parameters
    ----------
    pattern
        A regular expression of Python.
    context
        Number of lines to return before and after each match.

    Raises
    ------
    BadInput
        The pattern is not valid.
    """

    def __init__(self, store: Store, pattern: str, *, ignore_case: bool = False, context: int = 0) -> None:
        self._logs = Logs(store)
        self._context = parse_int("context", context, 0, 1000)
        if not isinstance(pattern, str):
            raise BadInput(f"pattern must be text, not {type(pattern).__name__}")
        flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
        try:
            self._pattern = re.compile(pattern, flags)
        except (re.error, OverflowError, RecursionError) as error:
            raise BadInput(f"pattern {quoted(pattern)} is not a regular expression: {error}") from None
        self._may_skip = not _ALONE.search(pattern)

    def run(self, job_filter: Filter, *, all_attempts: bool = False) -> Iterator[FoundLine]:
        """Yield the lines of the jobs' latest attempts, or of all, in enqueue order."""
        store = self._logs.store
        for output in iter_outputs(store.db, job_filter, all_attempts=all_attempts):
            for stream in STREAMS:
                text = output.streams[stream]
                if text is None:  # it is running, or only a part of it is in the database
                    attempt = self._logs.with_output(output.job_id, output.number)
                    lines: Iterable[str] = self._spooled_lines(attempt, stream) if attempt is not None else ()
                else:
                    lines = self._stored_lines(text)
                for number, line, matches in self._search(lines):
                    yield FoundLine(output.job_id, output.number, stream, number, strip_colours(line), matches)

    def _stored_lines(self, stream: str | bytes) -> Iterable[str]:
        """Return the lines of a stream; none if it does not match as a whole, which is cheaper to find out."""
        text = stream.decode("utf-8", "replace") if isinstance(stream, bytes) else stream
        if "\x1b" in text or "\r" in text:
            ansi = AnsiFilter(keep_colours=False)
            text = ansi.feed(text.encode()) + ansi.close()
        if not text or (self._may_skip and not self._pattern.search(text)):
            return ()
        return text.removesuffix("\n").split("\n")

    def _spooled_lines(self, attempt: AttemptRecord, stream: str) -> Iterator[str]:
        """Yield the lines of a stream that may be long, chunk by chunk; of a long line, the part that matches."""
        ansi, rest, found = AnsiFilter(keep_colours=False), "", ""
        for data in self._logs.iter_chunks(attempt, stream):
            *lines, rest = (rest + ansi.feed(data)).split("\n")
            if found and lines:
                lines[0], found = found, ""
            yield from lines
            if len(rest) > MAX_LINE_CHARS:
                if not found and self._pattern.search(rest):
                    found = rest
                rest = rest[-OVERLAP_CHARS:]
        if rest := found or rest + ansi.close():
            yield rest

    def _search(self, lines: Iterable[str]) -> Iterator[tuple[int, str, bool]]:
        """Yield number and text of the lines that match, and of those around them, and whether they match."""
        before: deque[tuple[int, str]] = deque(maxlen=self._context)
        left = 0
        for number, line in enumerate(lines, 1):
            if self._pattern.search(line):
                yield from ((*each, False) for each in before)
                before.clear()
                yield number, line, True
                left = self._context
            elif left:
                yield number, line, False
                left -= 1
            else:
                before.append((number, line))
