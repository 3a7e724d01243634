"""Which job each row of a frame became, as far as this process has enqueued it.

Nothing is written into the user's frame (pandas copies ``attrs`` at every step, and carries them over to frames with
other rows or another order). A row is known again by the command that it makes: so a frame that was sorted, filtered,
copied or made anew finds its jobs too, and one whose parameters were changed does not find wrong ones.
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
    """One enqueue: its template (None: by the column ``command``), and for each row the command's hash and the id."""

    template: str | None
    hashes: array[int]
    ids: Sequence[str]


class FrameIndex:
    """What this process has lately enqueued into one queue; all handles of the same file share it."""

    _by_file: ClassVar[dict[str, FrameIndex]] = {}

    def __init__(self) -> None:
        """Begin with nothing."""
        self._enqueued: deque[_Enqueued] = deque(maxlen=_MAX_BATCHES)

    @classmethod
    def for_path(cls, path: os.PathLike[str]) -> FrameIndex:
        """Return the memory for the queue at ``path``."""
        return cls._by_file.setdefault(os.path.realpath(path), cls())

    def add(self, template: str | None, made: Sequence[str], ids: Sequence[str]) -> None:
        """Keep that rows made these commands and became these jobs; what is older than a million jobs is forgotten."""
        self._enqueued.appendleft(_Enqueued(template, array("q", map(hash, made)), ids))
        while len(self._enqueued) > 1 and sum(len(each.ids) for each in self._enqueued) > _MAX_JOBS:
            self._enqueued.pop()

    def find(self, frame: pd.DataFrame) -> list[str] | None:
        """Return the ids of the rows' jobs, from the last enqueue that had all these rows; None where there is none."""
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
    except BadInput:  # a value that no command can be made of
        return None
    if hashes == enqueued.hashes:
        return list(enqueued.ids)
    places: dict[int, list[int]] = {}
    for place in range(len(enqueued.ids) - 1, -1, -1):
        places.setdefault(enqueued.hashes[place], []).append(place)
    found = []
    for each in hashes:
        if not places.get(each):
            return None
        found.append(enqueued.ids[places[each].pop()])  # rows that make the same command: in their order
    return found
