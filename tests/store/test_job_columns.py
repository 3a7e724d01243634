"""Jobs as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.job import TIME_FIELDS
from queuectl_nb.store import bulk_export
from queuectl_nb.store.bulk_export import JobColumns, SharedFields
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("how", [{}, {"queue": "q"}, {"state": "pending"}, {"limit": 3}, {"sort": "id"}])
def test_columns_are_those_of_the_jobs(
    harness: StoreHarness, monkeypatch: pytest.MonkeyPatch, rows: int, how: dict[str, Any]
) -> None:
    """The chunks have each job of a filter once, in enqueue order or in that of the filter, with all values."""
    monkeypatch.setattr(bulk_export, "CHUNK_ROWS", rows)
    for number in range(5):
        harness.add(f"job-{number}", queue="q" if number % 2 else "default", tags=["a", "b"][: number % 3])
    harness.add("last", after=["job-0"], timeout=5.0)
    columns = JobColumns(harness.store.reader, Filter.from_options(**how))
    expected = harness.store.reader.jobs(Filter.from_options(**how))
    assert columns.is_sorted == ("limit" in how or "sort" in how)
    if not columns.is_sorted:
        expected.sort(key=lambda job: job.seq)
    chunks = list(columns.chunks())
    assert [len(chunk.id) for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
    found = [dict(zip(chunk._fields, row, strict=True)) for chunk in chunks for row in zip(*chunk, strict=True)]
    assert [job["id"] for job in found] == [job.id for job in expected]
    for job, record in zip(found, expected, strict=True):
        for name in ("command", *TIME_FIELDS, "timeout", "error", "rev"):
            assert job[name] == getattr(record, name), name
        shared = JobColumns.parse_shared(job["shared"])
        for name in SharedFields._fields:
            value = getattr(record, name)
            assert getattr(shared, name) == (list(value) if isinstance(value, tuple) else value), name


def test_due_times(harness: StoreHarness) -> None:
    """The time at which the newest attempt was due stays known; a job without attempts has none."""
    harness.add("a")
    harness.add("b", delay=50)
    harness.claim()
    columns = JobColumns(harness.store.reader, Filter())
    assert columns.due_at(["a", "b"]) == {"a": harness.store.jobs.get("a").created_at}
