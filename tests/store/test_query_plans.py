"""Query plans: no statement scans all jobs."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.attempt import Ending
from queuectl_nb.model.lifecycle import Transition
from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import FINISHED_STATES, State
from queuectl_nb.store.attempt_history import count_outcomes
from queuectl_nb.store.boot_time import WALL_CLOCK_ONLY
from queuectl_nb.store.error_groups import read_error_groups
from queuectl_nb.store.job_filter import Filter
from queuectl_nb.store.job_lists import JobOrder
from queuectl_nb.store.queries import PLACEHOLDER, expand, load
from queuectl_nb.store.settle import EndedAttempt, HeldLease, attempt_update, job_update

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from tests.store.conftest import StoreHarness

QUERIES = load()
MANY = ("jobs", "attempts", "dependents", "environments", "other")
"""Tables (and an alias) with as many rows as there are jobs; the others hold a handful."""
FIRST_ENTRY = {
    "any_ready": "SCAN jobs USING INDEX jobs_ready",
    "any_dependents": "SCAN dependents USING INDEX dependents_job",
}
"""Scans that stop at the first entry of an index."""
WALK = re.compile(rf"SCAN ({'|'.join(MANY)})\b")


def _columns(sql: str) -> list[str]:
    """Return the columns of a statement's rows."""
    return re.split(r",\s*", re.match(r"WITH v \(\s*(.*?)\s*\) AS", sql)[1])  # type: ignore[index]


def _width(sql: str) -> int:
    return len(_columns(sql))


def test_rows_match_the_columns() -> None:
    """The rows of each statement have its columns, in order."""
    ended = EndedAttempt(HeldLease(1, "a", 1, "token"), Exited(0), Ending(1.0))
    job = job_update(ended, Transition(State.COMPLETED, 1), 1.0, WALL_CLOCK_ONLY)
    assert _columns(QUERIES["settle_job"]) == list(job)
    assert _columns(QUERIES["close_attempt"]) == list(attempt_update(ended))


def _plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    """Return the query plan of a statement."""
    sql = expand(sql, 3, _width(sql)) if PLACEHOLDER in sql else sql
    names = re.findall(r"(?<!\w):([a-z_]+)", sql)
    values: Any = dict.fromkeys(names, 1) if names else (1,) * sql.count("?")
    steps = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
    return [step.replace("COVERING ", "") for *_, step in steps]  # which indexes are depends on the version of SQLite


@pytest.mark.parametrize("name", QUERIES)
def test_no_scan(harness: StoreHarness, name: str) -> None:
    """Each named statement finds its rows through an index, without ANALYZE."""
    with harness.store.db.read() as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchall()
        plan = _plan(connection, QUERIES[name])
    walks = [step for step in plan if WALK.match(step)]
    assert walks == [step for known, step in FIRST_ENTRY.items() if known == name]


@pytest.mark.parametrize(
    "name",
    [
        "ready_in_queue",
        "best_ready_priority",
        "next_due",
        "promote_due",
        "count_old",
        "oldest_finished",
        "attempts_of_job",
        "recent_attempts",
    ],
)
def test_no_sort(harness: StoreHarness, name: str) -> None:
    """Where the first few of many are read, an index gives their order."""
    with harness.store.db.read() as connection:
        assert not [step for step in _plan(connection, QUERIES[name]) if "TEMP B-TREE" in step]


@pytest.mark.parametrize("name", ["open_attempt", "claim_job", "settle_job", "close_attempt"])
def test_constraints_without_in_lists(harness: StoreHarness, name: str) -> None:
    """A CHECK with an IN list would have SQLite build a table for every written row."""
    sql = expand(QUERIES[name], 2, _width(QUERIES[name]))
    with harness.store.db.read() as connection:
        steps = connection.execute(f"EXPLAIN {sql}", (1,) * sql.count("?")).fetchall()
    makes = [step for step in steps if step[1] == "OpenEphemeral" and str(step[5]).startswith("k(1")]
    assert makes == []


