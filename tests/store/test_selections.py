"""Operations on the whole dead letter queue: small transactions, dead jobs only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queuectl_nb.model.errors import WrongState
from queuectl_nb.model.outcome import Exited
from queuectl_nb.store import selections
from queuectl_nb.store.boot_time import BootTime
from queuectl_nb.store.job_filter import Filter

if TYPE_CHECKING:
    from tests.store.conftest import StoreHarness

DEAD = Filter(state=("dead",))
MANY = [f"d{number}" for number in range(7)]


def _all_dead(harness: StoreHarness, *ids: str) -> None:
    """Add jobs that use up their only attempt."""
    harness.add(*ids, max_retries=1)
    for job_id in ids:
        harness.run(job_id, Exited(9))


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit a transaction to three jobs."""
    monkeypatch.setattr(selections, "BATCH_JOBS", 3)


def _retry_all(harness: StoreHarness) -> list[str]:
    return [job_id for ids in selections.retry_selected(harness.store.db, DEAD, harness.now) for job_id in ids]


def _purge_all(harness: StoreHarness) -> tuple[list[str], list[str]]:
    found = list(selections.delete_selected(harness.store.db, DEAD, harness.now, "dlq purge"))
    return [job_id for ids, _ in found for job_id in ids], [token for _, tokens in found for token in tokens]


@pytest.mark.usefixtures("few_at_once")
def test_retry_all(harness: StoreHarness) -> None:
    """All dead jobs are ready with a fresh budget; other writers get their turn in between."""
    _all_dead(harness, *MANY)
    harness.add("done")
    harness.run("done")
    harness.store.jobs.retry(["d3"], harness.now, "dlq retry")
    like = harness.row("d3")
    assert _retry_all(harness) == [each for each in MANY if each != "d3"]
    assert harness.states() == {**dict.fromkeys(MANY, "pending"), "done": "completed"}
    own = ("seq", "id", "rev")
    for each in MANY:
        assert {key: value for key, value in harness.row(each).items() if key not in own} == {
            key: value for key, value in like.items() if key not in own
        }
    assert len({harness.row(each)["rev"] for each in MANY}) == 1 + 2
    assert _retry_all(harness) == []


@pytest.mark.usefixtures("few_at_once")
def test_purge_all(harness: StoreHarness) -> None:
    """All dead jobs are deleted with their attempts, whose tokens are returned; nothing else is."""
    _all_dead(harness, *MANY)
    harness.add("failed")
    harness.run("failed", Exited(1))
    tokens = {each.token for job_id in MANY for each in harness.store.reader.attempts(job_id)}
    gone, given = _purge_all(harness)
    assert gone == MANY
    assert (set(given), len(given)) == (tokens, 7)
    assert harness.states() == {"failed": "failed"}
    assert harness.query("SELECT count(*) FROM attempts") == [(1,)]


def test_retried_with_its_dependency(harness: StoreHarness) -> None:
    """A dead job that is retried together with its dependency is blocked until that completes."""
    harness.add("first")
    harness.add("second", after=["first"], max_retries=1)
    harness.run("first")
    harness.run("second", Exited(1))
    harness.store.jobs.retry(["first"], harness.now)
    harness.exhaust("first")
    assert _retry_all(harness) == ["first", "second"]
    assert harness.states() == {"first": "pending", "second": "blocked"}
    harness.run("first")
    assert harness.state("second") == "pending"


def test_retry_refused_by_a_cancelled_dependency(harness: StoreHarness) -> None:
    """If one job cannot be retried, none is; the error names it and its dependency."""
    _all_dead(harness, *MANY)
    harness.add("first")
    harness.add("second", after=["first"], max_retries=1)
    harness.run("first")
    harness.run("second", Exited(1))
    harness.store.jobs.retry(["first"], harness.now)
    harness.store.jobs.cancel(["first"], harness.now)
    before = harness.dump()
    with pytest.raises(WrongState, match="job second waits for first, which is cancelled; retry that one first"):
        _retry_all(harness)
    assert harness.dump() == before


def test_dependents_of_a_purged_job(harness: StoreHarness) -> None:
    """A job blocked by a purged job is cancelled, with the reason."""
    harness.add("first", max_retries=1)
    harness.add("second", after=["first"])
    with harness.store.db.write() as connection:  # no verb leads there: as a hand-edited file may be
        connection.execute("UPDATE jobs SET state = 'dead', ready = 0 WHERE id = 'first'")
    assert _purge_all(harness) == (["first"], [])
    assert harness.states() == {"second": "cancelled"}
    assert harness.row("second")["error"] == "job first, which it waited for, was deleted"


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("what", ["retry", "purge"])
def test_jobs_changed_meanwhile_are_skipped(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A job that is no longer dead when its turn comes is neither changed nor returned."""
    _all_dead(harness, *MANY)
    write, taken = harness.store.db.write, []

    def interrupted() -> Any:
        taken.append(write)
        if len(taken) == 2:  # between the first transaction and the next one
            harness.store.jobs.retry(["d5"], harness.now, "dlq retry")
            harness.store.jobs.cancel(["d5"], harness.now)
        return write()

    monkeypatch.setattr(harness.store.db, "write", interrupted)
    moved = _retry_all(harness) if what == "retry" else _purge_all(harness)[0]
    monkeypatch.undo()
    assert "d5" not in moved
    assert sorted([*moved, "d5"]) == MANY
    assert harness.state("d5") == "cancelled"


@pytest.mark.usefixtures("few_at_once")
def test_cancel_of_a_selection(harness: StoreHarness) -> None:
    """Waiting jobs are cancelled at once, running ones are named with their workers; finished ones are passed over."""
    harness.add("done", "runs", "a", "b", "c", queue="q")
    harness.add("other", priority=-1)
    harness.run("done")
    lease = harness.claim_job("runs")
    found = list(selections.cancel_selected(harness.store.db, Filter(queue="q"), harness.now + 5))
    assert [ids for ids, _ in found] == [["a", "b", "c"], ["runs"]]
    assert [[(each.id, each.worker) for each in running] for _, running in found] == [[], [("runs", "worker-1")]]
    states = {"done": "completed", "runs": "processing", **dict.fromkeys("abc", "cancelled"), "other": "pending"}
    assert harness.states() == states
    assert harness.row("a")["finished_at"] == harness.now + 5
    assert [harness.row(each)["cancel"] for each in ("runs", "a", "other")] == [1, 0, 0]
    harness.settle(lease)


@pytest.mark.usefixtures("few_at_once")
def test_edit_of_a_selection(harness: StoreHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """All jobs of a filter that can be edited get the new values, some in each transaction; a trial changes nothing."""
    monkeypatch.setattr(selections, "EDITED_JOBS", 2)
    harness.add("done", "a", "b", "c", queue="q")
    harness.add("other", priority=-1)
    harness.run("done")
    changes: dict[str, Any] = {"priority": 3, "delay": 50.0}
    for dry_run in (True, False):
        edited = selections.edit_selected(
            harness.store.db, Filter(queue="q"), changes, harness.now, BootTime("boot", 100.0), dry_run=dry_run
        )
        assert [list(ids) for ids, _ in edited] == [["a", "b"], ["c"]]
        rows = {name: harness.row(name) for name in ("a", "c", "done", "other")}
        changed = {name for name, row in rows.items() if (row["priority"], row["due_boottime"]) == (3, 150.0)}
        assert changed == (set() if dry_run else {"a", "c"})
