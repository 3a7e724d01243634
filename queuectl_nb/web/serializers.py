"""Response bodies of the API: JSON in the shapes of the console, and the charts of the statistics view."""

from __future__ import annotations

import base64
import binascii
import codecs
import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.changes import Throughput, series_of
from queuectl_nb.client.logs import Logs
from queuectl_nb.client.metrics import finished_values, latest_metrics, running_metrics
from queuectl_nb.model.displayed_command import MAX_LISTED_CHARS, displayed_command, listed_command
from queuectl_nb.model.failure import cut
from queuectl_nb.render.json_shapes import attempt_json, error_group_json, extra_json, job_json, stats_json
from queuectl_nb.render.plots.ticks import choose_step, linear_ticks, log_ticks, tick_label
from queuectl_nb.store.attempt_history import attempt_durations, count_outcomes, finish_time_range
from queuectl_nb.store.calls import read_displays
from queuectl_nb.store.edit import read_edits
from queuectl_nb.store.error_groups import read_error_groups
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.stats import total_stats
from queuectl_nb.web.query_params import parse_selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from queuectl_nb.client.queue import Queue
    from queuectl_nb.model.job import JobRecord
    from queuectl_nb.store.connection import Database

__all__ = [
    "charts",
    "errors",
    "history",
    "job",
    "job_metrics",
    "jobs",
    "log",
    "outputs",
    "run_time",
    "running",
    "stats",
]

MIN_BARS = 24
MAX_BARS = 60
MIN_SLICE_S = 5.0
MIN_RUN_TIME_S = 0.001
"""Shorter run times are counted in the first bar."""
LOG_SCALE_RATIO = 30.0
"""Ratio of longest to shortest run time above which the bars are of equal width on a logarithmic axis."""
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


def charts(queue: Queue) -> dict[str, Any]:
    """Return ``throughput`` in the shape of an overview, and ``run_time``; null without finished attempts."""
    return {"throughput": _throughput(queue.store.db), "run_time": _run_time(queue.store.db)}


def _throughput(db: Database) -> dict[str, Any] | None:
    found = finish_time_range(db, since=None)
    if found is None:
        return None
    first, last = found
    slice_s = max(MIN_SLICE_S, choose_step(last - first, MAX_BARS))
    slices = max(MIN_BARS, int(last // slice_s - first // slice_s) + 1)
    return Throughput(partial(count_outcomes, db), slice_s, slices).read(last)


def _run_time(db: Database) -> dict[str, Any] | None:
    found = attempt_durations(db, by="queue", since=None)
    return run_time(found.seconds, (series_of(found.outcomes[each]) for each in found.outcome))


def run_time(seconds: Sequence[float], series: Iterable[str]) -> dict[str, Any] | None:
    """Return a histogram: ``edges`` of the bars in seconds, ``ticks`` of the axis, and a list of counts by series."""
    if not seconds:
        return None
    low, high = (max(extreme(seconds), MIN_RUN_TIME_S) for extreme in (min, max))
    if high / low > LOG_SCALE_RATIO:
        per_decade = 5 if high / low > 1e5 else 10
        start = math.floor(math.log10(low) * per_decade)

        def place(value: float) -> int:
            return math.floor(math.log10(max(value, MIN_RUN_TIME_S)) * per_decade) - start

        edges = [10 ** ((start + index) / per_decade) for index in range(place(high) + 2)]
        ticks = [(math.log10(each / edges[0]) * per_decade, each) for each in log_ticks(edges[0], edges[-1])]
    else:
        step = choose_step(high, MAX_BARS // 2)

        def place(value: float) -> int:
            return math.floor(max(value, MIN_RUN_TIME_S) / step)

        edges = [step * index for index in range(place(high) + 2)]
        ticks = [(each / step, each) for each in linear_ticks(edges[-1])]
    bars = len(edges) - 1
    counts = Counter(zip(series, map(place, seconds), strict=True))
    return {
        "edges": edges,
        "ticks": [{"position": position / bars, "label": tick_label(each)} for position, each in ticks],
        **{name: [counts[name, index] for index in range(bars)] for name in ("succeeded", "failed")},
    }
