"""A worker's words for whoever watches it: what it started, what came of it, what worries it.

The next job may start before the last is recorded; people read one job after the other nevertheless.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from queuectl_nb.model.lifecycle import Transition

if TYPE_CHECKING:
    from queuectl_nb.engine.events import Events
    from queuectl_nb.model.attempt import Lease
    from queuectl_nb.model.settings import Settings
    from queuectl_nb.store.claims import EndedAttempt

__all__ = ["WorkerEvents"]

_quote = json.encoder.encode_basestring_ascii  # two events a job: json.dumps of a dict takes six times as long
_EMPTY = '""'
SHOWN = 400
"""Characters of a command or of output in an event; an event stays below what a pipe takes whole."""


class WorkerEvents:
    """Turns a worker's steps into events."""

    def __init__(self, events: Events, name: str) -> None:
        """Tell through ``events`` in the name of the worker ``name``."""
        self.events = events
        self.name = name
        self._quoted = _quote(name)
        self._last_warning = ""
        self._begun: dict[str, str] = {}
        """Starts that were not sent yet, by token: each is told after the ends that come before it."""

    def started(self, lease: Lease, settings: Settings) -> None:
        """Tell that an attempt began."""
        if self.events.enabled:
            self._begun[lease.token] = (
                f'{{"event":"started","worker":{self._quoted},"job":{_quote(lease.job_id)},"attempt":{lease.attempts},'
                f'"max_retries":{lease.max_retries or settings.max_retries},'
                f'"command":{_quote(_start_of(lease.command))}}}'
            )

    def finished(self, each: EndedAttempt, transition: object) -> None:
        """Tell what became of an attempt; a result that came too late is a warning."""
        if (begun := self._begun.pop(each.lease.token, None)) is not None:
            self.events.emit_line(begun)
        if not isinstance(transition, Transition):
            self.warn(f"the result of job {each.lease.job_id} came too late and was dropped: it was rescued meanwhile")
            return
        self._last_warning = ""
        if self.events.enabled:
            error, ending = each.outcome.error, each.ending
            self.events.emit_line(
                f'{{"event":"finished","worker":{self._quoted},"job":{_quote(each.lease.job_id)},'
                f'"outcome":"{each.outcome.name}","state":"{transition.state}",'
                f'"error":{_quote(error) if error else "null"},'
                f'"stdout":{_quote(_start_of(ending.stdout)) if ending.stdout else _EMPTY},'
                f'"stderr":{_quote(_start_of(ending.stderr)) if ending.stderr else _EMPTY},'
                f'"run_at":{transition.run_at or "null"},'
                f'"reason":{_quote(transition.reason) if transition.reason else "null"}}}'
            )

    def warn(self, text: str) -> None:
        """Tell of a worry, once in a row."""
        if text != self._last_warning:
            self._last_warning = text
            self.events.emit("warning", worker=self.name, text=text)
            self.events.flush()

    def flush(self) -> None:
        """Send what was told so far."""
        for begun in self._begun.values():
            self.events.emit_line(begun)
        self._begun.clear()
        self.events.flush()


def _start_of(text: str | bytes) -> str:
    """Return the beginning of a command or stream as text; dots tell that there is more."""
    part = text[:SHOWN]
    shown = part.decode("utf-8", "replace") if isinstance(part, bytes) else part
    return shown if len(part) == len(text) else shown.rstrip("\ufffd") + "..."
