"""Writing new jobs: one or many, all or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from queuectl_nb.model.errors import BadInput, NotFound
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import enqueue


def _is_refused(desk: Any, kind: type[Exception], *wishes: dict[str, Any], **how: Any) -> str:
    """Enqueue a list that must be refused as a whole, and return the one line that says why."""
    before = desk.dump()
    with pytest.raises(kind) as caught:
        desk.enqueue(*wishes, **how)
    assert desk.dump() == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_job_is_there_as_it_was_wished(desk: Any) -> None:
    """Every field of a wish is in the record, times in epoch seconds, and nothing has happened to it yet."""
    desk.enqueue(
        {
            "id": "a",
            "command": "echo 'é\n$(x)'",
            "priority": -7,
            "delay": 30,
            "timeout": 0,
            "max_retries": 9,
            "queue": "gpu",
            "tags": ["x", "y"],
            "cwd": "/tmp",
            "env": {"A": "ü"},
        }
    )
    job = desk.store.jobs.get("a")
    assert (job.seq, job.id, job.command, job.state, job.priority, job.attempts) == (
        1,
        "a",
        "echo 'é\n$(x)'",
        "pending",
        -7,
        0,
    )
    assert (job.max_retries, job.timeout, job.queue, job.tags, job.after, job.cwd) == (
        9,
        0,
        "gpu",
        ("x", "y"),
        (),
        "/tmp",
    )
    assert (job.run_at, job.created_at, job.updated_at) == (desk.now + 30, desk.now, desk.now)
    assert {job.started_at, job.finished_at, job.exit_code, job.error, job.worker, job.result} == {None}
    desk.now += 30
    lease = desk.take("a")
    assert (lease.env, lease.kept_env, lease.number, lease.attempts) == ({"A": "ü"}, {"PATH": "/bin"}, 1, 1)


def test_a_job_without_a_place_gets_the_enqueues(desk: Any) -> None:
    """Without ``cwd`` the working directory of the enqueue is recorded; timeout and retries stay null."""
    desk.add("a")
    job = desk.store.jobs.get("a")
    assert (job.cwd, job.timeout, job.max_retries, job.queue) == ("/", None, None, "default")


def test_generated_ids_follow_the_order_and_never_come_back(desk: Any) -> None:
    """Jobs without an id are ``job-N``; after a deletion no number is given twice."""
    assert desk.enqueue({"command": "a"}, {"command": "b"}) == ["job-1", "job-2"]
    desk.store.jobs.delete(["job-2"], desk.now)
    assert desk.add() == ["job-3"]


def test_generated_ids_step_aside(desk: Any) -> None:
    """Where people have named jobs like generated ones, those get a suffix; the ids come back in the list's order."""
    desk.add("job-3", "job-4.1")
    assert desk.enqueue({"command": "a"}, {"command": "b", "id": "job-4"}, {"command": "c"}, {"command": "d"}) == [
        "job-3.1",
        "job-4",
        "job-5",
        "job-6",
    ]
    assert desk.enqueue({"command": "e", "id": "job-8"}, {"command": "f"}) == ["job-8", "job-8.1"]
    assert desk.enqueue({"command": "g", "id": "job-10.1"}, {"command": "h", "id": "job-11"}, {"command": "i"}) == [
        "job-10.1",
        "job-11",
        "job-11.1",
    ]


def test_ids_are_unique(desk: Any) -> None:
    """An id that is taken, or stands twice in the list, refuses the whole list and is the one that is named."""
    desk.add("there")
    new = [{"command": "x", "id": each} for each in ("a", "b")]
    there = {"command": "x", "id": "there"}
    assert "job there is already in the queue" in _is_refused(desk, BadInput, there)
    assert "job there is already in the queue" in _is_refused(desk, BadInput, *new, there)
    assert "job there is already in the queue" in _is_refused(desk, BadInput, *new, {"command": "y"}, there)
    assert "job a stands twice in the list" in _is_refused(desk, BadInput, *new, {"command": "y", "id": "a"})
    assert desk.enqueue(*new) == ["a", "b"]


def test_ids_differ_by_case(desk: Any) -> None:
    """``A`` and ``a`` are two jobs."""
    assert desk.add("A", "a") == ["A", "a"]


def test_if_absent_takes_what_is_there_with_the_same_command(desk: Any) -> None:
    """With ``if_absent`` the same id and command change nothing; the ids come back in the list's order."""
    desk.add("a", priority=5)
    before = desk.row("a")
    wishes = [{"id": "new", "command": "x"}, {"id": "a", "command": "true"}, {"id": "last", "command": "y"}]
    assert desk.enqueue(*wishes, if_absent=True) == ["new", "a", "last"]
    assert desk.row("a") == before
    assert desk.enqueue(*wishes, if_absent=True) == ["new", "a", "last"]
    assert desk.states() == dict.fromkeys(["a", "new", "last"], "pending")


