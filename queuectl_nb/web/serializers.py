"""Response bodies of the API, in the JSON shapes of the console."""

from __future__ import annotations

import base64
import binascii
import codecs
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.logs import Logs
from queuectl_nb.client.metrics import finished_values, latest_metrics, running_metrics
from queuectl_nb.model.displayed_command import MAX_LISTED_CHARS, displayed_command, listed_command
from queuectl_nb.model.failure import cut
from queuectl_nb.render.json_shapes import attempt_json, error_group_json, extra_json, job_json, stats_json
from queuectl_nb.store.calls import read_displays
from queuectl_nb.store.edit import read_edits
from queuectl_nb.store.error_groups import read_error_groups
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.stats import total_stats
from queuectl_nb.web.query_params import parse_selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobRecord

__all__ = ["errors", "history", "job", "job_metrics", "jobs", "log", "outputs", "running", "stats"]

_PNG = b"\x89PNG\r\n\x1a\n"


def jobs(queue: Queue, query: dict[str, Any]) -> dict[str, Any]:
    """Return a page of jobs, last updated first, and the cursor of the next page (None on the last page).

    With ``short`` the page has no long values, as a job can have megabytes, and jobs have ``display`` and ``values``.
    """
    limit = query["limit"]
    short = query["short"] == "yes"
    found = queue.store.reader.jobs(
        Filter.from_options(
            **parse_selection(query),
            limit=limit + 1,  # one more shows whether there is a next page
            after=query["after"],
        ),
        short=short,
    )
    page = found[:limit]
    cursor = f"{page[-1].rev}.{page[-1].seq}" if len(found) > limit else None
    if not short:
        return {"jobs": [job_json(each) for each in page], "next": cursor}
    values = finished_values(queue.store, page)
    return {"jobs": [_short_job(each) | {"values": values.get(each.seq, [])} for each in page], "next": cursor}


def errors(queue: Queue, query: dict[str, Any]) -> dict[str, Any]:
    """Return why jobs failed, grouped by reason, the largest groups first, and whether there are ``more``."""
    limit = query["limit"]
    found = read_error_groups(queue.store.db, Filter.from_options(**parse_selection(query)), limit + 1)
    return {"errors": [error_group_json(each) for each in found[:limit]], "more": len(found) > limit}


def job(queue: Queue, job_id: str, *, display: bool) -> dict[str, Any]:
    """Return a job, and what was edited; if ``display``, with the text to show for its command."""
    record = queue.store.jobs.get(job_id)
    shown = {"display": displayed_command(record.command)} if display else {}
    return (
        job_json(record) | shown | extra_json(queue.store.reader.any_end_of(record), read_edits(queue.store.db, job_id))
    )


def _short_job(record: JobRecord) -> dict[str, Any]:
    """Return a job with the first characters of its command, and of the text to show for it as ``display``."""
    command = cut(record.command, MAX_LISTED_CHARS)
    return job_json(record._replace(command=command)) | {"display": listed_command(record.command)}


def history(queue: Queue, job_id: str, *, output: bool) -> Iterator[dict[str, Any]]:
    """Yield the attempts of a job, oldest first, one at a time: each may hold megabytes of output.

    Without ``output`` their stdout and stderr are null.
    """
    for facts in queue.store.reader.attempts_without_output(job_id):
        attempt = queue.store.reader.attempt(job_id, facts.number) if output else facts
        if attempt is not None:
            yield attempt_json(attempt)


def log(queue: Queue, job_id: str, query: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the next piece of a stream from byte ``offset``, and the current size of the stream in bytes.

    The piece has ``text``, ``offset`` (where the next piece begins) and ``end``. An incomplete UTF-8 character is left
    for the next piece; invalid bytes become U+FFFD.
    """
    offset = query["offset"]
    logs = Logs(queue.store)
    attempt = logs.attempt(job_id, query["attempt"])
    if attempt is None:
        return {"text": "", "offset": offset, "end": queue.store.jobs.get(job_id).is_finished}, 0
    piece = logs.read_chunk(attempt, query["stream"], offset)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(piece.data, final=piece.end)
    body = {"text": text, "offset": piece.next - len(decoder.getstate()[0]), "end": piece.end}
    return body, logs.size(attempt, query["stream"])


def stats(queue: Queue) -> dict[str, Any]:
    """Return the body of ``stats --json``."""
    return stats_json(total_stats(queue.store.db))


def job_metrics(queue: Queue, job_id: str, _: dict[str, Any]) -> dict[str, Any]:
    """Return progress and metrics of the latest attempt."""
    found = latest_metrics(queue.store, job_id)
    return {"progress": found.progress, "series": [each._asdict() for each in found.series]}


def running(queue: Queue) -> dict[str, Any]:
    """Return progress and last metrics of the running jobs that have reported any, by id."""
    return {"jobs": {job_id: each._asdict() for job_id, each in running_metrics(queue.store).items()}}


def outputs(queue: Queue, job_id: str, _: dict[str, Any]) -> dict[str, Any]:
    """Return what a cell has displayed in its latest attempt, as text and PNG only, so that none of it is markup."""
    queue.store.jobs.get(job_id)  # raises if there is none
    return {"outputs": [_output(each) for each in read_displays(queue.store.db, job_id)]}


def _output(output: Mapping[str, Any]) -> dict[str, str | None]:
    data = output.get("data") or {}
    text = output.get("text", data.get("text/plain"))
    return {"text": None if text is None else str(text), "png": _png(data.get("image/png"))}


def _png(body: object) -> str | None:
    """Return an image as base64, if it is one."""
    try:
        image = base64.b64decode(str(body or ""), validate=False)
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(image).decode("ascii") if image.startswith(_PNG) else None
