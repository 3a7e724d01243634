"""Keeps what a cell displays: a line of JSON for each MIME bundle, in a file that is complete at any time."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Displays"]

REWRITE_INTERVAL_S = 1.0
"""Minimum time between two rewrites for outputs that were cleared or updated."""
_NOT_KEPT = frozenset({"application/vnd.jupyter.widget-view+json"})
"""Shows nothing once the process has ended."""


class _Line(NamedTuple):
    body: bytes
    display_id: str | None = None


class Displays:
    """The outputs of a cell, kept in the file ``path`` up to ``limit`` bytes; without one they are not kept."""

    def __init__(self, path: str | None, limit: int = 0) -> None:
        self._path = path
        self._limit = limit
        self._pid = os.getpid()
        self._lines: list[_Line] = []
        self._size = 0
        self._full = self._clear_next = False
        self._rewrite = False
        """The file has outputs that were cleared or updated."""
        self._rewritten_at = 0.0

    def add(
        self,
        kind: str,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None,
        display_id: str | None = None,
        *,
        update: bool = False,
    ) -> None:
        """Keep an output of the nbformat ``kind``; with ``update``, instead of those with the same ``display_id``."""
        if self._path is None or os.getpid() != self._pid:  # a process that the cell has started or forked
            return
        if self._clear_next:
            self.clear()
        content = {key: _plain(value) for key, value in data.items() if key not in _NOT_KEPT}
        line = _dump({"output_type": kind, "data": content, "metadata": dict(metadata or {})}, display_id)
        if update:
            self._update(line)
        elif not self._full:
            self._append(line)
        self._flush()

    def clear(self, *, wait: bool = False) -> None:
        """Forget all outputs; with ``wait`` at the next one."""
        self._clear_next = wait
        if not wait and self._path is not None:
            self._lines, self._size, self._full, self._rewrite = [], 0, False, True
            self._flush()

    def close(self) -> None:
        """Write what is not in the file yet."""
        self._flush(now=True)

    def _append(self, line: _Line) -> None:
        if self._size + len(line.body) > self._limit:
            line = self._last(f"the limit is {self._limit:,} bytes (setting display_limit)")
        self._lines.append(line)
        self._size += len(line.body)
        if not self._rewrite and self._path is not None and not _write(self._path, os.O_APPEND, line.body):
            self._shrink(self._path)

    def _last(self, why: str) -> _Line:
        """Return the line that says why no further outputs are kept."""
        self._full = True
        text = f"further outputs are not kept: {why}\n"
        return _dump({"output_type": "stream", "name": "stderr", "text": text})

    def _shrink(self, path: str) -> None:
        """Keep at most the first half of the outputs on a full disk: the reply needs room."""
        last = self._last("the disk is full")
        while True:
            self._lines = [*self._lines[: (len(self._lines) - 1) // 2], last]
            if _write(path, os.O_TRUNC, self._body()) or len(self._lines) == 1:
                break
        self._size = len(self._body())

    def _body(self) -> bytes:
        return b"".join(line.body for line in self._lines)

    def _update(self, line: _Line) -> None:
        """Replace the outputs with the id of ``line``, unless it is too large."""
        old = [each for each in self._lines if each.display_id == line.display_id]
        growth = len(old) * len(line.body) - sum(len(each.body) for each in old)
        if old and self._size + growth <= self._limit:
            self._lines = [line if each.display_id == line.display_id else each for each in self._lines]
            self._size += growth
            self._rewrite = True

    def _flush(self, *, now: bool = False) -> None:
        clock = time.monotonic()
        if self._rewrite and os.getpid() == self._pid and (now or clock >= self._rewritten_at + REWRITE_INTERVAL_S):
            self._rewritten_at = clock
            self._rewrite = False
            new = f"{self._path}.new"
            written = _write(new, os.O_TRUNC, self._body())
            with contextlib.suppress(OSError):
                if written:
                    os.replace(new, f"{self._path}")
                else:
                    os.unlink(new)
            if not written and not _write(f"{self._path}", os.O_TRUNC, self._body()):
                self._shrink(f"{self._path}")


def _write(path: str, flag: int, body: bytes) -> bool:
    """Write to a file; return False on a full disk: the outputs are lost then, not the job."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag
    with contextlib.suppress(OSError), os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(body)
        file.flush()
        return True
    return False


def _dump(output: Mapping[str, Any], display_id: str | None = None) -> _Line:
    return _Line(json.dumps(output, default=repr).encode() + b"\n", display_id)


def _plain(value: object) -> object:
    """Return data as JSON has it: bytes, such as those of an image, as base64."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
