"""The file as a public thing: its views, its statistics, and the looks that the faces take."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl_nb.forms.shapes import attempt_json, job_json
from queuectl_nb.model.attempt import ATTEMPT_FIELDS, Usage
from queuectl_nb.model.errors import BadInput
from queuectl_nb.model.job import JOB_FIELDS
from queuectl_nb.model.outcome import Exited, Lost, Returned, Signalled, TimedOut
from queuectl_nb.model.state import State
from queuectl_nb.model.words import iso_time
from queuectl_nb.store.reading import Filter
from queuectl_nb.store.stats import percentile, stats

# ---------------------------------------------------------------------- views


def _view(desk: Any, name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return a view's columns and rows, as any tool that opens the file sees them."""
    with sqlite3.connect(desk.store.path) as connection:
        found = connection.execute(f"SELECT * FROM {name}")  # noqa: S608
        columns = [column[0] for column in found.description]
        return columns, [dict(zip(columns, row, strict=True)) for row in found]


def _some_jobs(desk: Any) -> None:
    desk.now += 0.0625
    desk.add("a", tags=["x", "y"], timeout=1.5, max_retries=2, env={"SECRET": "1"})
    desk.add("b", after=["a"], delay=60)
    desk.add("c")
    desk.run("a", started_at=desk.now + 0.0005, result='{"x": [1]}', stdout="out", stderr=b"\xff\x00")
    desk.run(
        "c", Signalled(9), stdout="he", stdout_tail="il", stdout_size=99, stderr=b"\xfe", stderr_tail="z", stderr_size=9
    )
    desk.add("d")
    desk.take("d")


def test_the_views_have_the_json_fields_in_their_order(desk: Any) -> None:
    """``job_view`` and ``attempt_view`` have exactly the columns that the JSON has."""
    assert _view(desk, "job_view") == (list(JOB_FIELDS), [])
    assert _view(desk, "attempt_view") == (list(ATTEMPT_FIELDS), [])


def test_the_views_show_what_the_json_shows(desk: Any) -> None:
    """Row by row and field by field, lists and results being JSON text, the view is the record."""
    _some_jobs(desk)
    for row in _view(desk, "job_view")[1]:
        shown = {**row, **{key: json.loads(row[key]) for key in ("tags", "after")}}
        shown["result"] = row["result"] and json.loads(row["result"])
        assert shown == job_json(desk.store.jobs.get(row["id"]))
    rows = _view(desk, "attempt_view")[1]
    assert len(rows) == 3
    for row in rows:
        (record,) = desk.store.reading.attempts(row["job_id"])
        shown = {
            key: value.decode("utf-8", "replace") if isinstance(value, bytes) else value for key, value in row.items()
        }
        assert shown == attempt_json(record)
    assert "SECRET" not in str(_view(desk, "job_view"))


@given(st.one_of(st.floats(0, 4e9), st.floats(1.7e9, 1.9e9), st.integers(0, 2**40).map(lambda n: n / 2048)))
def test_readable_times_are_those_of_the_json(stamp: float) -> None:
    """To the millisecond, also where a time lies halfway between two, SQLite and Python write the same."""
    with sqlite3.connect(":memory:") as connection:
        shown = connection.execute("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')", (stamp,)).fetchone()[0]
    assert shown == iso_time(stamp)


def test_no_time_in_the_views_is_formatted_otherwise(desk: Any) -> None:
    """Every time in the views is written by the format that the test above is about."""
    for (sql,) in desk.rows("SELECT sql FROM sqlite_schema WHERE type = 'view'"):
        formats = set(re.findall(r"strftime\('([^']*)'", sql))
        assert formats == {"%Y-%m-%dT%H:%M:%fZ"}
        assert sql.count("'unixepoch') AS ") == sql.count("strftime")


# ---------------------------------------------------------------------- statistics


def _a_counted_day(desk: Any) -> float:
    """Make a day whose numbers can be worked out by hand; return its beginning.

    job   tags  attempts: due, started, finished (seconds from the beginning), outcome
    a     x     (0, 0, 4) failed   (6, 7, 10) succeeded
    b     x, y  (0, 1, 11) succeeded
    c           (0, 2, 3) returned  (3, 5, 60) timed out, then dead
    d           (0, 20, 30) lost, waits for its retry
    e           running since 100
    """
    start = float(desk.now)
    usage = {"usage": Usage(1.0, 0.5, 1000)}

    def run(job_id: str, begin: float, end: float, outcome: Any, **facts: Any) -> None:
        desk.now = start + begin
        lease = desk.take(job_id)
        desk.now = start + end
        desk.end(lease, outcome, started_at=start + begin, **facts)

    desk.add("a", tags=["x"], queue="q")
    run("a", 0, 4, Exited(1), **usage)
    run("a", 7, 10, Exited(0), usage=Usage(2.0, 0.0, 5000))
    desk.now = start
    desk.add("b", tags=["x", "y"])
    run("b", 1, 11, Exited(0), **usage)
    desk.now = start
    desk.add("c", max_retries=1)
    run("c", 2, 3, Returned(), **usage)
    run("c", 5, 60, TimedOut(55), pid=None)
    desk.now = start
    desk.add("d", queue="q")
    run("d", 20, 30, Lost("worker-1"), pid=None)
    desk.add("e", priority=1)
    desk.now = start + 100
    desk.take("e")
    return start


