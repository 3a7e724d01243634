"""The whole dead letter queue at once: in small transactions, and nothing but what is dead."""

from __future__ import annotations

from typing import Any

import pytest

from queuectl_nb.model.errors import WrongState
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import dead_letters

MANY = [f"d{number}" for number in range(7)]


def _all_dead(desk: Any, *ids: str) -> None:
    """Add jobs and let each use up its only attempt."""
    desk.add(*ids, max_retries=1)
    for job_id in ids:
        desk.run(job_id, Exited(9))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let three jobs fill a transaction."""
    monkeypatch.setattr(dead_letters, "AT_ONCE", 3)


@pytest.mark.usefixtures("few_at_once")
def test_all_dead_jobs_get_a_fresh_budget_in_small_transactions(desk: Any) -> None:
    """Every dead job is ready again as if it had been retried by its name; others' writes come in between."""
    _all_dead(desk, *MANY)
    desk.add("done")
    desk.run("done")
    desk.store.jobs.retry(["d3"], desk.now, "dlq retry")
    like = desk.row("d3")
    assert desk.store.dead_letters.retry(desk.now) == [each for each in MANY if each != "d3"]
    assert desk.states() == {**dict.fromkeys(MANY, "pending"), "done": "completed"}
    own = ("seq", "id", "rev")
    for each in MANY:
        assert {key: value for key, value in desk.row(each).items() if key not in own} == {
            key: value for key, value in like.items() if key not in own
        }
    assert len({desk.row(each)["rev"] for each in MANY}) == 1 + 2
    assert desk.store.dead_letters.retry(desk.now) == []


@pytest.mark.usefixtures("few_at_once")
def test_all_dead_jobs_are_removed_with_their_history(desk: Any) -> None:
    """Every dead job goes with its attempts, whose tokens are given back; nothing else goes."""
    _all_dead(desk, *MANY)
    desk.add("failed")
    desk.run("failed", Exited(1))
    tokens = {each.token for job_id in MANY for each in desk.store.reader.attempts(job_id)}
    gone, given = desk.store.dead_letters.purge(desk.now)
    assert gone == MANY
    assert (set(given), len(given)) == (tokens, 7)
    assert desk.states() == {"failed": "failed"}
    assert desk.rows("SELECT count(*) FROM attempts") == [(1,)]


def test_a_dead_job_whose_others_run_again_waits_for_them(desk: Any) -> None:
    """A job that died after what it waited for, and is retried with it, is blocked until that one completes again."""
    desk.add("first")
    desk.add("second", after=["first"], max_retries=1)
    desk.run("first")
    desk.run("second", Exited(1))
    desk.store.jobs.retry(["first"], desk.now)
    desk.kill("first")
    assert desk.store.dead_letters.retry(desk.now) == ["first", "second"]
    assert desk.states() == {"first": "pending", "second": "blocked"}
    desk.run("first")
    assert desk.state("second") == "pending"


def test_a_dead_job_that_waits_for_a_cancelled_one_refuses_all(desk: Any) -> None:
    """Where one cannot be retried, none is, and the line names it and the one to retry first."""
    _all_dead(desk, *MANY)
    desk.add("first")
    desk.add("second", after=["first"], max_retries=1)
    desk.run("first")
    desk.run("second", Exited(1))
    desk.store.jobs.retry(["first"], desk.now)
    desk.store.jobs.cancel(["first"], desk.now)
    before = desk.dump()
    with pytest.raises(WrongState, match="job second waits for first, which is cancelled; retry that one first"):
        desk.store.dead_letters.retry(desk.now)
    assert desk.dump() == before


def test_what_waits_for_a_purged_job_is_cancelled(desk: Any) -> None:
    """A blocked job does not wait for ever for one that was removed: it is cancelled, and told why."""
    desk.add("first", max_retries=1)
    desk.add("second", after=["first"])
    with desk.store.db.write() as connection:  # no verb leads there: as a hand-edited file may be
        connection.execute("UPDATE jobs SET state = 'dead', ready = 0 WHERE id = 'first'")
    assert desk.store.dead_letters.purge(desk.now) == (["first"], [])
    assert desk.states() == {"second": "cancelled"}
    assert desk.row("second")["error"] == "job first, which it waited for, was deleted"


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("what", ["retry", "purge"])
def test_what_somebody_else_moved_meanwhile_is_left_alone(
    desk: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A job that is not dead any more when its turn comes is not touched, and not told of."""
    _all_dead(desk, *MANY)
    write, taken = desk.store.db.write, []

    def interrupted() -> Any:
        taken.append(write)
        if len(taken) == 2:  # between the first transaction and the next one
            desk.store.jobs.retry(["d5"], desk.now, "dlq retry")
            desk.store.jobs.cancel(["d5"], desk.now)
        return write()

    monkeypatch.setattr(desk.store.db, "write", interrupted)
    moved = desk.store.dead_letters.retry(desk.now) if what == "retry" else desk.store.dead_letters.purge(desk.now)[0]
    monkeypatch.undo()
    assert "d5" not in moved
    assert sorted([*moved, "d5"]) == MANY
    assert desk.state("d5") == "cancelled"
