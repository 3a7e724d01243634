"""Collects output and result of an ended attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.store.output import EMPTY_STREAM, read_truncated
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.store.spool import Spool

__all__ = ["capture_ending"]

_NONE: frozenset[str] = frozenset()


def capture_ending(  # noqa: PLR0913 - the fields of an ending
    spool: Spool,
    token: str,
    paths: Mapping[str, str],
    *,
    limit: int,
    finished_at: float,
    started_at: float | None = None,
    pid: int | None = None,
    usage: Usage | None = None,
) -> tuple[Ending, frozenset[str]]:
    """Return the ending of an attempt with output in ``paths``, and the streams whose files must be kept.

    The database keeps ``limit`` bytes of each stream.
    """
    result, note = spool.read_result(token)
    try:
        out, err = [read_truncated(paths[stream], limit) if stream in paths else EMPTY_STREAM for stream in STREAMS]
    except OSError as error:
        out = err = EMPTY_STREAM
        note = f"its output could not be read: {error.strerror}"
    ending = Ending(
        finished_at,
        started_at,
        pid,
        out.head,
        out.tail,
        out.size,
        err.head,
        err.tail,
        err.size,
        result,
        note=note,
        usage=usage or Usage(),
    )
    if not (out.spooled or err.spooled):
        return ending, _NONE
    return ending, frozenset(stream for stream, each in zip(STREAMS, (out, err), strict=True) if each.spooled)
