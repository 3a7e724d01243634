"""The views of the file show what the JSON shows."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.model.attempt import ATTEMPT_FIELDS
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.outcome import Signalled
from queuectl_nb.model.times import format_time
from queuectl_nb.render.json_shapes import attempt_json, job_json

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

# ---------------------------------------------------------------------- views


def _view(harness: StoreHarness, name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the columns and rows of a view, as any SQLite tool shows them."""
    with sqlite3.connect(harness.store.path) as connection:
        found = connection.execute(f"SELECT * FROM {name}")
        columns = [column[0] for column in found.description]
        return columns, [dict(zip(columns, row, strict=True)) for row in found]


def _some_jobs(harness: StoreHarness) -> None:
    harness.now += 0.0625
    harness.add("a", tags=["x", "y"], timeout=1.5, max_retries=2, env={"SECRET": "1"})
    harness.add("b", after=["a"], delay=60)
    harness.add("c")
    harness.run("a", started_at=harness.now + 0.0005, result='{"x": [1]}', stdout="out", stderr=b"\xff\x00")
    harness.run(
        "c", Signalled(9), stdout="he", stdout_tail="il", stdout_size=99, stderr=b"\xfe", stderr_tail="z", stderr_size=9
    )
    harness.add("d")
    harness.claim_job("d")


def test_view_columns(harness: StoreHarness) -> None:
    """``job_view`` and ``attempt_view`` have exactly the fields of the JSON, in order."""
    assert _view(harness, "job_view") == (list(JOB_FIELDS), [])
    assert _view(harness, "attempt_view") == (list(ATTEMPT_FIELDS), [])


def test_view_rows(harness: StoreHarness) -> None:
    """Each row equals the record, with lists and results as JSON text."""
    _some_jobs(harness)
    for row in _view(harness, "job_view")[1]:
        shown = {**row, **{key: json.loads(row[key]) for key in ("tags", "after")}}
        shown["result"] = row["result"] and json.loads(row["result"])
        assert shown == job_json(harness.store.jobs.get(row["id"]))
    rows = _view(harness, "attempt_view")[1]
    assert len(rows) == 3
    for row in rows:
        (record,) = harness.store.reader.attempts(row["job_id"])
        shown = {
            key: value.decode("utf-8", "replace") if isinstance(value, bytes) else value for key, value in row.items()
        }
        assert shown == attempt_json(record)
    assert "SECRET" not in str(_view(harness, "job_view"))


@given(st.one_of(st.floats(0, 4e9), st.floats(1.7e9, 1.9e9), st.integers(0, 2**40).map(lambda n: n / 2048)))
def test_times_in_views(stamp: float) -> None:
    """SQLite and Python write the same time to the millisecond, also halfway between two."""
    with sqlite3.connect(":memory:") as connection:
        shown = connection.execute("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')", (stamp,)).fetchone()[0]
    assert shown == format_time(stamp)


def test_all_times_use_one_format(harness: StoreHarness) -> None:
    """Every time in the views has the format of the test above."""
    for (sql,) in harness.query("SELECT sql FROM sqlite_schema WHERE type = 'view'"):
        formats = set(re.findall(r"strftime\('([^']*)'", sql))
        assert formats == {"%Y-%m-%dT%H:%M:%fZ"}
        assert sql.count("'unixepoch') AS ") == sql.count("strftime")
