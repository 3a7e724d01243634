"""Events of workers and supervisors: JSON lines written to a pipe without ever waiting for a reader.

An event is an object with the key ``event`` and the fields of that kind. A reader that does not keep up loses events
but never slows a worker down: the pipe is non-blocking, and the number of dropped events is reported later.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from queuectl_nb.model.lifecycle import Transition

if TYPE_CHECKING:
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.claims import EndedAttempt

__all__ = ["Events", "WorkerEvents"]

_quote = json.encoder.encode_basestring_ascii  # two events a job: json.dumps of a dict takes six times as long
_EMPTY = '""'
PREVIEW_LENGTH = 400
"""Characters of a command or stream in an event: an event must fit into one atomic write."""
ATOMIC_WRITE_BYTES = 4096
"""PIPE_BUF: a write of this size is not mixed with those of other processes."""


class Events:
    """The writing end of the event pipe."""

    def __init__(self, handle: int) -> None:
        """Write to ``handle``."""
        self._handle = handle
        self._lines: list[str] = []
        self._dropped = 0
        self.has_reader = True
        """False once a write has failed because nobody reads any more."""
        os.set_blocking(handle, False)

    def emit(self, event: str, **fields: Any) -> None:
        """Buffer an event until the next :meth:`flush`."""
        self._lines.append(json.dumps({"event": event, **fields}))

    def emit_line(self, line: str) -> None:
        """Buffer an event that is already JSON."""
        self._lines.append(line)

    def flush(self) -> None:
        """Write the buffered events in atomic chunks."""
        if self._dropped and self._lines:
            self._lines.insert(0, json.dumps({"event": "dropped", "count": self._dropped}))
            self._dropped = 0
        for chunk in _chunks(self._lines):
            try:
                os.write(self._handle, chunk.encode())
            except BlockingIOError:
                self._dropped += chunk.count("\n")
            except OSError:
                self.has_reader = False
        self._lines.clear()


def _chunks(lines: list[str]) -> list[str]:
    """Join lines into chunks of at most :data:`ATOMIC_WRITE_BYTES`."""
    chunks: list[str] = []
    size = ATOMIC_WRITE_BYTES + 1
    for line in lines:
        if size + len(line) + 1 > ATOMIC_WRITE_BYTES:
            chunks.append("")
            size = 0
        chunks[-1] += line + "\n"
        size += len(line) + 1
    return chunks


class WorkerEvents:
    """Events of one worker. A ``started`` event follows the ``finished`` events of the jobs before it.

    The next job may start before the previous result is recorded; readers see one job after the other.
    """

    def __init__(self, events: Events, name: str) -> None:
        """Write to ``events`` as the worker ``name``."""
        self.events = events
        self.name = name
        self._quoted_name = _quote(name)
        self._last_warning = ""
        self._unsent_starts: dict[str, str] = {}
        """``started`` events by token."""

    def started(self, lease: Lease, settings: Settings) -> None:
        """Report that an attempt has started."""
        if self.events.has_reader:
            self._unsent_starts[lease.token] = (
                f'{{"event":"started","worker":{self._quoted_name},"job":{_quote(lease.job_id)},'
                f'"attempt":{lease.attempts},"max_retries":{lease.max_retries or settings.max_retries},'
                f'"command":{_quote(_preview(lease.command))}}}'
            )

    def finished(self, attempt: EndedAttempt, transition: object) -> None:
        """Report the outcome of an attempt, or warn if its result was dropped because the lease was lost."""
        if (started := self._unsent_starts.pop(attempt.lease.token, None)) is not None:
            self.events.emit_line(started)
        if not isinstance(transition, Transition):
            job_id = attempt.lease.job_id
            self.warn(f"the result of job {job_id} came too late and was dropped: a rescuer has settled it")
            return
        self._last_warning = ""
        if self.events.has_reader:
            error, ending = attempt.outcome.error, attempt.ending
            self.events.emit_line(
                f'{{"event":"finished","worker":{self._quoted_name},"job":{_quote(attempt.lease.job_id)},'
                f'"outcome":"{attempt.outcome.name}","state":"{transition.state}",'
                f'"error":{_quote(error) if error else "null"},'
                f'"stdout":{_quote(_preview(ending.stdout)) if ending.stdout else _EMPTY},'
                f'"stderr":{_quote(_preview(ending.stderr)) if ending.stderr else _EMPTY},'
                f'"run_at":{transition.run_at or "null"},'
                f'"reason":{_quote(transition.reason) if transition.reason else "null"}}}'
            )

    def warn(self, text: str) -> None:
        """Emit a warning at once, unless it repeats the previous one."""
        if text != self._last_warning:
            self._last_warning = text
            self.events.emit("warning", worker=self.name, text=text)
            self.events.flush()

    def flush(self) -> None:
        """Write all buffered events."""
        for started in self._unsent_starts.values():
            self.events.emit_line(started)
        self._unsent_starts.clear()
        self.events.flush()


def _preview(text: str | bytes) -> str:
    """Return the beginning of a command or stream as text, with an ellipsis if it was cut."""
    if isinstance(text, str) and len(text) <= PREVIEW_LENGTH:
        return text
    part = text[:PREVIEW_LENGTH]
    shown = part.decode("utf-8", "replace") if isinstance(part, bytes) else part
    return shown if len(part) == len(text) else shown.rstrip("\ufffd") + "..."
