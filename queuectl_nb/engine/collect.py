"""Collects output and result of an ended attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.attempt import Ending
from queuectl_nb.store.output import EMPTY_STREAM, read_truncated
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.store.spool import Spool

__all__ = ["capture_ending"]

_NONE: frozenset[str] = frozenset()


def capture_ending(
    spool: Spool, token: str, paths: Mapping[str, str], limit: int, ending: Ending
) -> tuple[Ending, frozenset[str]]:
    """Return ``ending`` with result and output of an attempt, and the streams whose files must be kept.

    ``paths`` are the files of its streams, of which the database keeps ``limit`` bytes each.
    """
    result, note = spool.read_result(token)
    try:
        out, err = [read_truncated(paths[stream], limit) if stream in paths else EMPTY_STREAM for stream in STREAMS]
    except OSError as error:
        out = err = EMPTY_STREAM
        note = f"its output could not be read: {error.strerror}"
    ending = Ending(*ending[:3], *out[:3], *err[:3], result, ending.host, note or ending.note, ending.usage)
    if not (out.spooled or err.spooled):
        return ending, _NONE
    return ending, frozenset(stream for stream, each in zip(STREAMS, (out, err), strict=True) if each.spooled)
