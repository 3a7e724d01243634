"""What an attempt leaves behind, taken from its files into an :class:`Ending`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuectl_nb.model.attempt import Ending, Usage
from queuectl_nb.store.keep import keep
from queuectl_nb.store.spool import STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queuectl_nb.store.spool import Spool

__all__ = ["collect"]


def collect(  # noqa: PLR0913 - the facts of an ending
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
    """Return the ending of an attempt whose streams lie in ``paths``, and the streams whose rest stays spooled.

    ``limit`` is the number of bytes of a stream that the database keeps.
    """
    kept = {stream: keep(paths[stream], limit) for stream in STREAMS if stream in paths}
    result, note = spool.result(token)
    out, err = kept.get("stdout"), kept.get("stderr")
    ending = Ending(
        finished_at=finished_at,
        started_at=started_at,
        pid=pid,
        usage=usage or Usage(),
        stdout=out.head if out else "",
        stdout_tail=out.tail if out else None,
        stdout_size=out.size if out else 0,
        stderr=err.head if err else "",
        stderr_tail=err.tail if err else None,
        stderr_size=err.size if err else 0,
        result=result,
        note=note,
    )
    return ending, frozenset(stream for stream, each in kept.items() if each.spooled)
