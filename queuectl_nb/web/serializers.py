"""The bodies of the API: small functions from a queue and checked questions to the console's JSON shapes."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from queuectl_nb.render.json_shapes import attempt_json, job_json, stats_json, status_json
from queuectl_nb.store.reader import Filter
from queuectl_nb.web.query_params import cursor_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queuectl_nb.client.queue import Queue

__all__ = ["history", "job", "jobs", "log", "stats", "status", "workers"]


def status(queue: Queue) -> dict[str, Any]:
    """Return what ``status --json`` shows."""
    return status_json(queue.counts(), queue.paused(), queue.worker_list())


def workers(queue: Queue) -> list[dict[str, Any]]:
    """Return what ``worker list --json`` shows."""
    return queue.worker_list()


def stats(queue: Queue) -> dict[str, Any]:
    """Return what ``stats --json`` shows."""
    return stats_json(queue.metrics()[""])


def jobs(queue: Queue, asked: dict[str, Any]) -> dict[str, Any]:
    """Return a page of jobs, last updated first, and the cursor of the next page; None on the last."""
    limit = asked["limit"]
    found = queue.records(
        Filter.of(
            state=asked["state"],
            queue=asked["queue"],
            text=asked["q"],
            limit=limit + 1,  # whether more follow
            after=asked["after"],
        )
    )
    page = found[:limit]
    last = (page[-1].rev, page[-1].seq) if len(found) > limit else None
    return {"jobs": [job_json(each) for each in page], "next": cursor_text(last) if last else None}


def job(queue: Queue, job_id: str) -> dict[str, Any]:
    """Return the job as ``show --json`` does, its history left to :func:`history`."""
    return job_json(queue.store.jobs.get(job_id))


def history(queue: Queue, job_id: str, *, output: bool) -> Iterator[dict[str, Any]]:
    """Yield a job's attempts, oldest first, one at a time: each may hold megabytes of output.

    Without ``output`` their streams are null.
    """
    for facts in queue.store.reader.attempt_facts(job_id):
        attempt = queue.store.reader.attempt(job_id, facts.number) if output else facts
        if attempt is not None:
            yield attempt_json(attempt)


def log(queue: Queue, job_id: str, asked: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the next piece of a stream from byte ``offset``, and how many bytes the stream has so far.

    The piece holds its text, the offset after it, and whether that was all. A character that is not yet written
    whole is left to the next piece; what is no UTF-8 becomes U+FFFD.
    """
    offset = asked["offset"]
    attempt = queue.logs.attempt(job_id, asked["attempt"])
    if attempt is None:
        return {"text": "", "offset": offset, "end": queue.store.jobs.get(job_id).at_rest}, 0
    piece = queue.logs.piece(attempt, asked["stream"], offset)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(piece.data, final=piece.end)
    shape = {"text": text, "offset": piece.next - len(decoder.getstate()[0]), "end": piece.end}
    return shape, queue.logs.size(attempt, asked["stream"])
