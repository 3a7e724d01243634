"""The whole dead letter queue at once: in small transactions, and nothing but what is dead."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.errors import WrongState
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import dead_letters

MANY = [f"d{number}" for number in range(7)]


def _all_dead(harness: Any, *ids: str) -> None:
    """Add jobs and let each use up its only attempt."""
    harness.add(*ids, max_retries=1)
    for job_id in ids:
        harness.run(job_id, Exited(9))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three jobs fill a transaction."""
    monkeypatch.setattr(dead_letters, "BATCH_JOBS", 3)


@pytest.mark.usefixtures("few_at_once")
def test_all_dead_jobs_get_a_fresh_budget_in_small_transactions(harness: Any) -> None:
    """Every dead job is ready again as if it had been retried by its name; others' writes come in between."""
    _all_dead(harness, *MANY)
    harness.add("done")
    harness.run("done")
    harness.store.jobs.retry(["d3"], harness.now, "dlq retry")
    like = harness.row("d3")
    assert harness.store.dead_letters.retry(harness.now) == [each for each in MANY if each != "d3"]
    assert harness.states() == {**dict.fromkeys(MANY, "pending"), "done": "completed"}
    own = ("seq", "id", "rev")
    for each in MANY:
        assert {key: value for key, value in harness.row(each).items() if key not in own} == {
            key: value for key, value in like.items() if key not in own
        }
    assert len({harness.row(each)["rev"] for each in MANY}) == 1 + 2
    assert harness.store.dead_letters.retry(harness.now) == []


@pytest.mark.usefixtures("few_at_once")
def test_all_dead_jobs_are_removed_with_their_history(harness: Any) -> None:
    """Every dead job goes with its attempts, whose tokens are given back; nothing else goes."""
    _all_dead(harness, *MANY)
    harness.add("failed")
    harness.run("failed", Exited(1))
    tokens = {each.token for job_id in MANY for each in harness.store.reader.attempts(job_id)}
    gone, given = harness.store.dead_letters.purge(harness.now)
    assert gone == MANY
    assert (set(given), len(given)) == (tokens, 7)
    assert harness.states() == {"failed": "failed"}
    assert harness.query("SELECT count(*) FROM attempts") == [(1,)]


def test_a_dead_job_whose_others_run_again_waits_for_them(harness: Any) -> None:
    """A job that died after what it waited for, and is retried with it, is blocked until that one completes again."""
    harness.add("first")
    harness.add("second", after=["first"], max_retries=1)
    harness.run("first")
    harness.run("second", Exited(1))
    harness.store.jobs.retry(["first"], harness.now)
    harness.exhaust("first")
    assert harness.store.dead_letters.retry(harness.now) == ["first", "second"]
    assert harness.states() == {"first": "pending", "second": "blocked"}
    harness.run("first")
    assert harness.state("second") == "pending"


def test_a_dead_job_that_waits_for_a_cancelled_one_refuses_all(harness: Any) -> None:
    """Where one cannot be retried, none is, and the line names it and the one to retry first."""
    _all_dead(harness, *MANY)
    harness.add("first")
    harness.add("second", after=["first"], max_retries=1)
    harness.run("first")
    harness.run("second", Exited(1))
    harness.store.jobs.retry(["first"], harness.now)
    harness.store.jobs.cancel(["first"], harness.now)
    before = harness.dump()
    with pytest.raises(WrongState, match="job second waits for first, which is cancelled; retry that one first"):
        harness.store.dead_letters.retry(harness.now)
    assert harness.dump() == before


def test_what_waits_for_a_purged_job_is_cancelled(harness: Any) -> None:
    """A blocked job does not wait for ever for one that was removed: it is cancelled, and told why."""
    harness.add("first", max_retries=1)
    harness.add("second", after=["first"])
    with harness.store.db.write() as connection:  # no verb leads there: as a hand-edited file may be
        connection.execute("UPDATE jobs SET state = 'dead', ready = 0 WHERE id = 'first'")
    assert harness.store.dead_letters.purge(harness.now) == (["first"], [])
    assert harness.states() == {"second": "cancelled"}
    assert harness.row("second")["error"] == "job first, which it waited for, was deleted"


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("what", ["retry", "purge"])
def test_what_somebody_else_moved_meanwhile_is_left_alone(
    harness: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A job that is not dead any more when its turn comes is not touched, and not told of."""
    _all_dead(harness, *MANY)
    write, taken = harness.store.db.write, []

    def interrupted() -> Any:
        taken.append(write)
        if len(taken) == 2:  # between the first transaction and the next one
            harness.store.jobs.retry(["d5"], harness.now, "dlq retry")
            harness.store.jobs.cancel(["d5"], harness.now)
        return write()

    monkeypatch.setattr(harness.store.db, "write", interrupted)
    moved = (
        harness.store.dead_letters.retry(harness.now)
        if what == "retry"
        else harness.store.dead_letters.purge(harness.now)[0]
    )
    monkeypatch.undo()
    assert "d5" not in moved
    assert sorted([*moved, "d5"]) == MANY
    assert harness.state("d5") == "cancelled"
