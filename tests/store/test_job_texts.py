"""Jobs written many at a time are the same as those written one by one."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from queuectl_nb.commands.list import job_texts
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.render import formats
from queuectl_nb.render.json_shapes import job_json
from queuectl_nb.store.bulk_export import CSV_TEXT, JSON_TEXT, iter_job_texts
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import iter_jobs

if TYPE_CHECKING:
    from queuectl_nb import Queue
    from tests.store.conftest import StoreHarness

RESULTS: tuple[object, ...] = (
    *(None, [1, {"a": "ü"}], "=1+1", 'say "x", then\nend', 0.5, 10**20, True, {}, ""),
    *("a\\b", "-1", 1e-5),
)


def _fill(queue: Queue) -> None:
    """Add jobs with unusual values in each field."""
    first = queue.enqueue("true").id
    for index, result in enumerate(RESULTS):
        job = queue.enqueue(
            ("=cmd", "echo 'a,\"b\"'\r", "echo\nä 日本", "\tx", "true", "\x7f\x01%s😀", "-v")[index % 7],
            tags=["x", "y"][: index % 3],
            after=[first][: index % 2],
            timeout=(None, 0.1 + 0.2, 3600, 1e-7)[index % 4],
            priority=index % 2,
            queue=("default", "a,b")[index % 2],
            key=(None, f"k={index},-")[index % 2],
        )
        with queue.store.db.write() as connection:
            connection.execute(
                "UPDATE jobs SET started_at = :at, finished_at = :at + 0.0005, exit_code = :n, error = :error,"
                " worker = 'worker-1', result = :result, progress = :progress, metrics = :metrics, result_repr = :repr"
                " WHERE id = :id",
                {
                    "at": 1_800_000_000.9995 + index if index % 3 else None,
                    "n": index - 2,
                    "error": "-1, \u2028" if index % 2 else None,
                    "result": None if result is None else json.dumps(result, ensure_ascii=index % 2 == 0),
                    "id": job.id,
                    "progress": (None, 0.5, 1, 1 / 3, 0.007)[index % 5],
                    "repr": (None, "-0.5", "a\0b", "x, y")[index % 4],
                    "metrics": (None, '{"loss": null, "x": 1e999}', '{"a": 1}')[index % 3],
                },
            )


def test_many_at_a_time_equal_one_by_one(queue: Queue) -> None:
    """For every kind of value, in JSON and in CSV, whether SQLite or Python makes the text."""
    _fill(queue)
    store, every = queue.store, Filter()
    jobs = [job_json(job) for job in iter_jobs(store.db, store.reader, every)]
    assert len(jobs) == len(RESULTS) + 1
    assert list(job_texts(store, every, "json")) == [*map(formats.json_text, jobs)]
    whole, lines = io.StringIO(newline=""), io.StringIO(newline="")
    formats.write_csv(whole, JOB_FIELDS, jobs)
    formats.write_texts(lines, JOB_FIELDS, job_texts(store, every, "csv"), "csv")
    assert lines.getvalue() == whole.getvalue()
    whole.seek(0)
    rows = list(csv.DictReader(whole))
    assert [row["id"] for row in rows] == [job["id"] for job in jobs]
    assert {row["command"] for row in rows} >= {"'=cmd", "echo 'a,\"b\"'\r", "echo\nä 日本", "'\tx"}
    assert {row["result"] for row in rows} >= {"'=1+1", 'say "x", then\nend', "0.5", str(10**20), "true", "{}"}


@pytest.mark.parametrize("text", [JSON_TEXT, CSV_TEXT])
def test_running_jobs_are_not_texts(harness: StoreHarness, text: str) -> None:
    """They come as records with what they have reported, each in its place; the other jobs come as texts."""
    harness.add("b", "a", "c")
    lease = harness.claim_job("b")
    (harness.store.db.output_dir / f"{lease.token}.metrics").write_text('{"progress": 0.5, "loss": 2}\n')
    first, running, last = iter_job_texts(harness.store.db, harness.store.reader, Filter(sort="id"), text)
    assert isinstance(first, str)
    assert isinstance(last, str)
    assert not isinstance(running, str)
    assert (running.id, running.progress, running.metrics) == ("b", 0.5, {"loss": 2})
    harness.settle(lease)
