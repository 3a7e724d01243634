"""What the planner makes of our statements: none may walk through all jobs, however many there are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.outcome import Exited
from queuectl_nb.model.state import AT_REST, State
from queuectl_nb.store.job_lists import Ordering
from queuectl_nb.store.queries import load
from queuectl_nb.store.reader import Filter
from queuectl_nb.store.sets import MARK, spread

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

QUERIES = load()
MANY = ("jobs", "attempts", "dependents", "environments", "other")
"""Tables (and an alias) with as many rows as there are jobs; the others hold a handful."""
FIRST_ENTRY = {
    "any_dependents": "SCAN dependents USING COVERING INDEX dependents_job",
    "next_due": "SCAN jobs USING INDEX jobs_scheduled",
}
"""Scans that stop at the first entry of an index."""
WALK = re.compile(rf"SCAN ({'|'.join(MANY)})\b")


def _plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    """Return the planner's steps for a statement, its parameters bound to anything."""
    sql = spread(sql, 3, 20) if MARK in sql else sql
    names = re.findall(r"(?<!\w):([a-z_]+)", sql)
    values: Any = dict.fromkeys(names, 1) if names else (1,) * sql.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("name", QUERIES)
def test_no_statement_walks_through_all_jobs(desk: Any, name: str) -> None:
    """Each named statement finds its rows through an index, without the help of ANALYZE."""
    with desk.store.db.read() as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchall()
        plan = _plan(connection, QUERIES[name])
    walks = [step for step in plan if WALK.match(step)]
    assert walks == [step for known, step in FIRST_ENTRY.items() if known == name]


@pytest.mark.parametrize(
    "name", ["ready_in_queue", "best_ready_priority", "next_due", "promote_due", "oldest_at_rest", "attempts_of_job"]
)
def test_what_is_wanted_in_order_is_not_sorted(desk: Any, name: str) -> None:
    """Where the first few of many are wanted, the index gives them in order; nothing is sorted."""
    with desk.store.db.read() as connection:
        assert not [step for step in _plan(connection, QUERIES[name]) if "TEMP B-TREE" in step]


@pytest.mark.parametrize("name", ["open_attempt", "take_job", "settle_job", "close_attempt"])
def test_no_constraint_makes_a_table_for_each_row(desk: Any, name: str) -> None:
    """A CHECK with a list after IN would have SQLite fill a table with the list for every row that is written."""
    sql = spread(QUERIES[name], 2, 20)
    with desk.store.db.read() as connection:
        steps = connection.execute(f"EXPLAIN {sql}", (1,) * sql.count("?")).fetchall()
    makes = [step for step in steps if step[1] == "OpenEphemeral" and str(step[5]).startswith("k(1")]
    assert makes == []


def test_the_newest_spans_are_read_off_the_index(desk: Any) -> None:
    """A timeline of the newest few among a million takes them from the end of the index, sorting nothing."""
    with desk.store.db.read() as connection:
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
def test_what_triggers_do_walks_through_nothing(desk: Any, sql: str) -> None:
    """The statements of the triggers, which no plan shows, are found in the schema and use indexes."""
    with desk.store.db.read() as connection:
        triggers = " ".join(
            row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'trigger'")
        )
        assert sql.partition(" WHERE ")[0] in triggers
        assert all(step.startswith(("SEARCH", "MULTI-INDEX", "INDEX")) for step in _plan(connection, sql))


def _traced(desk: Any, action: Callable[[], object]) -> set[str]:
    """Run ``action`` and return the statements that it ran."""
    connection = desk.store.db.connection()
    seen: set[str] = set()
    connection.set_trace_callback(seen.add)
    try:
        action()
    finally:
        connection.set_trace_callback(None)
    return {sql for sql in seen if sql.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))}


def _a_busy_day(desk: Any) -> None:
    """Use every verb and every look that must not cost more with more jobs."""
    desk.add("a", "b", "c", "d", "e", "f", tags=["x"], queue="gpu", delay=5)
    desk.add()
    desk.enqueue({"id": "g", "command": "true", "after": ["a", "b"]}, {"id": "h", "command": "true", "after": "g"})
    desk.enqueue({"id": "a", "command": "true"}, if_absent=True)
    desk.now += 10
    first, second = desk.claim(2)
    desk.turn(back=[second])
    desk.end(first, Exited(1))
    desk.now += 10
    store = desk.store
    store.jobs.retry(["a"], desk.now)
    store.jobs.cancel(["c"], desk.now)
    store.jobs.delete(["d"], desk.now)
    store.jobs.pause("gpu", desk.now)
    store.jobs.resume("gpu")
    desk.kill("a")
    desk.run("b")
    store.jobs.retry(["a"], desk.now)
    store.jobs.prune(0, desk.now)
    look = store.reader
    for wanted in (Filter.of(limit=5), Filter.of(limit=5, state="dead"), Filter.of(limit=5, after=(3, 4))):
        assert len(look.jobs(wanted)) <= 5
    look.counts(), look.count(Filter.of()), look.count(Filter.of(state="dead")), look.revision(), look.paused()
    look.changed_to(sorted(AT_REST), 3), look.states_of(["a", "b"]), look.ids("j", list(State), 10)
    look.finished(desk.now - 60, desk.now, 5), Ordering(store.db).jobs_at([1, 2])
    look.attempts("a"), store.workers.current_jobs(), store.workers.orphaned(), store.workers.rows()