def test_if_absent_refuses_another_command(desk: Any) -> None:
    """An id that is there with a different command is refused, and the new ones beside it are not written."""
    desk.add("a")
    assert "job a is already in the queue with another command" in _is_refused(
        desk, BadInput, {"id": "b", "command": "x"}, {"id": "a", "command": "false"}, if_absent=True
    )


def test_a_delay_is_scheduled_and_promoted_when_due(desk: Any) -> None:
    """A delayed job is pending and not claimable before its time, whatever its priority; then it is."""
    desk.add("later", delay=30, priority=100)
    desk.add("now")
    assert desk.row("later")["ready"] == 0
    desk.run("now")
    desk.now += 29.999
    assert desk.claim() == []
    desk.now += 0.001
    assert desk.take("later").priority == 100


def test_a_run_at_in_the_past_is_ready_at_once(desk: Any) -> None:
    """A moment that has gone by is no wait."""
    desk.add("a", run_at="2020-01-01T00:00:00Z")
    assert desk.row("a")["ready"] == 1
    desk.take("a")


def test_the_environment_is_stored_once(desk: Any) -> None:
    """A thousand jobs that share a recorded environment share its row; one with another gets its own."""
    desk.enqueue(*({"command": "x"} for _ in range(1000)))
    desk.enqueue({"command": "x"})
    enqueue(desk.store.db, [JobSpec("x")], cwd="/", kept_env={"PATH": "/other"}, now=desk.now)
    assert [json.loads(body) for (body,) in desk.rows("SELECT body FROM environments ORDER BY id")] == [
        {"PATH": "/bin"},
        {"PATH": "/other"},
    ]


def test_many_jobs_are_one_moment(desk: Any) -> None:
    """Ten thousand jobs get their places in order and one revision, and the tally counts them."""
    ids = desk.enqueue(*({"command": f"echo {n}", "queue": "ab"[n % 2], "priority": n} for n in range(10_000)))
    assert ids == [f"job-{n}" for n in range(1, 10_001)]
    assert desk.rows("SELECT count(DISTINCT rev), min(seq), max(seq), count(*) FROM jobs") == [(1, 1, 10_000, 10_000)]
    assert desk.rows("SELECT command FROM jobs WHERE id = 'job-77'") == [("echo 76",)]
    assert desk.rows("SELECT queue, n FROM tally ORDER BY 1") == [("a", 5000), ("b", 5000)]


# ---------------------------------------------------------------------- after


def test_a_job_waits_for_those_named(desk: Any) -> None:
    """``after`` an open job is blocked, after a completed one pending; a list may name its own earlier jobs."""
    desk.add("done", "open")
    desk.run("done")
    desk.enqueue(
        {"id": "a", "command": "x", "after": ["done"]},
        {"id": "b", "command": "x", "after": ["done", "open"]},
        {"id": "c", "command": "x", "after": "a"},
    )
    assert desk.states() == {"done": "completed", "open": "pending", "a": "pending", "b": "blocked", "c": "blocked"}
    assert desk.store.jobs.get("b").after == ("done", "open")


@pytest.mark.parametrize("end", ["dead", "cancelled"])
def test_a_job_after_a_hopeless_one_is_cancelled_with_the_reason(desk: Any, end: str) -> None:
    """``after`` a dead or cancelled job is cancelled on the spot, and so is what waits for that one in its turn."""
    desk.add("open", "gone")
    desk.store.jobs.cancel(["open"], desk.now)
    desk.kill("gone") if end == "dead" else desk.store.jobs.cancel(["gone"], desk.now)
    desk.add("open-2")
    desk.enqueue(
        {"id": "a", "command": "x", "after": ["open-2", "gone"]},
        {"id": "b", "command": "x", "after": "a"},
        {"id": "c", "command": "x", "after": ["open-2"]},
    )
    found = [desk.store.jobs.get(each) for each in ("a", "b", "c")]
    assert [(job.state, job.error, job.finished_at) for job in found] == [
        ("cancelled", f"job gone, which it waited for, is {end}", desk.now),
        ("cancelled", "job a, which it waited for, is cancelled", desk.now),
        ("blocked", None, None),
    ]


def test_an_unknown_after_refuses_the_whole_list(desk: Any) -> None:
    """Exit code 5 for a job to wait for that is not there, or stands later in the list; nothing is written."""
    for after in ("nobody", "later"):
        wishes = [{"id": "first", "command": "x"}, {"id": "a", "command": "x", "after": after}]
        message = _is_refused(desk, NotFound, *wishes, {"id": "later", "command": "x"})
        assert f"no job {after} to wait for" in message


def test_a_delayed_job_that_was_blocked_keeps_its_time(desk: Any) -> None:
    """Once what it waited for is done, a job still does not start before its ``run_at``."""
    desk.add("a")
    desk.add("b", after=["a"], delay=100)
    desk.run("a")
    assert (desk.state("b"), desk.row("b")["ready"]) == ("pending", 0)
    desk.now += 99
    assert desk.claim() == []
    desk.now += 1
    desk.take("b")
