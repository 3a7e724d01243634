"""Remember which jobs the rows of a DataFrame became in this process.

Rows are recognized by the commands they make, so that sorted, filtered or copied frames find their jobs, and frames
with changed parameters do not find wrong ones. Nothing is stored in the frame itself: pandas copies ``attrs`` to frames
with other rows.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from queuectl_nb.client.bulk_rows import render_commands
from queuectl_nb.model.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["FrameIndex"]

_MAX_BATCHES = 64
_MAX_JOBS = 1_000_000


class _Enqueued(NamedTuple):
    """One enqueue: its template (None: the column ``command``), and the command hash and job id of each row."""

    template: str | None
    hashes: array[int]
    ids: Sequence[str]


class FrameIndex:
    """The frames that this process enqueued recently; all handles of the same file share one instance."""

    _by_file: ClassVar[dict[str, FrameIndex]] = {}

    def __init__(self) -> None:
        """Start empty."""
        self._enqueued: deque[_Enqueued] = deque(maxlen=_MAX_BATCHES)

    @classmethod
    def for_path(cls, path: os.PathLike[str]) -> FrameIndex:
        """Return the instance for the queue at ``path``."""
        return cls._by_file.setdefault(os.path.realpath(path), cls())

    def add(self, template: str | None, commands: Sequence[str], ids: Sequence[str]) -> None:
        """Remember an enqueue; only the last million jobs are kept."""
        self._enqueued.appendleft(_Enqueued(template, array("q", map(hash, commands)), ids))
        while len(self._enqueued) > 1 and sum(len(each.ids) for each in self._enqueued) > _MAX_JOBS:
            self._enqueued.pop()

    def find(self, frame: pd.DataFrame) -> list[str] | None:
        """Return the job ids of the rows, from the latest enqueue that had all of them; None if there is none."""
        if not len(frame):
            return []
        for each in self._enqueued:
            if (found := _match(each, frame)) is not None:
                return found
        return None


def _match(enqueued: _Enqueued, frame: pd.DataFrame) -> list[str] | None:
    made = render_commands(enqueued.template, frame)
    if made is None:
        return None
    try:
        hashes = array("q", map(hash, islice(made, 1)))
        if hashes[0] not in enqueued.hashes:
            return None
        hashes.extend(map(hash, made))
    except BadInput:  # a value that cannot be in a command
        return None
    if hashes == enqueued.hashes:
        return list(enqueued.ids)
    rows_by_hash: dict[int, list[int]] = {}
    for row in range(len(enqueued.ids) - 1, -1, -1):
        rows_by_hash.setdefault(enqueued.hashes[row], []).append(row)
    found = []
    for each in hashes:
        if not rows_by_hash.get(each):
            return None
        found.append(enqueued.ids[rows_by_hash[each].pop()])  # rows with the same command match in order
    return found
