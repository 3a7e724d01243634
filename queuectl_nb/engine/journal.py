"""A worker's outcomes that are not in the database yet, kept where kill -9 cannot reach them.

Short jobs are recorded in groups. A job that kills its worker must not take with it what others before it achieved:
each outcome is written to this file (a system call; the kernel keeps it when the process dies) before the next job
starts, and whoever settles in the dead worker's place reads it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from queuectl_nb.model.attempt import Usage
from queuectl_nb.model.outcome import (
    Cancelled,
    Exited,
    Lost,
    NotStarted,
    Outcome,
    Returned,
    Signalled,
    TimedOut,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Entry", "Journal", "read_journal"]

_KINDS = {kind.__name__: kind for kind in (Exited, Signalled, TimedOut, NotStarted, Cancelled, Returned, Lost)}
Entry = tuple[Outcome, float, float | None, int | None, Usage]
"""Outcome, finished_at, started_at (epoch seconds), pid, usage."""


def journal_path(worker_dir: Path, name: str) -> Path:
    """Return a worker's journal."""
    return worker_dir / f"{name}.outcomes"


class Journal:
    """The writing side, in the worker."""

    def __init__(self, worker_dir: Path, name: str) -> None:
        """Open the worker's journal, empty."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._handle = os.open(journal_path(worker_dir, name), flags, 0o600)

    def note(self, token: str, entry: Entry) -> None:
        """Write one outcome; a full disk leaves it to the database alone."""
        outcome, finished_at, started_at, pid, usage = entry
        facts = [getattr(outcome, slot) for slot in type(outcome).__slots__]
        line = [
            token,
            type(outcome).__name__,
            facts,
            finished_at,
            started_at,
            pid,
            usage.user_cpu_s,
            usage.system_cpu_s,
            usage.max_rss_bytes,
        ]
        try:
            os.write(self._handle, json.dumps(line).encode() + b"\n")
        except OSError:
            return

    def clear(self) -> None:
        """Forget everything: it is in the database."""
        os.ftruncate(self._handle, 0)


def read_journal(worker_dir: Path, name: str) -> dict[str, Entry]:
    """Return a dead worker's outcomes by token; a line that was cut off is left out."""
    try:
        lines = journal_path(worker_dir, name).read_bytes().splitlines()
    except OSError:
        return {}
    found: dict[str, Entry] = {}
    for line in lines:
        try:
            token, kind, facts, finished_at, started_at, pid, *usage = json.loads(line)
        except ValueError:
            continue
        found[token] = (_outcome(kind, facts), finished_at, started_at, pid, Usage(*usage))
    return found


def _outcome(kind: str, facts: Sequence[object]) -> Outcome:
    made: Outcome = _KINDS[kind](*facts)
    return made