def test_newest_spans_use_the_index(harness: StoreHarness) -> None:
    """The newest few spans among a million come from the end of the index, without a sort."""
    with harness.store.db.read() as connection:
        plan = _plan(connection, QUERIES["spans_of_attempts"])
    assert "SEARCH attempts USING INDEX attempts_finished (finished_at>?)" in plan
    assert not [step for step in plan if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM attempts WHERE job = 1",
        "DELETE FROM dependents WHERE job = 1 OR other = 1",
        "UPDATE tally SET n = n - 1 WHERE queue = 'q' AND state = 's'",
    ],
)
def test_triggers_without_scan(harness: StoreHarness, sql: str) -> None:
    """The statements of triggers, which no plan shows, use indexes."""
    with harness.store.db.read() as connection:
        triggers = " ".join(
            row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'")
        )
        assert sql.partition(" WHERE ")[0] in triggers
        assert all(step.startswith(("SEARCH", "MULTI-INDEX", "INDEX")) for step in _plan(connection, sql))


def _traced(harness: StoreHarness, action: Callable[[], object]) -> set[str]:
    """Run ``action`` and return the statements it executed."""
    connection = harness.store.db.connection()
    seen: set[str] = set()
    connection.set_trace_callback(seen.add)
    try:
        action()
    finally:
        connection.set_trace_callback(None)
    return {sql for sql in seen if sql.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))}


def _use_every_verb(harness: StoreHarness) -> None:
    """Use every verb and every read whose cost must not grow with the number of jobs."""
    harness.add("a", "b", "c", "d", "e", "f", tags=["x"], queue="gpu", delay=5)
    harness.add()
    harness.enqueue({"id": "g", "command": "true", "after": ["a", "b"]}, {"id": "h", "command": "true", "after": "g"})
    harness.enqueue({"id": "a", "command": "true"}, if_absent=True)
    harness.now += 10
    first, second = harness.claim(2)
    harness.settle_and_claim(released=[second])
    harness.settle(first, Exited(1))
    harness.now += 10
    store = harness.store
    store.jobs.retry(["a"], harness.now)
    store.jobs.cancel(["c"], harness.now)
    store.jobs.delete(["d"], harness.now)
    store.jobs.pause("gpu", harness.now)
    store.jobs.resume("gpu")
    harness.exhaust("a")
    harness.run("b")
    store.jobs.retry(["a"], harness.now)
    harness.prune(0)
    reader = store.reader
    for wanted in (
        Filter.from_options(limit=5),
        Filter.from_options(limit=5, state="dead"),
        Filter.from_options(limit=5, after=(3, 4)),
    ):
        assert len(reader.jobs(wanted)) <= 5
    (
        reader.counts(),
        reader.count(Filter.from_options()),
        reader.count(Filter.from_options(state="dead")),
        reader.db.revision(),
        reader.paused_queues(),
    )
    (
        reader.changed_since(sorted(FINISHED_STATES), 3),
        reader.states_of(["a", "b"]),
        reader.complete_ids("j", list(State), 10),
    )
    count_outcomes(store.db, start=harness.now - 60, end=harness.now, slice_s=5), JobOrder(store.db).jobs_at([1, 2])
    reader.attempts("a"), store.workers.current_jobs(), store.workers.orphaned_workers(), store.workers.list_all()


def test_no_scan_in_use(harness: StoreHarness) -> None:
    """No statement of the verbs, the workers or a page of the list scans jobs or attempts."""
    seen = _traced(harness, lambda: _use_every_verb(harness))
    assert len(seen) > 60
    with harness.store.db.read() as connection:
        # a constant 0 in place of :facts makes a plan that is never carried out
        seen = {sql.replace("jobs.starts - 1 AND 0 )", "jobs.starts - 1 )") for sql in seen}
        walks = {sql: step for sql in seen for step in _plan(connection, sql) if WALK.match(step)}
    allowed = set(FIRST_ENTRY.values())
    assert {sql: step for sql, step in walks.items() if step not in allowed} == {}


def test_newest_page_is_not_sorted(harness: StoreHarness) -> None:
    """The newest page is read from the index in order, state by state."""
    harness.add("a", "b")
    seen = _traced(harness, lambda: harness.store.reader.jobs(Filter.from_options(limit=5)))
    with harness.store.db.read() as connection:
        (page,) = {sql for sql in seen if sql.startswith("SELECT rev, seq FROM jobs WHERE state = 'pending'")}
        assert _plan(connection, page) == ["SEARCH jobs USING INDEX jobs_state (state=?)"]


