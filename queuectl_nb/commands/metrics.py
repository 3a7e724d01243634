"""``metrics``: show the metrics that jobs have reported."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from queuectl_nb.client.selection import known_ids
from queuectl_nb.commands.app import queuectl_command
from queuectl_nb.commands.context import Context
from queuectl_nb.commands.results import Detail, Table
from queuectl_nb.commands.selection import NO_MATCH, choose, selection_options
from queuectl_nb.model.times import format_time
from queuectl_nb.render.json_shapes import json_number
from queuectl_nb.render.sparkline import sparkline
from queuectl_nb.store.metrics import attempt_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from queuectl_nb.store.metrics import AttemptMetrics

__all__ = ["metrics_command"]

COLUMNS = ("Job", "Attempt", "Name", "Points", "First", "Last", "Min", "Max", "Course")


@queuectl_command("metrics", examples=["queuectl metrics job-1", "queuectl metrics job-1 job-2 --format csv"])
@selection_options()
def metrics_command(context: Context, ids: Sequence[str], **selection: Any) -> Detail:
    """Show the metrics that jobs have reported.

    The table summarizes them; JSON and CSV contain every stored point.
    """
    queue = context.queue()
    chosen = choose(queue, ids, selection, required=True)
    known = known_ids(queue.store, *chosen)
    found = list(attempt_metrics(queue.store.db, known))
    empty_text = NO_MATCH if known == [] else "No metrics were reported."

    def blocks() -> Iterator[str | Table]:
        rows = [row for each in found for row in _summary(each)]
        yield Table(COLUMNS, rows) if rows else empty_text

    return Detail(
        blocks,
        data=lambda: list(_points(found)),
        value=lambda: queue.metrics(*chosen.ids, **chosen.selection),
        records=lambda: _points(found),
        hints=lambda: _notes(found),
        notes=[] if any(each.series for each in found) else [empty_text],
    )


def _summary(attempt: AttemptMetrics) -> Iterator[list[object]]:
    """Yield a row for each name."""
    for name, (_, _, values) in attempt.series.items():
        finite = [each for each in values if math.isfinite(each)]
        ends = [values[0], values[-1], *([min(finite), max(finite)] if finite else [math.nan, math.nan])]
        yield [attempt.job_id, attempt.number, name, len(values), *map(_number, ends), sparkline(values)]


def _number(value: float) -> str:
    return f"{value:.6g}"


def _points(attempts: Sequence[AttemptMetrics]) -> Iterator[dict[str, Any]]:
    for attempt in attempts:
        for name, columns in attempt.series.items():
            for time, step, value in zip(*columns, strict=True):
                yield {
                    "job_id": attempt.job_id,
                    "attempt": attempt.number,
                    "time": format_time(time),
                    "step": _json(step),
                    "name": name,
                    "value": _json(value),
                }


def _json(value: float) -> float | int | None:
    return json_number(value) if math.isfinite(value) else None


def _notes(attempts: Sequence[AttemptMetrics]) -> list[str]:
    notes = []
    for each in attempts:
        where = f"job {each.job_id}, attempt {each.number}"
        if each.invalid:
            least = "" if each.complete else "at least "
            found_lines = "1 line" if each.invalid == 1 else f"{each.invalid} lines"
            verb = "was not a JSON object" if each.invalid == 1 else "were not JSON objects"
            notes.append(f"{where}: {least}{found_lines} in $QUEUECTL_METRICS {verb}")
        if not each.complete:
            notes.append(f"{where}: the file was too large to be read as a whole; the points are a sample of it")
    return notes