def test_the_numbers_of_a_counted_day(desk: Any) -> None:
    """Every metric is what the table in the helper above gives by hand."""
    _a_counted_day(desk)
    found = stats(desk.store.db)[""]
    assert {state: n for state, n in found.counts.items() if n} == {
        "completed": 2,
        "dead": 1,
        "failed": 1,
        "processing": 1,
    }
    assert set(found.counts) == set(State)
    assert found.attempts == 7
    assert found.avg_duration_s == pytest.approx((3 + 10) / 2)
    assert found.run_s == {"p50": 4, "p95": 55}  # of 3, 4, 10, 55
    assert found.wait_s == {"p50": 1, "p95": 2}  # of those that ran: 0, 1, 1, 2
    assert found.attempts_per_job == pytest.approx(7 / 5)
    assert found.per_minute == pytest.approx(2)  # two successes from 0 to 60 seconds
    assert found.cpu_s == pytest.approx(3 * 1.5 + 2)
    assert found.max_rss_bytes == 5000


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("queue", {"default": (4, 3, 1), "q": (3, 2, 1)}),
        ("tag", {"x": (3, 2, 2), "y": (1, 1, 1)}),
        ("command", {"true": (7, 5, 2)}),
    ],
)
def test_groups_have_the_numbers_of_their_jobs(desk: Any, by: str, groups: dict[str, tuple[int, int, int]]) -> None:
    """By queue, tag or command each group counts its own attempts, jobs and completed ones."""
    _a_counted_day(desk)
    desk.now += 1
    found = stats(desk.store.db, by=by)
    assert {
        name: (each.attempts, sum(each.counts.values()), each.counts[State.COMPLETED]) for name, each in found.items()
    } == groups


def test_since_leaves_out_what_ended_earlier(desk: Any) -> None:
    """From a moment on: attempts that ended at or after it, and the running ones; jobs that changed since."""
    start = _a_counted_day(desk)
    found = stats(desk.store.db, since=start + 11)[""]
    assert found.attempts == 4  # b, c's second, d, e
    assert sum(found.counts.values()) == 4
    assert found.run_s == {"p50": 10, "p95": 55}


def test_an_empty_queue_has_no_numbers(desk: Any) -> None:
    """Where nothing ran, counts are 0 and every metric is null; grouped, there are no groups."""
    found = stats(desk.store.db)[""]
    assert set(found.counts.values()) == {0}
    assert found.attempts == 0
    assert (found.avg_duration_s, found.attempts_per_job, found.per_minute) == (None, None, None)
    assert (found.run_s, found.wait_s) == ({"p50": None, "p95": None}, {"p50": None, "p95": None})
    assert (found.cpu_s, found.max_rss_bytes) == (None, None)
    assert stats(desk.store.db, by="queue") == {}


def test_a_clock_that_was_set_back_makes_no_negative_numbers(desk: Any) -> None:
    """An attempt that seems to have ended before it began, or started before it was due, took no time."""
    desk.add("a")
    lease = desk.take("a")
    desk.now -= 500
    desk.end(lease, started_at=desk.now + 100)
    found = stats(desk.store.db)[""]
    assert (found.avg_duration_s, found.run_s["p50"], found.wait_s["p50"]) == (0, 0, 0)
    assert found.per_minute is None


def test_an_unknown_group_is_refused(desk: Any) -> None:
    """``--by`` takes command, queue and tag, and says so."""
    with pytest.raises(BadInput, match="valid: command, queue, tag"):
        stats(desk.store.db, by="id; DROP TABLE jobs")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.95, 0.01, 1.0]))