def test_nothing_on_a_busy_day_walks_through_all_jobs(desk: Any) -> None:
    """Of all statements that the verbs, a worker's turns and a page of the list run, none scans jobs or attempts."""
    seen = _traced(desk, lambda: _a_busy_day(desk))
    assert len(seen) > 60
    with desk.store.db.read() as connection:
        # a constant 0 in the place of :facts makes a plan that is never carried out
        seen = {sql.replace("jobs.starts - 1 AND 0 )", "jobs.starts - 1 )") for sql in seen}
        walks = {sql: step for sql in seen for step in _plan(connection, sql) if WALK.match(step)}
    allowed = set(FIRST_ENTRY.values())
    assert {sql: step for sql, step in walks.items() if step not in allowed} == {}


def test_a_page_of_the_newest_is_not_sorted(desk: Any) -> None:
    """The page of those changed last comes from the index, state by state, in order."""
    desk.add("a", "b")
    seen = _traced(desk, lambda: desk.store.reader.jobs(Filter.of(limit=5)))
    with desk.store.db.read() as connection:
        (page,) = {sql for sql in seen if sql.startswith("SELECT rev, seq FROM jobs WHERE state = 'pending'")}
        assert _plan(connection, page) == ["SEARCH jobs USING COVERING INDEX jobs_state (state=?)"]


def test_a_page_in_the_middle_of_one_enqueue_is_found_at_once(desk: Any) -> None:
    """A cursor among jobs that share a revision, as a million of one enqueue do, is a place in the index."""
    desk.add(*[f"j{number}" for number in range(20)])
    (_, *rest) = desk.store.reader.jobs(Filter.of(limit=10))
    cursor = (rest[-1].rev, rest[-1].seq)
    seen = _traced(desk, lambda: desk.store.reader.jobs(Filter.of(limit=5, after=cursor)))
    with desk.store.db.read() as connection:
        plans = [_plan(connection, sql) for sql in seen if "state = 'pending' AND rev = " in sql]
    assert plans == [["SEARCH jobs USING COVERING INDEX jobs_state (state=? AND rev=? AND rowid<?)"]]


def test_a_queues_few_jobs_are_not_looked_for_further_than_they_go(desk: Any) -> None:
    """Among thousands of jobs of other queues the newest few of a queue, or none, cost as little as among few."""
    desk.enqueue(*({"command": "true"} for _ in range(3000)))
    desk.add("mine-1", "mine-2", queue="mine")
    look = desk.store.reader
    assert [job.id for job in look.jobs(Filter.of(queue="mine", limit=100))] == ["mine-2", "mine-1"]
    for queue in ("mine", "nobodys"):
        assert _steps(desk, lambda queue=queue: look.jobs(Filter.of(queue=queue, limit=100))) < 1500


def _steps(desk: Any, action: Callable[[], object]) -> int:
    """Return how many instructions SQLite's machine took for ``action``."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = desk.store.db.connection()
    connection.set_progress_handler(count, 1)
    try:
        action()
    finally:
        connection.set_progress_handler(None, 0)
    return steps


def test_a_hundred_times_the_jobs_cost_no_more(desk: Any) -> None:
    """A claim, a settlement, a page, a count and a look at who holds what cost the same among 100 and 10,000 jobs."""

    def fill(jobs: int) -> None:
        desk.enqueue(*({"command": "true", "priority": 9, "delay": 10**6} for _ in range(jobs)))
        with desk.store.db.write() as connection:
            connection.execute("UPDATE jobs SET ready = 0, state = 'completed' WHERE seq % 2 = 0 AND state = 'pending'")

    def day() -> dict[str, int]:
        desk.add("now-1", "now-2")
        look = desk.store.reader
        cost = {"claim": _steps(desk, lambda: held.extend(desk.claim(1)))}
        cost["settle and claim"] = _steps(desk, lambda: (desk.end(held.pop()), held.extend(desk.claim(1))))
        cost["give back"] = _steps(desk, lambda: desk.turn(back=[held.pop()]))
        cost["page"] = _steps(desk, lambda: look.jobs(Filter.of(limit=20)))
        cost["counts"] = _steps(desk, look.counts)
        cost["current"] = _steps(desk, desk.store.workers.current_jobs)
        cost["orphaned"] = _steps(desk, desk.store.workers.orphaned)
        cost["since"] = _steps(desk, lambda: look.changed_to(sorted(AT_REST), look.revision()[0] - 1))
        desk.store.jobs.delete(["now-1", "now-2"], desk.now)
        return cost

    held: list[Any] = []
    fill(100)
    few = day()
    fill(10_000)
    many = day()
    assert {name: cost for name, cost in many.items() if cost > few[name] * 1.1} == {}
