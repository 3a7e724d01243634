"""Attempts that ended, counted by slices of time; slices that are over are counted once, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queuectl_nb.store.reader import Reader

__all__ = ["Throughput"]

RECOUNTED_SLICES = 2
"""Slices before the present one that are counted anew: results are recorded a moment after the end, in groups."""


class Throughput:
    """The last slices of time with the number of attempts that ended well, and otherwise, in each.

    What was counted stays when jobs are removed: it did happen.
    """

    def __init__(self, reading: Reader, slice_s: float, slices: int) -> None:
        """Count ``slices`` of ``slice_s`` seconds each."""
        self._reader = reading
        self._slice_s = slice_s
        self._slices = slices
        self._counted: dict[int, tuple[int, int]] = {}
        self._newest: int | None = None

    def read(self, now: float) -> dict[str, Any]:
        """Return the slices up to epoch second ``now``: ``start``, ``slice_s``, ``ok`` and ``not_ok``, oldest first."""
        newest = int(now // self._slice_s)
        oldest = newest - self._slices + 1
        if self._newest is None or not oldest <= self._newest <= newest:
            self._counted.clear()  # the first look, or one after the clock was set
            since = oldest
        else:
            since = max(oldest, self._newest - RECOUNTED_SLICES)
        self._count(since, newest)
        self._newest = newest
        pairs = [self._counted.get(place, (0, 0)) for place in range(oldest, newest + 1)]
        return {
            "start": oldest * self._slice_s,
            "slice_s": self._slice_s,
            "ok": [ok for ok, _ in pairs],
            "not_ok": [bad for _, bad in pairs],
        }

    def _count(self, since: int, newest: int) -> None:
        start, end = since * self._slice_s, (newest + 1) * self._slice_s
        fresh: dict[int, list[int]] = {}
        for place, ok, count in self._reader.count_finished(start, end, self._slice_s):
            fresh.setdefault(since + place, [0, 0])[0 if ok else 1] += count
        kept = {place: pair for place, pair in self._counted.items() if newest - self._slices < place < since}
        self._counted = kept | {place: (ok, bad) for place, (ok, bad) in fresh.items()}
