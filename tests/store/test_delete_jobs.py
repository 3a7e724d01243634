"""Deletion and retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queuectl_nb.model.errors import BadInput
from queuectl_nb.store import jobs as jobs_module

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

STATES = ["pending", "processing", "failed", "completed", "dead", "cancelled", "blocked"]


def test_delete_removes_the_job_with_its_history(harness: StoreHarness) -> None:
    """A deleted job leaves no row, and the tokens of its attempts are returned so that their files can be deleted."""
    harness.add("a")
    harness.exhaust("a")
    tokens = [each.token for each in harness.store.reader.attempts("a")]
    before = harness.store.db.revision()[1]
    assert sorted(harness.store.jobs.delete(["a"], harness.now)) == sorted(tokens)
    assert harness.query("SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM attempts)") == [(0, 0)]
    assert harness.store.db.revision()[1] == before + 1
    assert harness.store.reader.counts() == dict.fromkeys(STATES, 0)


def test_prune(harness: StoreHarness) -> None:
    """Finished jobs (of one state, if given) that did not change for this long are deleted; open ones never."""
    harness.add_one_per_state()
    harness.now += 100
    harness.add("late")
    harness.store.jobs.cancel(["late"], harness.now)
    prune = harness.prune
    assert prune(100.001) == (0, [])
    removed, tokens = prune(100, "dead")
    assert (removed, len(tokens)) == (1, 1)
    assert prune(100)[0] == 2
    assert set(harness.states()) == {"failed", "processing", "blocked", "pending", "late"}
    assert prune(0)[0] == 1


@pytest.mark.parametrize("state", ["pending", "failed", "processing", "banana", ""])
def test_prune_of_open_jobs_is_refused(harness: StoreHarness, state: str) -> None:
    """Only finished states can be given; others are exit code 2 with the valid ones."""
    with pytest.raises(BadInput, match="prune removes finished jobs: completed, dead, cancelled"):
        harness.prune(0, state)


def test_prune_keeps_what_unfinished_jobs_depend_on(harness: StoreHarness) -> None:
    """A job that waits for its time may need the value of a completed one; once it has finished, both can go."""
    harness.add("needed")
    harness.run("needed")
    harness.add("waits", after=("needed",), delay=60.0)
    assert list(harness.store.jobs.prune(0, harness.now))[-1][0] == harness.store.jobs.count_old(0, harness.now) == 0
    harness.store.jobs.cancel(["waits"], harness.now)
    assert harness.store.jobs.count_old(0, harness.now) == harness.prune(0)[0] == 2


def test_prune_uses_short_transactions(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand old jobs are deleted in short transactions, younger ones in between are kept."""
    monkeypatch.setattr(jobs_module, "PRUNE_BATCH_JOBS", 10)
    harness.enqueue(*({"id": f"job-{n}", "command": "x"} for n in range(100)))
    with harness.store.db.write() as connection:
        connection.execute("UPDATE jobs SET state = 'completed', ready = 0, updated_at = 0, rev = seq")
        connection.execute("UPDATE jobs SET updated_at = ? WHERE id IN ('job-3', 'job-55')", (harness.now,))
    before = harness.store.db.revision()[0]
    assert harness.prune(10)[0] == 98
    assert set(harness.states()) == {"job-3", "job-55"}
    assert harness.store.db.revision()[0] - before >= 10


def test_delete_of_a_dependency(harness: StoreHarness) -> None:
    """Jobs that can no longer run are cancelled with the reason, and so are theirs; those that wait for any end run."""
    harness.add("a")
    harness.add("b", after=["a"])
    harness.add("c", after=["b"])
    harness.add("d", after_any=["a"])
    harness.store.jobs.delete(["a"], harness.now)
    found = {name: harness.store.jobs.get(name) for name in "bcd"}
    assert {name: (job.state, job.error) for name, job in found.items()} == {
        "b": ("cancelled", "job a, which it waited for, was deleted"),
        "c": ("cancelled", "job b, which it waited for, is cancelled"),
        "d": ("pending", None),
    }
    assert harness.store.reader.any_end_of(found["d"]) == ["a"]