def test_a_percentile_is_the_nearest_rank(values: list[float], share: float) -> None:
    """The percentile is one of the values; at least that share of them is no larger, and no smaller one is enough."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(each <= found for each in ordered) >= share * len(ordered) - 1e-9
    below = [each for each in ordered if each < found]
    assert len(below) < share * len(ordered) + 1e-9


# ---------------------------------------------------------------------- lists


def _listed(desk: Any, **how: Any) -> list[str]:
    return [job.id for job in desk.store.reading.jobs(Filter.of(**how))]


@pytest.fixture
def listed(desk: Any) -> Any:
    """Return a desk with a dozen jobs in several states; those changed last are c2, c1, then the rest."""
    for number in range(4):
        desk.now += 1
        desk.add(f"a{number}", tags=["x"] if number % 2 else ["y", "xx"], priority=number % 2)
        desk.add(f"b{number}", queue="q", command=f"echo {number}%_'")
    desk.add("c1", "c2", "c3", queue="r")
    desk.now += 1
    desk.store.jobs.cancel(["c1"], desk.now)
    desk.store.jobs.cancel(["c2"], desk.now)
    return desk


def test_the_last_changed_come_first(listed: Any) -> None:
    """Without a sort the newest change leads, later places first among equals; reversed it is the other way round."""
    order = ["c2", "c1", "c3", "b3", "a3", "b2", "a2", "b1", "a1", "b0", "a0"]
    assert _listed(listed) == order
    assert _listed(listed, reverse=True) == order[::-1]
    for limit in range(13):
        assert _listed(listed, limit=limit) == order[:limit]
        assert _listed(listed, limit=limit, reverse=True) == order[::-1][:limit]


def test_filters_combine(listed: Any) -> None:
    """State, queue, tag and text narrow the list together; a tag is a whole word, text is taken as it stands."""
    assert _listed(listed, state="cancelled") == ["c2", "c1"]
    assert _listed(listed, queue="q", limit=2) == ["b3", "b2"]
    assert _listed(listed, tag="x") == ["a3", "a1"]
    assert _listed(listed, text="ECHO 3") == ["b3"]
    assert _listed(listed, text="%_'") == ["b3", "b2", "b1", "b0"]
    assert _listed(listed, text="A") == ["a3", "a2", "a1", "a0"]
    assert _listed(listed, queue="r", state="pending", text="c") == ["c3"]
    assert _listed(listed, state="dead") == []
    for how in ({}, {"state": "cancelled"}, {"queue": "q"}, {"tag": "x", "state": "pending"}, {"text": "c"}):
        assert listed.store.reading.count(Filter.of(**how, limit=1)) == len(_listed(listed, **how))


@pytest.mark.parametrize("field", JOB_FIELDS)
def test_every_json_field_sorts(listed: Any, field: str) -> None:
    """A sort goes up by its field and in the order of enqueue among equals; reversed it is exactly the other way."""
    up = listed.store.reading.jobs(Filter.of(sort=field))
    keys = [
        (value is not None, value if value is not None else 0, job.seq) for job in up for value in [_key(job, field)]
    ]
    assert keys == sorted(keys)
    assert _listed(listed, sort=field, reverse=True) == [job.id for job in up][::-1]
    assert _listed(listed, sort=field, limit=3) == [job.id for job in up][:3]


def _key(job: Any, field: str) -> Any:
    value = getattr(job, field)
    return json.dumps(list(value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("how", [{}, {"queue": "q"}, {"state": "pending"}])
def test_pages_join_without_gap_or_repetition(listed: Any, size: int, how: dict[str, str]) -> None:
    """Page after page by the cursor of the last job seen gives the whole list, each job once."""
    pages: list[str] = []
    after = None
    while page := listed.store.reading.jobs(Filter.of(**how, limit=size, after=after)):
        assert len(page) <= size
        pages += [job.id for job in page]
        after = (page[-1].rev, page[-1].seq)
    assert pages == _listed(listed, **how)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"state": "' OR 1=1--"}, "valid: pending, processing, failed, completed, dead, cancelled, blocked"),
        ({"sort": "id;drop"}, "valid: id, command, state"),
        ({"sort": "rev"}, "valid: id, command, state"),
        ({"limit": -1}, "limit must be from 0"),
        ({"limit": True}, "limit must be"),
        ({"queue": "*"}, "queue"),
        ({"tag": "a b"}, "tag"),
        ({"text": "a\0b"}, "NUL"),
        ({"text": "\udcff"}, "UTF-8"),
    ],
)
def test_a_bad_filter_is_refused_with_the_valid_words(how: dict[str, Any], why: str) -> None:
    """Unknown states, fields and the like: exit code 2, the valid ones named."""
    with pytest.raises(BadInput, match=re.escape(why)):
        Filter.of(**how)


# ---------------------------------------------------------------------- other looks


def test_ids_complete_by_their_beginning(listed: Any) -> None:
    """Ids that begin with what was typed, of the wanted states, in order, no more than wanted; odd input finds none."""
    ids = listed.store.reading.ids
    assert ids("a", list(State), 3) == ["a0", "a1", "a2"]
    assert ids("", list(State), 99) == sorted(listed.states())
    assert ids("c", [State.CANCELLED], 99) == ["c1", "c2"]
    for odd in ("%", "_", "'", "\udcff", "a\0", "z"):
        assert ids(odd, list(State), 9) == []


def test_what_changed_since_a_revision(listed: Any) -> None:
    """A wait sees the jobs that came to a state after the revision at which it began, and no others."""
    reading = listed.store.reading
    since = reading.revision()[0]
    assert reading.changed_to([State.CANCELLED], since) == []
    listed.store.jobs.cancel(["a0", "a1"], listed.now)
    assert reading.changed_to([State.CANCELLED, State.DEAD], since) == [("a0", "cancelled"), ("a1", "cancelled")]
    assert reading.states_of(["a0", "b0", "nobody", "a\udcff"]) == {"a0": "cancelled", "b0": "pending"}


def test_counts_have_every_state(listed: Any) -> None:
    """The counts come from the tally and have every state, in the order in which people read them."""
    assert list(listed.store.reading.counts()) == list(State)
    assert listed.store.reading.counts()["pending"] == 9
    assert listed.store.reading.counts()["cancelled"] == 2
