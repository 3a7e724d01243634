"""What is removed goes wholly: deletion and retention."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.errors import BadInput
from queuectl_nb.store import jobs as jobs_module

STATES = ["pending", "processing", "failed", "completed", "dead", "cancelled", "blocked"]


def test_delete_removes_the_job_with_its_history(desk: Any) -> None:
    """A deleted job leaves no row anywhere, and the tokens of its attempts are given back, whose files may go."""
    desk.add("a")
    desk.kill("a")
    tokens = [each.token for each in desk.store.reader.attempts("a")]
    before = desk.store.reader.revision()[1]
    assert sorted(desk.store.jobs.delete(["a"], desk.now)) == sorted(tokens)
    assert desk.rows("SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM attempts)") == [(0, 0)]
    assert desk.store.reader.revision()[1] == before + 1
    assert desk.store.reader.counts() == dict.fromkeys(STATES, 0)


def test_prune_takes_what_is_at_rest_for_long_enough(desk: Any) -> None:
    """Jobs at rest that did not change for the given time go, of one state if named; open ones never."""
    desk.one_of_each()
    desk.now += 100
    desk.add("late")
    desk.store.jobs.cancel(["late"], desk.now)
    prune = desk.store.jobs.prune
    assert prune(100.001, desk.now)[0] == 0
    removed, tokens = prune(100, desk.now, "dead")
    assert (removed, len(tokens)) == (1, 1)
    assert prune(100, desk.now)[0] == 2
    assert set(desk.states()) == {"failed", "processing", "blocked", "pending", "late"}
    assert prune(0, desk.now)[0] == 1


@pytest.mark.parametrize("state", ["pending", "failed", "processing", "banana", ""])
def test_prune_of_open_jobs_is_refused(desk: Any, state: str) -> None:
    """Only states at rest can be named: exit code 2 with the valid ones."""
    with pytest.raises(BadInput, match="prune removes jobs at rest: completed, dead, cancelled"):
        desk.store.jobs.prune(0, desk.now, state)


def test_prune_goes_in_small_steps_and_past_what_is_young(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand old jobs go in many short transactions, though younger ones stand among them."""
    monkeypatch.setattr(jobs_module, "PRUNED_AT_ONCE", 10)
    desk.enqueue(*({"id": f"job-{n}", "command": "x"} for n in range(100)))
    with desk.store.db.write() as connection:
        connection.execute("UPDATE jobs SET state = 'completed', ready = 0, updated_at = 0, rev = seq")
        connection.execute("UPDATE jobs SET updated_at = ? WHERE id IN ('job-3', 'job-55')", (desk.now,))
    before = desk.store.reader.revision()[0]
    assert desk.store.jobs.prune(10, desk.now)[0] == 98
    assert set(desk.states()) == {"job-3", "job-55"}
    assert desk.store.reader.revision()[0] - before >= 10
