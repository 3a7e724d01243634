"""Inserting jobs: one or many, all or none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import BadInput, NotFound, QueuectlError
from queuectl_nb.model.job import JobSpec
from queuectl_nb.store.insert import insert_jobs

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness


def refusal(harness: StoreHarness, kind: type[Exception], *specs: dict[str, Any], **how: Any) -> str:
    """Enqueue a list that must be refused as a whole, and return the error."""
    before = harness.dump()
    with pytest.raises(kind) as caught:
        harness.enqueue(*specs, **how)
    assert harness.dump() == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_fields_are_stored(harness: StoreHarness) -> None:
    """Every field is in the record, times in epoch seconds, and no attempt has been made."""
    harness.enqueue(
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
            "shell": "/bin/bash",
        }
    )
    job = harness.store.jobs.get("a")
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
    assert (job.run_at, job.created_at, job.updated_at) == (harness.now + 30, harness.now, harness.now)
    assert {job.started_at, job.finished_at, job.exit_code, job.error, job.worker, job.result} == {None}
    harness.now += 30
    lease = harness.claim_job("a")
    assert (lease.env, lease.recorded_env, lease.number, lease.attempts) == ({"A": "ü"}, {"PATH": "/bin"}, 1, 1)
    assert (lease.shell, lease.kind) == ("/bin/bash", "command")


def test_default_working_directory(harness: StoreHarness) -> None:
    """Without ``cwd`` the directory of the enqueue is recorded; timeout and retries stay null."""
    harness.add("a")
    job = harness.store.jobs.get("a")
    assert (job.cwd, job.timeout, job.max_retries, job.queue) == ("/", None, None, "default")


def test_generated_ids(harness: StoreHarness) -> None:
    """Jobs without an id are ``job-N``; numbers are not reused after a deletion."""
    assert harness.enqueue({"command": "a"}, {"command": "b"}) == ["job-1", "job-2"]
    harness.store.jobs.delete(["job-2"], harness.now)
    assert harness.add() == ["job-3"]


def test_generated_id_collisions(harness: StoreHarness) -> None:
    """Generated ids that are in use get a suffix; ids are returned in the order of the list."""
    harness.add("job-3", "job-4.1")
    assert harness.enqueue({"command": "a"}, {"command": "b", "id": "job-4"}, {"command": "c"}, {"command": "d"}) == [
        "job-3.1",
        "job-4",
        "job-5",
        "job-6",
    ]
    assert harness.enqueue({"command": "e", "id": "job-8"}, {"command": "f"}) == ["job-8", "job-8.1"]
    assert harness.enqueue({"command": "g", "id": "job-10.1"}, {"command": "h", "id": "job-11"}, {"command": "i"}) == [
        "job-10.1",
        "job-11",
        "job-11.1",
    ]


def test_ids_are_unique(harness: StoreHarness) -> None:
    """An id that is in use, or occurs twice in the list, refuses the whole list and is named."""
    harness.add("there")
    new = [{"command": "x", "id": each} for each in ("a", "b")]
    there = {"command": "x", "id": "there"}
    exists = "job there is already in the queue; choose another id, or give if_absent=True"
    assert refusal(harness, BadInput, there) == exists
    assert refusal(harness, BadInput, *new, there) == exists
    assert refusal(harness, BadInput, *new, {"command": "y"}, there) == exists
    twice = "job a occurs twice in the list; ids are unique"
    assert refusal(harness, BadInput, *new, {"command": "y"}, {"command": "y", "id": "a"}) == twice
    assert harness.enqueue(*new) == ["a", "b"]


def test_ids_are_case_sensitive(harness: StoreHarness) -> None:
    """``A`` and ``a`` are two jobs."""
    assert harness.add("A", "a") == ["A", "a"]


def test_if_absent(harness: StoreHarness) -> None:
    """An existing job with the same id and command is returned unchanged, in the order of the list."""
    harness.add("a", priority=5)
    before = harness.row("a")
    specs = [{"id": "new", "command": "x"}, {"id": "a", "command": "true"}, {"id": "last", "command": "y"}]
    assert harness.enqueue(*specs, if_absent=True) == ["new", "a", "last"]
    assert harness.row("a") == before
    assert harness.enqueue(*specs, if_absent=True) == ["new", "a", "last"]
    assert harness.states() == dict.fromkeys(["a", "new", "last"], "pending")


def test_if_absent_with_another_command(harness: StoreHarness) -> None:
    """An existing id with a different command is refused, together with the new jobs beside it."""
    harness.add("a")
    specs = [{"id": "b", "command": "x"}, {"id": "a", "command": "false"}]
    assert (
        refusal(harness, BadInput, *specs, if_absent=True)
        == "job a is already in the queue with another command; choose another id"
    )


@pytest.mark.parametrize(
    ("last", "if_absent"),
    [
        ({"id": "there", "command": "false"}, False),
        ({"id": "there", "command": "false"}, True),
        ({"id": "new", "command": "true"}, False),
        ({"id": "other", "command": "true", "after": "nobody"}, False),
        ({"id": "other", "command": "true", "after": "nobody"}, True),
    ],
)
def test_index_of_the_refused_job(harness: StoreHarness, last: dict[str, Any], if_absent: bool) -> None:
    """The error says which job of the list it is about, wherever the jobs that exist already stand."""
    harness.add("there")
    first = [{"id": "there", "command": "true"}] * int(if_absent)
    with pytest.raises(QueuectlError) as caught:
        harness.enqueue(*first, {"id": "new", "command": "true"}, last, if_absent=if_absent)
    assert caught.value.index == len(first) + 1


def test_delay(harness: StoreHarness) -> None:
    """A delayed job is pending and not claimable before its time, whatever its priority."""
    harness.add("later", delay=30, priority=100)
    harness.add("now")
    assert harness.row("later")["ready"] == 0
    harness.run("now")
    harness.now += 29.999
    assert harness.claim() == []
    harness.now += 0.001
    assert harness.claim_job("later").priority == 100


def test_run_at_in_the_past(harness: StoreHarness) -> None:
    """A time that has passed means no delay."""
    harness.add("a", run_at="2020-01-01T00:00:00Z")
    assert harness.row("a")["ready"] == 1
    harness.claim_job("a")


def test_the_environment_is_stored_once(harness: StoreHarness) -> None:
    """A thousand jobs with the same recorded environment share its row; another environment gets its own."""
    harness.enqueue(*({"command": "x"} for _ in range(1000)))
    harness.enqueue({"command": "x"})
    insert_jobs(harness.store.db, [JobSpec("x")], cwd="/", recorded_env={"PATH": "/other"}, now=harness.now)
    assert [json.loads(body) for (body,) in harness.query("SELECT body FROM environments ORDER BY id")] == [
        {"PATH": "/bin"},
        {"PATH": "/other"},
    ]


def test_many_jobs_in_one_revision(harness: StoreHarness) -> None:
    """Ten thousand jobs get consecutive positions and one revision, and the counts are right."""
    ids = harness.enqueue(*({"command": f"echo {n}", "queue": "ab"[n % 2], "priority": n} for n in range(10_000)))
    assert ids == [f"job-{n}" for n in range(1, 10_001)]
    assert harness.query("SELECT count(DISTINCT rev), min(seq), max(seq), count(*) FROM jobs") == [
        (1, 1, 10_000, 10_000)
    ]
    assert harness.query("SELECT command FROM jobs WHERE id = 'job-77'") == [("echo 76",)]
    assert harness.query("SELECT queue, n FROM tally ORDER BY 1") == [("a", 5000), ("b", 5000)]


# ---------------------------------------------------------------------- after


def test_after(harness: StoreHarness) -> None:
    """``after`` an open job means blocked, after a completed one pending; a list may name its own earlier jobs."""
    harness.add("done", "open")
    harness.run("done")
    harness.enqueue(
        {"id": "a", "command": "x", "after": ["done"]},
        {"id": "b", "command": "x", "after": ["done", "open"]},
        {"id": "c", "command": "x", "after": "a"},
    )
    assert harness.states() == {"done": "completed", "open": "pending", "a": "pending", "b": "blocked", "c": "blocked"}
    assert harness.store.jobs.get("b").after == ("done", "open")


@pytest.mark.parametrize("end", ["dead", "cancelled"])
def test_after_a_dead_job(harness: StoreHarness, end: str) -> None:
    """``after`` a dead or cancelled job means cancelled at once, and so are the dependents of that job."""
    harness.add("open", "gone")
    harness.store.jobs.cancel(["open"], harness.now)
    harness.exhaust("gone") if end == "dead" else harness.store.jobs.cancel(["gone"], harness.now)
    harness.add("open-2")
    harness.enqueue(
        {"id": "a", "command": "x", "after": ["open-2", "gone"]},
        {"id": "b", "command": "x", "after": "a"},
        {"id": "c", "command": "x", "after": ["open-2"]},
    )
    found = [harness.store.jobs.get(each) for each in ("a", "b", "c")]
    assert [(job.state, job.error, job.finished_at) for job in found] == [
        ("cancelled", f"job gone, which it waited for, is {end}", harness.now),
        ("cancelled", "job a, which it waited for, is cancelled", harness.now),
        ("blocked", None, None),
    ]


def test_after_an_unknown_job(harness: StoreHarness) -> None:
    """An unknown dependency, or one later in the list, is exit code 5; nothing is written."""
    for after in ("nobody", "later"):
        specs = [{"id": "first", "command": "x"}, {"id": "a", "command": "x", "after": after}]
        message = refusal(harness, NotFound, *specs, {"id": "later", "command": "x"})
        assert f"no job {after} to wait for" in message


def test_after_and_run_at(harness: StoreHarness) -> None:
    """A job released by its dependencies still does not start before its ``run_at``."""
    harness.add("a")
    harness.add("b", after=["a"], delay=100)
    harness.run("a")
    assert (harness.state("b"), harness.row("b")["ready"]) == ("pending", 0)
    harness.now += 99
    assert harness.claim() == []
    harness.now += 1
    harness.claim_job("b")