def test_errors_are_found_by_state(harness: StoreHarness) -> None:
    """Errors are grouped and selected among the failed and dead jobs only, or among the given ones."""
    harness.add("a")
    harness.run("a", Exited(1))
    plans = {None: "jobs USING INDEX jobs_state (state=?", ("a",): "jobs USING INDEX sqlite_autoindex_jobs"}
    for ids, plan in plans.items():
        for job_filter in (Filter(ids=ids), Filter(ids=ids, error="x")):
            seen = _traced(harness, partial(read_error_groups, harness.store.db, job_filter))
            with harness.store.db.read() as connection:
                steps = {_plan(connection, sql)[0] for sql in seen if " error_key " in sql}
            assert steps
            assert all(plan in step for step in steps), steps


def test_cursor_within_one_revision(harness: StoreHarness) -> None:
    """A cursor among a million jobs with the same revision is a position in the index."""
    harness.add(*[f"j{number}" for number in range(20)])
    (_, *rest) = harness.store.reader.jobs(Filter.from_options(limit=10))
    cursor = (rest[-1].rev, rest[-1].seq)
    seen = _traced(harness, lambda: harness.store.reader.jobs(Filter.from_options(limit=5, after=cursor)))
    with harness.store.db.read() as connection:
        plans = [_plan(connection, sql) for sql in seen if "state = 'pending' AND rev = " in sql]
    assert plans == [["SEARCH jobs USING INDEX jobs_state (state=? AND rev=? AND rowid<?)"]]


def test_few_jobs_of_a_queue(harness: StoreHarness) -> None:
    """Among thousands of jobs of other queues, the newest few of a queue are found as cheaply as among few."""
    harness.enqueue(*({"command": "true"} for _ in range(3000)))
    harness.add("mine-1", "mine-2", queue="mine")
    reader = harness.store.reader
    assert [job.id for job in reader.jobs(Filter.from_options(queue="mine", limit=100))] == ["mine-2", "mine-1"]
    for queue in ("mine", "nobodys"):
        assert _steps(harness, partial(reader.jobs, Filter.from_options(queue=queue, limit=100))) < 1500


def _steps(harness: StoreHarness, action: Callable[[], object]) -> int:
    """Return the number of SQLite virtual machine instructions of ``action``."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = harness.store.db.connection()
    connection.set_progress_handler(count, 1)
    try:
        action()
    finally:
        connection.set_progress_handler(None, 0)
    return steps


def test_cost_does_not_grow(harness: StoreHarness) -> None:
    """Claim, settle, page, counts and claims of a worker cost the same with 100 and 10,000 jobs."""

    def fill(jobs: int) -> None:
        harness.enqueue(*({"command": "true", "priority": 9, "delay": 10**6} for _ in range(jobs)))
        with harness.store.db.write() as connection:
            connection.execute("UPDATE jobs SET ready = 0, state = 'completed' WHERE seq % 2 = 0 AND state = 'pending'")

    def settle_and_claim() -> None:
        harness.settle(held.pop())
        held.extend(harness.claim(1))

    def day() -> dict[str, int]:
        harness.add("now-1", "now-2")
        reader = harness.store.reader
        cost = {"claim": _steps(harness, lambda: held.extend(harness.claim(1)))}
        cost["settle and claim"] = _steps(harness, settle_and_claim)
        cost["release"] = _steps(harness, lambda: harness.settle_and_claim(released=[held.pop()]))
        cost["page"] = _steps(harness, lambda: reader.jobs(Filter.from_options(limit=20)))
        cost["counts"] = _steps(harness, reader.counts)
        cost["current"] = _steps(harness, harness.store.workers.current_jobs)
        cost["orphaned"] = _steps(harness, harness.store.workers.orphaned_workers)
        cost["since"] = _steps(
            harness, lambda: reader.changed_since(list(FINISHED_STATES), reader.db.revision()[0] - 1)
        )
        harness.store.jobs.delete(["now-1", "now-2"], harness.now)
        return cost

    held: list[Any] = []
    fill(100)
    few = day()
    fill(10_000)
    many = day()
    assert {name: cost for name, cost in many.items() if cost > few[name] * 1.1} == {}
