"""The DataFrame of jobs, fast enough for a million: chunks of columns become arrays while they are in the cache."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from queuectl_nb.model.job import JOB_FIELDS, TIME_FIELDS
from queuectl_nb.model.state import State
from queuectl_nb.render.frames import arrays
from queuectl_nb.render.frames.display import mark
from queuectl_nb.store.attempt_history import Codes
from queuectl_nb.store.bulk_export import JobColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from queuectl_nb.store.job_filter import Filter
    from queuectl_nb.store.reader import Reader

__all__ = ["STATES", "jobs"]

STATES = tuple(str(state) for state in State)
_STATE_CODES = {state: code for code, state in enumerate(STATES)}
_SHARED_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "priority": arrays.integers,
    "attempts": arrays.integers,
    "max_retries": arrays.integers,
    "queue": arrays.strings,
    "cwd": arrays.strings,
    "exit_code": arrays.integers,
    "worker": arrays.strings,
    "kind": arrays.strings,
}
"""Columns of which equal values are read once, and their types."""
_OWN_COLUMNS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("command", "error", "key", "result_repr"), arrays.strings),
    **dict.fromkeys(("result", "metrics"), arrays.parse_json),
}
"""Columns of texts that each row has for itself, and their types."""


def jobs(reader: Reader, job_filter: Filter) -> pd.DataFrame:
    """Return the jobs of a filter: index ``id``, the JSON fields, ``waited`` and ``ran``."""
    source = JobColumns(reader, job_filter)
    rows = _Rows()
    with _garbage_collection_off():
        rows.read(source)
        frame = rows.frame(source)
    if source.is_sorted:
        return mark(frame)
    order = np.argsort(rows.column("rev"), kind="stable")  # keeps the order of enqueue within a revision
    return mark(frame.take(order if job_filter.reverse else order[::-1]))


_FLOAT_FIELDS = ("timeout", "progress")


class _Rows:
    """The columns of all jobs, assembled from chunks."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._texts: dict[str, list[str | None]] = {name: [] for name in _OWN_COLUMNS}
        self._indices = Codes()
        self._parts: dict[str, list[NDArray[Any]]] = {name: [np.empty(0)] for name in (*TIME_FIELDS, *_FLOAT_FIELDS)}
        self._parts |= {name: [np.empty(0, "int64")] for name in ("shared", "rev")}

    def read(self, source: JobColumns) -> None:
        for chunk in source.chunks():
            self.ids += chunk.id
            for name in _OWN_COLUMNS:
                self._texts[name] += getattr(chunk, name)
            for name in TIME_FIELDS:
                self._parts[name].append(arrays.epoch_seconds(getattr(chunk, name)))
            for name in _FLOAT_FIELDS:
                self._parts[name].append(arrays.floats(getattr(chunk, name)))
            self._parts["rev"].append(np.array(chunk.rev, dtype="int64"))
            shared = map(self._indices.__getitem__, chunk.shared)
            self._parts["shared"].append(np.fromiter(shared, dtype="int64", count=len(chunk.shared)))

    def column(self, name: str) -> NDArray[Any]:
        return np.concatenate(self._parts[name])

    def frame(self, source: JobColumns) -> pd.DataFrame:
        seconds = {name: self.column(name) for name in TIME_FIELDS}
        indices = self.column("shared")
        shared = list(map(source.parse_shared, self._indices))
        columns: dict[str, Any] = {name: arrays.timestamps(each) for name, each in seconds.items()}
        for name, make_array in _SHARED_COLUMNS.items():
            columns[name] = make_array([getattr(each, name) for each in shared]).take(indices)
        columns |= {name: make_array(self._texts[name]) for name, make_array in _OWN_COLUMNS.items()}
        columns |= {name: arrays.nullable_floats(self.column(name)) for name in _FLOAT_FIELDS}
        for name in ("tags", "after"):
            columns[name] = _copied_lists([getattr(each, name) for each in shared], indices)
        states = np.array([_STATE_CODES[each.state] for each in shared], dtype="int8")[indices]
        columns["state"] = arrays.categories(states, STATES)
        running = np.flatnonzero(states == _STATE_CODES["processing"])
        live = source.live_values() if len(running) else {}
        for row in running:
            if self.ids[row] in live:
                progress, columns["metrics"][row] = live[self.ids[row]]
                columns["progress"][row] = pd.NA if progress is None else progress
        finished = np.where(states == _STATE_CODES["processing"], time.time(), seconds["finished_at"])
        columns["waited"] = arrays.timedeltas(seconds["started_at"] - self._due_at(source, seconds))
        columns["ran"] = arrays.timedeltas(finished - seconds["started_at"])
        names = [*JOB_FIELDS[1:], "waited", "ran"]
        index = pd.Index(arrays.strings(self.ids), name="id")
        return pd.DataFrame({name: columns[name] for name in names}, index=index, copy=False)

    def _due_at(self, source: JobColumns, seconds: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return when the latest attempts were due; after their start, ``run_at`` is that of the next one."""
        due_at = seconds["run_at"].copy()
        moved = np.flatnonzero(due_at > seconds["started_at"])
        if len(moved):
            known = source.due_at([self.ids[row] for row in moved])
            due_at[moved] = [known.get(self.ids[row], np.nan) for row in moved]
        return due_at


def _copied_lists(lists: Sequence[list[str]], indices: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return a separate list for each row."""
    if not any(lists):
        return arrays.objects([[] for _ in repeat(None, len(indices))])
    return arrays.objects([[*each] for each in arrays.objects(lists)[indices]])


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """Keep the garbage collector from traversing a million new lists repeatedly."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
