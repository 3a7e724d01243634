"""The DataFrame of jobs, made for a million of them: pieces of columns become arrays while they are warm."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.state import State
from queuectl_nb.render.frames import arrays
from queuectl_nb.store.job_columns import TIME_FIELDS, JobColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from queuectl_nb.store.reader import Filter, Reader

__all__ = ["STATES", "jobs"]

STATES = tuple(str(state) for state in State)
_CODES = {state: code for code, state in enumerate(STATES)}
_KINDS: dict[str, Callable[[Any], Any]] = {
    "priority": arrays.wholes,
    "attempts": arrays.wholes,
    "max_retries": arrays.wholes,
    "queue": arrays.texts,
    "cwd": arrays.texts,
    "exit_code": arrays.wholes,
    "error": arrays.texts,
    "worker": arrays.texts,
}
"""The columns that many jobs share, and their types."""


def jobs(reading: Reader, wanted: Filter) -> pd.DataFrame:
    """Return the jobs of a filter: index ``id``, the contract's fields, ``waited`` and ``ran``."""
    source = JobColumns(reading, wanted)
    rows = _Rows()
    with _no_collection():
        rows.read(source)
        frame = rows.frame(source)
    if source.is_sorted:
        return frame
    order = np.argsort(rows.numbers("rev"), kind="stable")  # rows of one rev are in the order of enqueue, and stay so
    return frame.take(order if wanted.reverse else order[::-1])


class _Places(dict[str, int]):
    """Numbers texts in the order in which they are first asked for."""

    def __missing__(self, text: str) -> int:
        self[text] = place = len(self)
        return place


class _Rows:
    """All pieces together."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.commands: list[str] = []
        self.results: list[str | None] = []
        self._places = _Places()
        self._parts: dict[str, list[NDArray[Any]]] = {
            name: [np.empty(0, "float64")] for name in (*TIME_FIELDS, "timeout")
        }
        self._parts |= {name: [np.empty(0, "int64")] for name in ("kind", "rev")}

    def read(self, source: JobColumns) -> None:
        for piece in source.chunks():
            self.ids += piece.id
            self.commands += piece.command
            self.results += piece.result
            for name in (*TIME_FIELDS, "timeout"):
                self._parts[name].append(arrays.floats(getattr(piece, name)))
            self._parts["rev"].append(np.array(piece.rev, dtype="int64"))
            kinds = map(self._places.__getitem__, piece.shared)
            self._parts["kind"].append(np.fromiter(kinds, dtype="int64", count=len(piece.shared)))

    def numbers(self, name: str) -> NDArray[Any]:
        return np.concatenate(self._parts[name])

    def frame(self, source: JobColumns) -> pd.DataFrame:
        seconds = {name: self.numbers(name) for name in TIME_FIELDS}
        places = self.numbers("kind")
        kinds = list(map(source.parse_shared, self._places))
        columns: dict[str, Any] = {name: arrays.times(each) for name, each in seconds.items()}
        columns |= {name: make([getattr(kind, name) for kind in kinds]).take(places) for name, make in _KINDS.items()}
        columns["command"] = arrays.texts(self.commands)
        columns["timeout"] = arrays.decimals(self.numbers("timeout"))
        columns["tags"] = _lists([kind.tags for kind in kinds], places)
        columns["after"] = _lists([kind.after for kind in kinds], places)
        columns["result"] = arrays.parsed(self.results)
        states = np.array([_CODES[kind.state] for kind in kinds], dtype="int8")[places]
        columns["state"] = arrays.categories(states, STATES)
        finished = np.where(states == _CODES["processing"], time.time(), seconds["finished_at"])
        columns["waited"] = arrays.spans(seconds["started_at"] - self._due(source, seconds))
        columns["ran"] = arrays.spans(finished - seconds["started_at"])
        names = [*JOB_FIELDS[1:], "waited", "ran"]
        index = pd.Index(arrays.texts(self.ids), name="id")
        return pd.DataFrame({name: columns[name] for name in names}, index=index, copy=False)

    def _due(self, source: JobColumns, seconds: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return when the newest attempts were due."""
        due = seconds["run_at"].copy()
        moved = np.flatnonzero(due > seconds["started_at"])
        if len(moved):
            known = source.due_at([self.ids[place] for place in moved])
            due[moved] = [known.get(self.ids[place], np.nan) for place in moved]
        return due


def _lists(kinds: Sequence[list[str]], places: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return a list of its own for each row."""
    if not any(kinds):
        return arrays.objects([[] for _ in repeat(None, len(places))])
    return arrays.objects([[*kind] for kind in arrays.objects(kinds)[places]])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's collector from walking through a million new lists again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
